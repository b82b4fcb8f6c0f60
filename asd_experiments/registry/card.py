"""The card of a registered version: what the model is, for what, and how well it was tested.

Its headings are those of "Model Cards for Model Reporting". It is computed from nothing but the
trial's run. No patient is named in it.

References:
    Mitchell et al. 2019, https://arxiv.org/abs/1810.03993.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pandas as pd
from mlflow.artifacts import load_dict
from mlflow.entities.model_registry import ModelVersion
from mlflow.tracking import MlflowClient

from asd_experiments.evaluation.confusion import confusion_counts
from asd_experiments.evaluation.figures.calibration import calibration_figure
from asd_experiments.evaluation.figures.flow import flow_figure
from asd_experiments.evaluation.figures.subgroups import subgroup_figure
from asd_experiments.evaluation.interval import Interval
from asd_experiments.evaluation.sampled import Estimate
from asd_experiments.evaluation.subgroups import ALL
from asd_experiments.evaluation.wording import figure_text, logged_text, title_of
from asd_experiments.registry.document import (
    Block,
    Document,
    Listing,
    Picture,
    Section,
    Table,
    to_html,
    to_markdown,
)
from asd_experiments.registry.limits import limits
from asd_experiments.registry.selection import selection_section
from asd_experiments.registry.versions import told, versions_of
from asd_experiments.tracking.checklist import open_items
from asd_experiments.tracking.finished_trial import STORE, FinishedTrial, read_table
from asd_experiments.tracking.labels import metadata_columns
from asd_experiments.tracking.runs import COLLAPSED, MODEL

CARD_PAGE, CARD_TEXT = "model_card.html", "model_card.md"
"""Artifacts of the trial's run."""

_FIGURES = (
    *("auroc", "auprc", "balanced_accuracy", "accuracy", "majority_accuracy"),
    *("sensitivity", "specificity", "ppv", "npv", "lr_positive", "lr_negative"),
    *("f1", "f1_macro", "mcc", "kappa"),
)
_CALIBRATION = ("brier", "ece", "calibration_slope", "calibration_intercept")
_NETWORK = (
    *("backbone", "motion_backbone", "fusion", "clip_length", "size", "width"),
    *("segmentation", "pretrained", "motion_pretrained", "freeze", "seed"),
)
_FINAL = {
    "ensemble": "the mean over the networks of all folds; the figures belong to these networks one "
    "by one, each on patients that it had not seen, and not to their mean",
    "refit": "one network trained on all patients; the figures belong to the networks of the "
    "folds, which were trained in the same way on fewer patients, and not to it",
}
_NOT_LOGGED = "not in the run; the command evaluate logs it, if its run has what it takes"


def write_card(trial: FinishedTrial) -> None:
    """Log the card of the registered versions of a trial to the trial's run, as HTML and Markdown.

    Args:
        trial: The trial; its model is registered.
    """
    client = MlflowClient()
    document = card_of(trial, versions_of(trial.run_id))
    client.log_text(trial.run_id, to_html(document), CARD_PAGE)
    client.log_text(trial.run_id, to_markdown(document), CARD_TEXT)


def card_of(trial: FinishedTrial, versions: list[ModelVersion]) -> Document:
    """Write the card.

    Args:
        trial: The trial.
        versions: What its model is registered as.
    """
    subgroups, flow = _subgroups(trial), _flow(trial)
    origin = _origin(trial)
    names = ", ".join(map(told, versions)) or "a model that is not registered"
    made_at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return Document(
        f"Model card: {names}",
        [
            f"{_summary(trial)} Everything here is computed from the run {trial.run_id} "
            f"({trial.name}); {made_at}."
        ],
        [
            _details(trial, origin, names),
            _intended_use(trial),
            _factors(trial),
            _metrics(trial),
            _data(trial, origin, flow),
            _analyses(trial, subgroups),
            selection_section(trial),
            Section("Ethical considerations", [_ETHICS]),
            Section(
                "Caveats and recommendations",
                [
                    "What the model was not tested on:",
                    Listing(limits(trial, subgroups, flow)),
                ],
            ),
            _checklist(trial),
        ],
    )


