"""What the run of an explanation holds: shares, pictures, the sanity check, and a summary."""

import re
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from asd_experiments.explanation.body import REGIONS, shares
from asd_experiments.explanation.pictures import (
    ExplainedClip,
    contact_sheet,
    write_saliency_film,
)
from asd_experiments.explanation.randomisation import WHOLLY_RANDOM, verdict
from asd_experiments.explanation.saliency import MapName, Saliency
from asd_experiments.interruption import raise_if_stopped
from asd_experiments.progress import progress_bar
from asd_experiments.pseudonyms import PARAMETER
from asd_experiments.tracking.anonymity import ANONYMISED
from asd_experiments.tracking.artifacts import evaluated, log_table
from asd_experiments.tracking.dataset import log_dataset
from asd_experiments.tracking.explanation_plan import ExplanationPlan, logged_names
from asd_experiments.tracking.runs import COLLAPSED, log_metrics, log_parameters

EXPLAINS = "asd.explains"
"""Tag of a run: the trial that it explains."""

SANITY = "asd.sanity"
"""Tag of a run: whether its maps depend on what was learned."""

LARGEST_GAP = 0.05
"""Completeness gap up to which integrated gradients add up; see `Saliency.completeness_gap`."""

_FACTS = [
    *("patient_id", "video", "clip_start", "clip_start_seconds", "fold"),
    *("label", "decision", "wrong", "probability"),
]
_FIGURES = [*REGIONS, *(f"{region}_area" for region in REGIONS), "completeness_gap"]
_BLANK = (
    "With segmentation the networks are shown nothing but the body: integrated gradients lie on it "
    "whatever was learned, and only Grad-CAM's share on the body tells anything."
)


def log_start(run_id: str, plan: ExplanationPlan) -> None:
    """Log what is explained, and on which data."""
    client = MlflowClient()
    client.set_tag(run_id, "asd.level", "explain")
    client.set_tag(run_id, EXPLAINS, plan.trial.run.info.run_id)
    if plan.pseudonyms is not None:
        client.set_tag(run_id, ANONYMISED, plan.pseudonyms.fingerprint)
    asked = {name: value for name, value in asdict(plan.config).items() if name != PARAMETER}
    if plan.config.patients is not None:
        names = logged_names(plan.config.patient_ids, plan.store, plan.pseudonyms)
        asked["patients"] = ",".join(names)
    log_parameters(run_id, {**asked, "device": plan.device})
    log_dataset(run_id, plan.store, "explanation")


def share_table(plan: ExplanationPlan, explained: list[Saliency]) -> pd.DataFrame:
    """One row per clip and map: shares of the saliency by region, and beside them of the area."""
    rows = []
    for row, saliency in enumerate(explained):
        facts = plan.clips[_FACTS].iloc[row].to_dict()
        coverage = plan.coverage(row)
        for name, values in saliency.maps.items():
            figures: dict[str, float] = {}
            for region, share in shares(values, coverage[name.source]).items():
                figures[region] = share.saliency
                figures[f"{region}_area"] = share.area
            if name.method == "integrated_gradients":
                figures["completeness_gap"] = saliency.completeness_gap
            rows.append(facts | name._asdict() | figures)
    return pd.DataFrame(rows)


def log_shares(run_id: str, table: pd.DataFrame) -> None:
    """Log the table of shares, and the means over its clips as metrics."""
    log_table(run_id, table, "saliency.csv")
    for name, rows in _by_map(table):
        means = {figure: float(rows[figure].mean()) for figure in _FIGURES}
        log_metrics(run_id, _named("saliency", name, means))


def log_pictures(run_id: str, plan: ExplanationPlan, explained: list[Saliency]) -> None:
    """Log the contact sheet and a film of every clip; only one at a time lies on the disk."""
    clips = [_explained_clip(plan, row, saliency) for row, saliency in enumerate(explained)]
    with evaluated(run_id) as files:
        files.add_figure("contact_sheet", contact_sheet(clips))
    for number, clip in enumerate(progress_bar(clips, title="films", unit="film"), start=1):
        raise_if_stopped()
        with tempfile.TemporaryDirectory(prefix="film_") as folder:
            patient = re.sub(r"[^\w-]", "_", clip.patient_id)
            path = Path(folder) / f"{number:02d}_{patient}.mp4"
            write_saliency_film(clip, path)
            MlflowClient().log_artifact(run_id, str(path), "films")


