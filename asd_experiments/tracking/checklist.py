"""What the reporting standards ask of a study, and where a trial's run has it."""

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from asd_experiments.tracking.finished_trial import PREDICTIONS

VALIDATES = "asd.validates"
"""Tag of a run of external validation: run of the trial whose model is validated."""

VALIDATED_BY = "asd.externally_validated_by"
"""Tag of a trial's run, and of its model's version: its latest run of external validation."""

_FILE = "checklist.md"
_FOLDERS = ("tables", "figures")


class _Item(NamedTuple):
    """One thing that is asked for."""

    what: str

    asked_by: str
    """Items of STARD 2015, CLAIM 2020 and TRIPOD 2015 with TRIPOD+AI 2024."""

    evidence: Sequence[str]
    """All that shows it, each as `kind name`; it is filled if the run has all of them."""

    otherwise: str = ""
    """How it is had where the run does not have it, or what no run can show."""

    of_trial: bool = False
    """Whether a run of external validation leaves it to the run of the model's trial."""


ITEMS = (
    _Item(
        "participant flow: patients, videos and clips, left out with reason, per fold and class",
        "STARD 19, CLAIM 33, TRIPOD 20a",
        ("file tables/participant_flow.csv", "file figures/participant_flow.png"),
    ),
    _Item(
        "what the patients of the parts are like (if the labels say more than the class)",
        "STARD 20, CLAIM 34",
        ("file videos.csv", "file tables/subgroups.csv"),
        "add columns to the labels (disease, view, age, ...) and run preprocess again",
    ),
    _Item(
        "fold manifest; no group in two parts of a fold is checked when folds are made and read",
        "CLAIM 20-21, TRIPOD 12a",
        ("file folds.csv", "parameter group_by"),
        of_trial=True,
    ),
    _Item(
        "preprocessing: parameters, methods with their versions, failures",
        "CLAIM 9-13, STARD 15-16",
        ("file store.json", "dataset clips"),
        of_trial=True,
    ),
    _Item(
        "the model: architecture, parameters, initial weights, software, seed, hardware, time",
        "CLAIM 22-25, TRIPOD 22",
        (
            "file config.yaml",
            "metric model/parameters",
            "metric model/gmacs",
            "parameter seed",
            "parameter device",
            "tag asd.model",
        ),
        "training time of every fold: metric `seconds` of its run; software: the model's files",
        of_trial=True,
    ),
    _Item(
        "how the model was selected, among how many; nested",
        "CLAIM 26, TRIPOD 12",
        ("parameter inner_folds", "file folds.csv"),
        "of a trial in a sweep: number of trials and rule are in the sweep's run",
        of_trial=True,
    ),
    _Item(
        "positive class; threshold and where it was chosen (inner validation, Youden)",
        "STARD 12a",
        ("parameter positive_class", "file tables/misclassified_patients.csv"),
        "threshold of every fold: metric `threshold` of its run; three or more classes have none",
    ),
    _Item(
        "cross table with counts, of patients and clips, per fold and pooled",
        "STARD 23",
        (
            "file tables/confusion_matrix_patient.csv",
            "file tables/confusion_matrix_clip.csv",
            "file tables/confusion_matrix_by_fold_patient.csv",
            "file tables/confusion_matrix_by_fold_clip.csv",
        ),
    ),
    _Item(
        "sensitivity, specificity, PPV, NPV, likelihood ratios, each with its interval",
        "STARD 24, CLAIM 36",
        tuple(
            f"metric test/patient/{name}{end}"
            for name in ("sensitivity", "specificity", "ppv", "npv", "lr_positive", "lr_negative")
            for end in ("", "_ci_low", "_ci_high")
        ),
        "a value that is undefined or infinite is left out; likelihood ratios are of two classes",
    ),
    _Item(
        "accuracy, balanced accuracy, F1, MCC, kappa, and what the commonest class would score",
        "CLAIM 28",
        tuple(
            f"metric test/patient/{name}"
            for name in (
                *("accuracy", "balanced_accuracy", "f1", "f1_macro", "f1_weighted"),
                *("mcc", "kappa", "majority_accuracy"),
            )
        ),
    ),
    _Item(
        "AUROC and AUPRC with intervals; curves per fold and pooled with a band",
        "CLAIM 28-29",
        (
            "metric test/patient/auroc",
            "metric test/patient/auroc_ci_low",
            "metric test/patient/auprc",
            "metric test/patient/auprc_ci_low",
            "file tables/roc_patient.csv",
            "file tables/roc_band_patient.csv",
            "file tables/precision_recall_patient.csv",
            "file figures/roc_patient.png",
        ),
    ),
    _Item(
        "calibration: reliability curve, Brier score, ECE, slope and intercept",
        "TRIPOD 12e, 23a",
        (
            "file tables/calibration_patient.csv",
            *(
                f"metric test/patient/{name}"
                for name in ("brier", "ece", "calibration_slope", "calibration_intercept")
            ),
        ),
    ),
    _Item(
        "decision curve",
        "TRIPOD 12e",
        ("file tables/decision_curve_patient.csv", "file figures/decision_curve_patient.png"),
    ),
    _Item(
        "pooled figures beside mean and deviation over folds; learning curves",
        "TRIPOD 23b",
        (
            "metric test/patient/auroc",
            "metric test/patient/auroc_fold_mean",
            "metric test/patient/auroc_fold_sd",
            "file tables/learning_curves.csv",
        ),
        of_trial=True,
    ),
    _Item(
        "comparison with another trial on the same patients",
        "CLAIM 29, STARD 14",
        (),
        "needs two trials: the command `ablation`",
        of_trial=True,
    ),
    _Item(
        "subgroups",
        "TRIPOD 23a, TRIPOD+AI fairness 14",
        ("file tables/subgroups.csv", "file figures/subgroups.png"),
        "add columns to the labels (disease, view, age, ...) and run preprocess again",
    ),
    _Item(
        "robustness: seeds, clip positions, noise",
        "CLAIM 30, STARD 17",
        (),
        "needs several trials: a sweep over `seed`, `folds` or `clip_stride`",
        of_trial=True,
    ),
    _Item(
        "failure analysis: misclassified patients and their worst clips",
        "CLAIM 31, 37",
        ("file tables/misclassified_patients.csv", "file tables/worst_clips.csv"),
        "what the networks looked at: the command `explain`",
    ),
    _Item(
        "prediction table, from which everything can be recomputed",
        "reproducibility",
        (f"file {PREDICTIONS}",),
    ),
    _Item(
        "external validation",
        "CLAIM 32, TRIPOD",
        (f"tag {VALIDATED_BY}",),
        "needs patients from elsewhere: the command `predict` with their labels",
    ),
    _Item(
        "reader study",
        "STARD 10-13",
        ("readers videos.csv",),
        "add the readers' answers to the labels (reader_*) and run preprocess again",
        of_trial=True,
    ),
    _Item("this checklist", "all", (f"file {_FILE}",)),
)
"""In the order of the survey of what STARD, CLAIM and TRIPOD+AI have in common."""