_ETHICS = (
    "The data are films of patients, whose faces may be seen in them; whether they consented and "
    "who approved the study, no run can tell. Preprocessing cuts the person out and, with "
    "segmentation, blanks what is around the body. The model can be wrong more often about groups "
    "of people that were few in the data, see the subgroups. This card names no patient."
)


def _summary(trial: FinishedTrial) -> str:
    cases = trial.predictions.cases("test", "patient")
    counts = cases.rows["label"].value_counts()
    classes = ", ".join(f"{counts.get(name, 0)} {name}" for name in cases.classes)
    auroc = _logged(trial, "auroc")
    told = f"Tested by cross-validation on {len(cases)} patients ({classes})"
    told = f"{told}: AUROC {auroc} on patients." if auroc else f"{told}."
    if folds := trial.run.data.tags.get(COLLAPSED):
        told += f" Its networks have collapsed ({folds}): it is no classifier."
    return told


def _details(trial: FinishedTrial, origin: Mapping[str, Any], names: str) -> Section:
    parameters, metrics, tags = trial.parameters, trial.run.data.metrics, trial.run.data.tags
    started = datetime.fromtimestamp(trial.run.info.start_time / 1000, UTC)
    versions = ", ".join(f"{name} {of}" for name, of in origin.get("backends", {}).items())
    rows = [
        ("version", names),
        ("trained", started.strftime("%Y-%m-%d")),
        ("kind", "two-stream 3D network on video: appearance (RGB) and motion (optical flow)"),
        *((name.replace("_", " "), parameters[name]) for name in _NETWORK if parameters.get(name)),
        ("answers with", _FINAL.get(parameters.get("final", "ensemble"), parameters.get("final"))),
        ("parameters", _size(metrics.get("model/parameters"))),
        ("GMACs per clip", _size(metrics.get("model/gmacs"))),
        ("classes", ", ".join(trial.predictions.classes)),
        ("versions of the software", versions),
        ("git commit", tags.get("mlflow.source.git.commit", "")),
        ("model", tags.get(MODEL, "")),
    ]
    return Section(
        "Model details",
        [
            Table(["", "value"], [(name, str(value)) for name, value in rows if value]),
            "All versions that it was trained and runs with are in requirements.txt of the model; "
            "all parameters in config.yaml of the run. Questions: to whoever registered it.",
        ],
    )


def _intended_use(trial: FinishedTrial) -> Section:
    classes = trial.predictions.classes
    return Section(
        "Intended use",
        [
            f"Research: to tell {', '.join(classes[:-1])} from {classes[-1]} on films of walking "
            "patients that are recorded and preprocessed as those of the training were, and to "
            "compare classifiers of them.",
            "Users: researchers of gait laboratories who know how the films came about.",
            "Out of scope: diagnosis, screening, or any decision about a person's treatment. It is "
            "no medical device, and nobody has tested it in a clinic. Also people of other classes "
            "than these: the model always answers with one of them.",
        ],
    )


def _factors(trial: FinishedTrial) -> Section:
    videos = trial.videos
    known = [] if videos is None else metadata_columns(videos, trial.group_by)
    told = (
        f"The labels tell {', '.join(known)} of the patients or videos; the subgroups below are "
        "those of these columns that divide the patients."
        if known
        else "The labels tell nothing of the patients but their class, or only what tells one "
        "patient from another, so there are no subgroups."
    )
    method = "How a person is found, cut out and segmented is part of what the model depends on."
    return Section("Factors", [told, method])


