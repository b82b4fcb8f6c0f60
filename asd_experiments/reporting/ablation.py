"""The command `ablation`: finished trials become a table for the paper, and a page to read."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime

import pandas as pd
from matplotlib.figure import Figure

from asd_experiments.config import AblationConfig, listed
from asd_experiments.errors import InputError, did_you_mean
from asd_experiments.evaluation.comparison import COMPARED_METRICS
from asd_experiments.reporting import figures
from asd_experiments.reporting.effects import Effect, main_effects
from asd_experiments.reporting.page import render
from asd_experiments.reporting.readers import Reader, judge_readers
from asd_experiments.reporting.rows import Comparison, compare
from asd_experiments.reporting.selection import Selection, select
from asd_experiments.reporting.table import MOST_ROWS, make_table, to_frame, to_latex, to_markdown
from asd_experiments.tracking.ablation import log_ablation
from asd_experiments.tracking.finished_sweep import parent_of
from asd_experiments.tracking.links import (
    artifact_link,
    compare_link,
    run_link,
)
from asd_experiments.tracking.optimism import Optimism, optimism
from asd_experiments.tracking.runs import command_run, use_tracking_store, where_to_see


def ablation(config: AblationConfig) -> str:
    """Compare finished trials and log the table, the page and the figures to a run of their own.

    Returns:
        Id of the run.

    Raises:
        InputError: If the trials cannot be found or compared; before the run is made.
    """
    use_tracking_store()
    metrics = _metrics_of(config.metrics)
    selection = select(config)
    trials = selection.trials
    comparison = compare(
        selection,
        unit=config.unit,
        metrics=metrics,
        by=listed(config.rows or ""),
        reference=config.reference or _winner(selection),
        seed=config.seed,
    )
    main = "auroc" if "auroc" in metrics else metrics[0]
    readers = judge_readers(trials, comparison, seed=config.seed)
    effects = main_effects(
        [trial.parameters for trial in trials], comparison.varied, comparison.sampled[main]
    )
    prices = list(_prices(selection, config.seed))
    ids = [trial.run_id for trial in trials]
    table = make_table(comparison, readers, ids, digits=config.digits, published=config.published)
    drawn = dict(_figures(comparison, readers, effects, main))
    title = f"Ablation: {len(comparison.rows)} rows from {len(trials)} trials"
    told = _told(selection)
    page = render(
        title=title,
        told=told,
        table=table,
        effects=effects,
        prices=prices,
        figures=drawn,
        metric=main,
        made_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
    prices_told = [price.told() for price in prices]
    told_all = "\n\n".join([f"**{title}.** {told}", *prices_told, to_markdown(table, MOST_ROWS)])
    default = f"ablation of {_source(config, selection)}"
    with command_run(config.run_name, default) as run_id:
        note = f"{_links(run_id, selection)}\n\n{told_all}"
        log_ablation(
            run_id,
            parameters={k: v for k, v in asdict(config).items() if v is not None},
            trials=ids,
            data_digest=trials[0].data_digest,
            frames={
                "ablation.csv": to_frame(comparison, readers, ids, published=config.published),
                "effects.csv": _frame(effects),
            },
            texts={
                "ablation.md": note,
                "ablation.tex": to_latex(table, f"{title}. {told}"),
                "ablation.html": page,
            },
            figures=drawn,
            metrics=_logged(comparison, selection, prices),
            note=note,
        )
    print(f"\n{told_all}\n")
    print("\n".join(where_to_see(run_id)))
    return run_id


def _metrics_of(text: str) -> tuple[str, ...]:
    metrics = listed(text)
    if unknown := [name for name in metrics if name not in COMPARED_METRICS]:
        raise InputError(
            f"metrics: unknown metric {unknown[0]!r}{did_you_mean(unknown[0], COMPARED_METRICS)}; "
            f"choose of: {', '.join(COMPARED_METRICS)}"
        )
    if not metrics:
        raise InputError("metrics: name at least one")
    return metrics


def _told(selection: Selection) -> str:
    """How many trials it took to get these, which a reader has to know."""
    told = f"{selection.num_tried} trials were run"
    if selection.left_out:
        told += "; not compared: " + ", ".join(
            f"{count} {state}" for state, count in selection.left_out.items()
        )
    return told + ". The more are run, the better the best of them looks."


def _winner(selection: Selection) -> str | None:
    """The trial that the sweep chose, if there is one sweep and the trial is compared."""
    winners = [won[0] for sweep in selection.sweeps if (won := sweep.winner) is not None]
    known = {trial.run_id for trial in selection.trials}
    return winners[0] if len(winners) == 1 and winners[0] in known else None


def _prices(selection: Selection, seed: int) -> Iterator[Optimism]:
    """What the winner of each sweep was chosen by, and what its outer test patients say."""
    for sweep in selection.sweeps:
        own = [t for t in selection.trials if parent_of(t.run) == sweep.run_id]
        run_id, judged = sweep.winner or ("", "")
        winner = next((trial for trial in own if trial.run_id == run_id), None)
        if winner and (price := optimism(winner, judged, own, seed=seed)):
            yield price


def _figures(
    comparison: Comparison, readers: Sequence[Reader], effects: Sequence[Effect], main: str
) -> Iterator[tuple[str, Figure]]:
    for metric in comparison.metrics:
        yield f"rows_{metric}", figures.rows_figure(comparison, readers, metric)
    if effects:
        yield "effects", figures.effects_figure(effects, main, comparison.unit)
    if readers and len(comparison.reference.members) == 1:
        yield "readers", figures.readers_figure(comparison, readers)


def _links(run_id: str, selection: Selection) -> str:
    links = [
        artifact_link(run_id, "ablation.html", "The page with all figures"),
        compare_link([trial.run for trial in selection.trials], "compare the trials"),
        *(run_link(sweep.run) for sweep in selection.sweeps),
    ]
    return " · ".join(links)


def _frame(effects: Sequence[Effect]) -> pd.DataFrame:
    rows = []
    for effect in effects:
        for level in effect.levels:
            ends = level.mean.interval or (None, None)
            difference = level.difference
            between = (difference.interval if difference else None) or (None, None)
            rows.append(
                {
                    "parameter": effect.name,
                    "level": level.value,
                    "num_trials": level.num_trials,
                    "matched_settings": effect.num_matched,
                    "mean": level.mean.value,
                    "ci_low": ends[0],
                    "ci_high": ends[1],
                    "difference_to_first": difference.value if difference else None,
                    "difference_ci_low": between[0],
                    "difference_ci_high": between[1],
                    "difference_p": difference.p if difference else None,
                }
            )
    return pd.DataFrame(rows)


def _source(config: AblationConfig, selection: Selection) -> str:
    if config.sweep:
        return str(selection.sweeps[0].run.info.run_name)
    return str(config.experiment or f"{len(selection.trials)} trials")


def _logged(
    comparison: Comparison, selection: Selection, prices: Sequence[Optimism]
) -> dict[str, float]:
    values = {
        "num_rows": float(len(comparison.rows)),
        "num_trials": float(len(selection.trials)),
        "num_tried": float(selection.num_tried),
    }
    for metric in comparison.metrics:
        values[f"reference/{metric}"] = comparison.reference.figures[metric].value
    if len(prices) == 1:
        values["optimism"] = prices[0].difference.value
        if interval := prices[0].difference.interval:
            values |= {"optimism_ci_low": interval.low, "optimism_ci_high": interval.high}
    return values
