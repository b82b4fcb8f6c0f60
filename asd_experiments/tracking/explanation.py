"""The command `explain`: why the networks of a trial decided as they did, in MLflow."""

import pandas as pd

from asd_experiments.config import ExplainConfig
from asd_experiments.explanation.randomisation import compare_with_random
from asd_experiments.explanation.saliency import Saliency
from asd_experiments.interruption import Interrupted
from asd_experiments.progress import progress_bar
from asd_experiments.tracking.anonymity import told_by
from asd_experiments.tracking.explanation_plan import ExplanationPlan, make_plan
from asd_experiments.tracking.explanation_record import (
    log_note,
    log_pictures,
    log_sanity,
    log_shares,
    log_start,
    share_lines,
    share_table,
)
from asd_experiments.tracking.runs import command_run, use_tracking_store, where_to_see


def explain(config: ExplainConfig) -> str:
    """Explain what a trial decided about some of its test patients, and track it.

    Returns:
        Id of the run.

    Raises:
        InputError: If machine, trial, store and patients do not fit together, or the networks do
            not give the probabilities that the trial logged.
    """
    use_tracking_store()
    plan = make_plan(config)
    try:
        with command_run(
            config.run_name, f"explain {plan.trial.name}", told=told_by(plan.pseudonyms)
        ) as run_id:
            log_start(run_id, plan)
            explained = _explain_clips(plan)
            table = share_table(plan, explained)
            log_shares(run_id, table)
            sanity = log_sanity(run_id, _compare_with_random(plan))
            log_pictures(run_id, plan, explained)
            log_note(run_id, plan, explained, table, sanity)
    except Interrupted as error:
        raise SystemExit(f"explain: {error}; its run in MLflow is closed as KILLED") from error
    print("\n".join(["", share_lines(table), "", sanity, "", *where_to_see(run_id)]))
    return run_id


def _explain_clips(plan: ExplanationPlan) -> list[Saliency]:
    rows = progress_bar(range(len(plan)), title="explain", unit="clip")
    return [plan.explainer(row)(plan.network(row)) for row in rows]


def _compare_with_random(plan: ExplanationPlan) -> pd.DataFrame:
    """Compare the maps of the first clips with those of random weights, a row per comparison."""
    fresh, rows = plan.fresh_network(), []
    clips = range(min(plan.config.sanity_clips, len(plan)))
    for clip in progress_bar(clips, title="random weights", unit="clip"):
        facts = plan.clips[["patient_id", "video", "clip_start"]].iloc[clip].to_dict()
        comparisons = compare_with_random(
            plan.explainer(clip), plan.network(clip), fresh, plan.seen(clip)
        )
        rows += [{**facts, **comparison.row} for comparison in comparisons]
    return pd.DataFrame(rows).astype({"spearman": float, "ssim": float})