def _metrics(trial: FinishedTrial) -> Section:
    positive = trial.predictions.cases("test", "patient").positive
    blocks: list[Block] = [
        "Figures are of outer test patients, whose clips are averaged to one probability each. "
        "Pooled: of all folds together; intervals (95 %) resample patients. Fold mean: mean and "
        "standard deviation over folds.",
    ]
    if positive is None:
        return Section(
            "Metrics", [*blocks, "Decision: the most probable class; there is no threshold."]
        )
    thresholds = trial.predictions.thresholds
    rows = [(f"fold {fold + 1}", f"{value:.3f}") for fold, value in sorted(thresholds.items())]
    blocks += [
        f"Positive class: {trial.predictions.positive_class}. Operating point: a patient is called "
        "positive from the threshold of the fold on, which inner validation patients chose "
        "(highest Youden index). These are thresholds of probabilities that are not calibrated; "
        "the model's answers are calibrated and tell their own threshold.",
        Table(["operating point", f"threshold of P({trial.predictions.positive_class})"], rows),
    ]
    return Section("Metrics", blocks)


def _data(trial: FinishedTrial, origin: Mapping[str, Any], flow: pd.DataFrame | None) -> Section:
    test = trial.predictions.table[trial.predictions.table["split"] == "test"]
    labels = test.drop_duplicates("patient_id")["label"].value_counts()
    rows = [
        ("clip store (digest)", trial.data_digest or str(origin.get("digest", ""))),
        ("patients", str(test["patient_id"].nunique())),
        *((f"patients: {name}", str(labels.get(name, 0))) for name in trial.predictions.classes),
        ("videos", str(test["video"].nunique())),
        ("clips", str(len(test))),
        ("videos left out", str(len(origin["failures"])) if "failures" in origin else ""),
        *((f"preprocessing: {k}", str(v)) for k, v in origin.get("recipe", {}).items()),
    ]
    blocks: list[Block] = [
        "Training and evaluation have the same patients, by nested cross-validation: every network "
        "is tested on patients that had no part in its training or in the choice of its epoch and "
        f"threshold. {trial.parameters.get('folds', 'Several')} outer folds, kept apart by "
        f"{trial.group_by}.",
        Table(["data", "value"], [row for row in rows if row[1] not in ("", "None")]),
    ]
    if flow is None:
        blocks += [f"Flow of participants: {_NOT_LOGGED}."]
    else:
        caption = "Flow of participants, from the labels to the parts of every fold"
        figure = flow_figure(flow, "Participants")
        blocks += [Picture("figures/participant_flow.png", caption, figure)]
    return Section("Evaluation data and training data", blocks)


def _analyses(trial: FinishedTrial, subgroups: pd.DataFrame | None) -> Section:
    cases = trial.predictions.cases("test", "patient")
    counts = confusion_counts(cases)
    confusion = [
        (f"truly {name}", *(str(int(count)) for count in row))
        for name, row in zip(cases.classes, counts, strict=True)
    ]
    calibration = [
        (title_of(name), _logged(trial, name), _logged(trial, f"{name}_scaled"))
        for name in _CALIBRATION
    ]
    caption = "Calibration of outer test patients"
    return Section(
        "Quantitative analyses",
        [
            Table(
                ["patients", "pooled [95 % CI]", "fold mean ± SD"],
                [row for name in _FIGURES if (row := _figures_of(trial, name))[1]],
                "Outer test patients",
            ),
            Table(
                ["", *(f"called {name}" for name in cases.classes)], confusion, "Patients, pooled"
            ),
            Table(
                ["calibration", "as it is", "at the temperature of each fold"],
                [row for row in calibration if row[1]],
            ),
            Picture(
                "figures/calibration_patient.png",
                caption,
                calibration_figure(cases, "Calibration: test patients, all folds"),
            ),
            *_subgroup_blocks(trial, subgroups),
        ],
    )