def _explained_clip(plan: ExplanationPlan, row: int, saliency: Saliency) -> ExplainedClip:
    facts = plan.clips.iloc[row]
    return ExplainedClip(
        patient_id=str(facts["patient_id"]),
        seconds=float(facts["clip_start_seconds"]),
        frame_rate_hz=float(facts["frame_rate_hz"]),
        label=str(facts["label"]),
        decision=str(facts["decision"]),
        probability=float(facts["probability"]),
        frames=plan.frames(row),
        segmentation=plan.trial.model.spec.segmentation,
        maps=saliency.maps,
        faces=plan.config.overlays,
    )


def log_sanity(run_id: str, table: pd.DataFrame) -> str:
    """Log the comparisons with random weights, as a table and as curves over the steps.

    Args:
        run_id: The run.
        table: Rows of `Comparison`.

    Returns:
        Whether the maps depend on what was learned, in plain words.
    """
    log_table(run_id, table, "sanity.csv")
    correlations = {}
    for name, rows in _by_map(table):
        means = rows.groupby("step")[["spearman", "ssim"]].mean()
        for step in sorted(rows["step"].unique()):
            figures = {figure: float(means[figure][step]) for figure in means.columns}
            log_metrics(run_id, _named("sanity", name, figures), step=int(step))
        highest = float(means["spearman"][list(WHOLLY_RANDOM)].max())
        if not np.isnan(highest):
            correlations[name] = highest
    sentence = verdict(correlations)
    MlflowClient().set_tag(run_id, SANITY, sentence)
    return sentence


def share_lines(table: pd.DataFrame) -> str:
    """The mean shares as a Markdown table, each with that of the area in brackets."""
    titles = [region.replace("_", " ") for region in REGIONS]
    lines = [f"| share of saliency (of area) | {' | '.join(titles)} |", "|---" * 5 + "|"]
    for name, rows in _by_map(table):
        means = rows[_FIGURES].mean()
        cells = [_share(means[region], means[f"{region}_area"]) for region in REGIONS]
        lines.append(f"| {name.title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _share(saliency: float, area: float) -> str:
    shown = "undefined" if np.isnan(saliency) else f"{saliency:.0%}"
    return f"{shown} ({area:.0%})"


def log_note(
    run_id: str,
    plan: ExplanationPlan,
    explained: list[Saliency],
    table: pd.DataFrame,
    sanity: str,
) -> None:
    """Put what a reader of the run's page must know into its description.

    Args:
        run_id: The run.
        plan: What was explained.
        explained: Its maps.
        table: From `share_table`.
        sanity: From `log_sanity`.
    """
    trial = plan.trial.run.info
    link = f"#/experiments/{trial.experiment_id}/runs/{trial.run_id}"
    grids = ", ".join(
        f"{MapName(source, 'grad_cam').title.split(',')[0]} {time} x {height} x {width}"
        for source, (_, time, height, width) in explained[0].grids.items()
    )
    paragraphs = [
        f"Why the trial [{plan.trial.name}]({link}) decided as it did: {len(plan)} clips of "
        f"{plan.clips['patient_id'].nunique()} test patients. Pictures among the artifacts: "
        "`figures/contact_sheet.png` and `films/`; per clip: `saliency.csv`, `sanity.csv`.",
        share_lines(table),
        sanity,
        f"Grad-CAM's own maps are coarse (time x height x width): {grids}.",
    ]
    if plan.trial.model.spec.segmentation:
        paragraphs.append(_BLANK)
    if collapsed := plan.trial.run.data.tags.get(COLLAPSED):
        paragraphs.append(
            f"Collapsed in this trial: {collapsed}. Such networks have learned next to nothing, "
            "and their maps show no more."
        )
    if (gap := table["completeness_gap"].max()) > LARGEST_GAP:
        paragraphs.append(
            f"Integrated gradients do not add up: they miss up to {gap:.0%} of the difference that "
            f"a clip makes. Give more than steps={plan.config.steps}."
        )
    MlflowClient().set_tag(run_id, MLFLOW_RUN_NOTE, "\n\n".join(paragraphs))


def _named(family: str, name: MapName, figures: dict[str, float]) -> dict[str, float]:
    """Figures of a map as metrics; undefined ones are left out."""
    return {
        f"{family}/{name.source}/{name.method}/{figure}": value
        for figure, value in figures.items()
        if not np.isnan(value)
    }


def _by_map(table: pd.DataFrame) -> list[tuple[MapName, pd.DataFrame]]:
    """Rows of every kind of map, in the order in which the kinds occur."""
    kinds = table[["source", "method"]].drop_duplicates().to_dict("records")
    return [
        (
            MapName(kind["source"], kind["method"]),
            table[(table["source"] == kind["source"]) & (table["method"] == kind["method"])],
        )
        for kind in kinds
    ]
