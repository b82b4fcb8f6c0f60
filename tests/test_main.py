import subprocess
import sys

import pytest

from asd_experiments.__main__ import COMMANDS, main


def message(capsys, *arguments: str) -> str:
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    assert caught.value.code not in (0, None)
    return str(caught.value.code) + capsys.readouterr().err


def test_every_problem_is_listed_at_once(capsys):
    text = message(
        capsys, "train", "--folds", "1", "--backbone", "q", "--flods", "3", "--dropout", ""
    )
    assert "4 problems with the parameters" in text
    assert "--flods: no such parameter; did you mean '--folds'?" in text
    assert "backbone: should be 'c3d'," in text and "or 'cnn_lstm', got 'q'" in text
    assert "folds: should be greater than or equal to 2, got '1'" in text
    assert "dropout: should be a valid number" in text


@pytest.mark.parametrize(
    ("option", "word", "meant"),
    [
        ("fusion", "late_avg", "late_average"),
        ("backbone", "slow_r50", "slow_50"),
        ("motion_backbone", "x3dm", "x3d_m"),
        ("balance", "Sample", "sampler"),
    ],
)
def test_a_choice_that_is_nearly_right_is_proposed(option, word, meant, capsys):
    text = message(capsys, "train", f"--{option}", word)
    assert f"got {word!r}; did you mean {meant!r}?" in text


def test_nothing_is_proposed_where_nothing_is_close(capsys):
    assert "did you mean" not in message(capsys, "train", "--backbone", "q", "--folds", "1")


def test_what_must_be_given_is_named(capsys):
    text = message(capsys, "validate", "--videos", "")
    assert "videos: must not be empty" in text and "labels: must be given" in text


def test_booleans_travel_as_text(capsys):
    assert "segmentation: should be a valid boolean" in message(
        capsys, "train", "--segmentation", "maybe"
    )


def test_what_the_user_can_mend_comes_without_a_traceback(capsys, tmp_path):
    text = message(
        capsys, "validate", "--videos", str(tmp_path), "--labels", str(tmp_path / "none.csv")
    )
    assert "none.csv' does not exist" in text and "Traceback" not in text


def test_a_rule_about_several_parameters_names_them(capsys):
    text = message(capsys, "preprocess", "--videos", "v", "--labels", "l", "--people", "onnx")
    assert text == (
        "1 problem with the parameters:\n"
        "  people=onnx finds no masks; choose segment=background, grabcut or torchvision; "
        "and give people_weights=FILE, which people=onnx needs"
    )


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_help_describes_every_option(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")  # lines are broken at hyphens as well
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for name, info in COMMANDS[command].config.__pydantic_fields__.items():
        assert f"--{name}" in text
        assert " ".join(info.description.split()) in text


def test_help_is_there_at_once():
    """The heavy libraries are imported by the command that needs them."""
    code = (
        "import sys, asd_experiments.__main__ as m\n"
        "try: m.main(['train', '--help'])\n"
        "except SystemExit: print('torch' in sys.modules, 'mlflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("False False\n")