def _subgroup_blocks(trial: FinishedTrial, subgroups: pd.DataFrame | None) -> Iterator[Block]:
    if subgroups is None:
        why = "the labels have no column that divides the patients, or it is not in the run."
        yield f"Subgroups: {why}"
        return
    rows = [
        (
            ALL if row["level"] == ALL else f"{row['column']} {row['level']}",
            str(row["num_patients"]) + (" (few)" if row["is_small"] else ""),
            _of_row(row, "auroc") + (" *" if row["auroc_against"] else ""),
            _of_row(row, "accuracy"),
        )
        for row in subgroups.to_dict("records")
    ]
    note = "Subgroups of outer test patients, pooled, unitary (one column at a time)"
    if (subgroups["auroc_against"] != "").any():
        note += "; *: the group has one class, and is compared with all patients of the other"
    yield Table(["group", "patients", "AUROC [95 % CI]", "accuracy [95 % CI]"], rows, note)
    yield Picture(
        "figures/subgroups.png",
        "Subgroups of outer test patients",
        subgroup_figure(subgroups, "Subgroups: test patients, all folds"),
    )


def _checklist(trial: FinishedTrial) -> Section:
    videos = trial.videos
    has_readers = videos is not None and any(str(c).startswith("reader_") for c in videos.columns)
    items = open_items(trial.run_id, has_readers=has_readers)
    rows = [(i.what, i.asked_by, i.state, i.remedy.replace("`", "")) for i in items]
    told = (
        "What STARD 2015, CLAIM 2020 and TRIPOD+AI 2024 ask for and the run does not show, or only "
        "in part. What people alone can tell (ethics, setting, funding) is asked for, too. All "
        "items: checklist.md of the run."
    )
    return Section(
        "Reporting standards: what is not met",
        [told, Table(["asked for", "by", "shown", "how it is had"], rows)]
        if rows
        else [told, "Nothing."],
    )


def _origin(trial: FinishedTrial) -> dict[str, Any]:
    """How the store was made; empty where the run does not tell."""
    artifacts = {item.path for item in MlflowClient().list_artifacts(trial.run_id)}
    if STORE not in artifacts:
        return {}
    origin: dict[str, Any] = load_dict(f"runs:/{trial.run_id}/{STORE}")
    return origin


def _subgroups(trial: FinishedTrial) -> pd.DataFrame | None:
    table = read_table(trial.run, "tables/subgroups.csv")
    if table is None or trial.videos is None:
        return None
    for name in ("column", "auroc_against"):  # an empty cell is read as a missing number
        table[name] = table[name].astype(object).fillna("")
    shown = table[table["column"].isin(["", *metadata_columns(trial.videos, trial.group_by)])]
    return shown.reset_index(drop=True) if len(shown) > 1 else None


def _flow(trial: FinishedTrial) -> pd.DataFrame | None:
    flow = read_table(trial.run, "tables/participant_flow.csv")
    if flow is None:
        return None
    flow["reason"] = flow["reason"].astype(object).fillna("")
    return flow.astype(dict.fromkeys(("fold", "patients", "videos", "clips"), "Int64"))


def _figures_of(trial: FinishedTrial, metric: str) -> tuple[str, str, str]:
    metrics = trial.run.data.metrics
    mean = metrics.get(f"test/patient/{metric}_fold_mean")
    deviation = metrics.get(f"test/patient/{metric}_fold_sd")
    over_folds = "" if mean is None else f"{mean:.3f}"
    if mean is not None and deviation is not None:
        over_folds += f" ± {deviation:.3f}"
    return title_of(metric), _logged(trial, metric), over_folds


def _logged(trial: FinishedTrial, metric: str) -> str:
    """A pooled figure of the test patients with its interval; empty where it is undefined."""
    return logged_text(trial.run.data.metrics, f"test/patient/{metric}")


def _of_row(row: Mapping[Any, Any], measure: str) -> str:
    ends = (row[f"{measure}_ci_low"], row[f"{measure}_ci_high"])
    interval = None if any(map(pd.isna, ends)) else Interval(*map(float, ends))
    return figure_text(Estimate(float(row[measure]), interval)) or "undefined"


def _size(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