def log_checklist(run_id: str, *, has_readers: bool) -> None:
    """Log `checklist.md`: what is asked for, whether the run has it, and where.

    Args:
        run_id: A trial's run that holds everything else already.
        has_readers: Whether the labels of its videos hold answers of readers.
    """
    MlflowClient().log_text(run_id, checklist(_found(run_id, has_readers)), _FILE)


class OpenItem(NamedTuple):
    """Something asked for that a run does not show, or only in part."""

    what: str
    asked_by: str
    state: str
    remedy: str


def open_items(run_id: str, *, has_readers: bool) -> list[OpenItem]:
    """What the reporting standards ask for and a trial's run does not wholly show.

    Args:
        run_id: Run of a finished trial.
        has_readers: Whether the labels of its videos hold answers of readers.
    """
    found = _found(run_id, has_readers)
    states = ((item, _state(item, found)) for item in ITEMS)
    return [
        OpenItem(item.what, item.asked_by, state, item.otherwise or "the command `evaluate`")
        for item, state in states
        if state != "yes"
    ]


def _found(run_id: str, has_readers: bool) -> set[str]:
    found = {*_contents(MlflowClient().get_run(run_id)), f"file {_FILE}"}
    return found | ({"readers videos.csv"} if has_readers else set())


def _state(item: _Item, found: Collection[str]) -> str:
    there = [name for name in item.evidence if name in found]
    return "no" if not there else "yes" if len(there) == len(item.evidence) else "in part"


def log_external_checklist(run_id: str) -> None:
    """Log the checklist of a run of external validation that holds everything else already."""
    client = MlflowClient()
    found = {*_contents(client.get_run(run_id)), f"file {_FILE}"}
    client.log_text(run_id, checklist(found, [_in_external(item) for item in ITEMS]), _FILE)


def _in_external(item: _Item) -> _Item:
    """What stands for an item's evidence where there are no folds and no names."""
    kept = [name for name in item.evidence if "_by_fold_" not in name and "videos.csv" not in name]
    names = [
        name.replace("metric test/", "metric external/").replace(VALIDATED_BY, VALIDATES)
        for name in kept
    ]
    return item._replace(evidence=names)


def checklist(found: Collection[str], items: Sequence[_Item] = ITEMS) -> str:
    """The checklist as a Markdown table.

    Args:
        found: What a run holds, each as `kind name`.
        items: What is asked for.
    """
    lines = [
        "# Reporting checklist",
        "",
        "What STARD 2015, CLAIM 2020 and TRIPOD+AI 2024 ask of a study, as far as a trial's run "
        "can show it. What only people can tell (ethics, setting, funding) is not listed.",
        "",
        "| # | asked for | by | filled | where |",
        "|---|---|---|---|---|",
    ]
    is_external = items is not ITEMS
    for number, item in enumerate(items, start=1):
        if is_external and item.of_trial:
            line = f"| {number} | {item.what} | {item.asked_by} | by the trial | the trial's run |"
            lines.append(line)
            continue
        where = "; ".join(_places(item, found))
        state = _state(item, found)
        lines.append(f"| {number} | {item.what} | {item.asked_by} | {state} | {where} |")
    return "\n".join(lines) + "\n"


def _places(item: _Item, found: Collection[str]) -> Iterator[str]:
    names: dict[str, list[str]] = {}
    for evidence in item.evidence:
        kind, name = evidence.split(" ", 1)
        names.setdefault(kind if evidence in found else "missing:", []).append(f"`{name}`")
    for kind, own in names.items():
        yield f"{kind} {', '.join(own)}"
    if item.otherwise:
        yield item.otherwise


def _contents(run: Run) -> Iterator[str]:
    """All that a run holds, as the checklist names it."""
    client = MlflowClient()
    inputs = run.inputs.dataset_inputs if run.inputs else []
    for folder in (None, *_FOLDERS):
        for item in client.list_artifacts(run.info.run_id, folder):
            yield f"file {item.path}"
    for kind, names in (
        ("metric", run.data.metrics),
        ("parameter", run.data.params),
        ("tag", run.data.tags),
        ("dataset", [given.dataset.name for given in inputs]),
    ):
        for name in names:
            yield f"{kind} {name}"
