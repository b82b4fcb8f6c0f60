from asd_experiments import progress
from asd_experiments.progress import TrialProgress


def run(epochs_of_fold: list[int]) -> TrialProgress:
    with TrialProgress(len(epochs_of_fold), 10) as shown:
        for fold, epochs in enumerate(epochs_of_fold):
            for _ in range(epochs):
                shown.epoch(fold, 0.5)
            shown.fold_done(fold, epochs=epochs, best_epoch=1, loss=0.5)
    return shown


def test_a_log_file_gets_one_line_per_fold(capsys):
    run([4, 10])
    first, second = capsys.readouterr().err.strip().splitlines()
    assert first.startswith("fold 1 of 2: best epoch 1 of 4, validation loss 0.500, 0 s; about")
    assert second == "fold 2 of 2: best epoch 1 of 10, validation loss 0.500, 0 s"


def test_a_terminal_gets_one_bar_that_ends_full_when_folds_stop_early(capsys, monkeypatch):
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True, raising=False)
    shown = run([4, 10])
    text = capsys.readouterr().err
    assert shown._bar.n == shown._bar.total == 14
    assert "fold 2 of 2: 100%" in text and "validation loss 0.500" in text
    assert "best epoch" not in text
