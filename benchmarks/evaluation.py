"""Do the intervals hold what they promise, and the tests, too? Tried where the truth is known.

coverage: how many 95 % intervals hold the true AUROC, of patients and of clips (goal: 93 to 97 %),
    beside plain percentiles and an interval that takes clips for independent; Wilson's for the
    sensitivity.
difference: the same of paired differences of 0 and 0.04; how often DeLong's and McNemar's tests
    see a difference where there is none (goal: 5 %).
null: are the permutation p values of trials that know nothing uniform?
power: how many patients show a difference of 0.04, and how likely 81 do; the figure of
    docs/power.md.

    OMP_NUM_THREADS=1 python benchmarks/evaluation.py
    OMP_NUM_THREADS=1 python benchmarks/evaluation.py --parts power
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy import stats

from asd_experiments.evaluation.bootstrap import draw_groups, percentile_interval
from asd_experiments.evaluation.cases import Cases
from asd_experiments.evaluation.comparison import delong, difference, mcnemar, permutation_p
from asd_experiments.evaluation.predictions import select_units
from asd_experiments.evaluation.proportions import wilson_interval
from asd_experiments.evaluation.ranking import auroc_interval, ranking_draws
from asd_experiments.simulation.predictions import PredictedCohort, simulate_predictions

FIGURE = Path(__file__).parents[1] / "docs/images/power.png"
COHORT = PredictedCohort()
UNITS = ("patient", "clip")
NAIVE_REPETITIONS = 200  # each takes a second
ALIKE = (0.0, 0.3, 0.5, 0.7, 0.9)
SIZES = (81, 150, 300, 600, 1200, 2400)
COLOURS = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#D55E00")  # Okabe and Ito
MARKERS = "osD^v"
PARTS = ("coverage", "difference", "null", "power")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--repetitions", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    for part in options.parts:
        started = time.perf_counter()
        with get_context("spawn").Pool(options.processes) as pool:
            repeat = partial(repeated, pool, options.repetitions)
            {"coverage": coverage, "difference": differences, "null": null, "power": power}[part](
                repeat
            )
        print(f"\n{part}: {time.perf_counter() - started:.0f} s", flush=True)


def repeated(
    pool: Any, repetitions: int, one: Callable[[int], dict[str, float]], share: float = 1.0
) -> pd.DataFrame:
    """One row per repetition, each with a seed of its own."""
    seeds = range(int(repetitions * share))
    return pd.DataFrame(pool.map(one, seeds, chunksize=max(1, len(seeds) // 20)))


def cases_of(table: pd.DataFrame, unit: str, cohort: PredictedCohort = COHORT) -> Cases:
    rows = select_units(table, "test", unit)
    return Cases(rows, cohort.classes, cohort.classes[0], dict.fromkeys(range(cohort.folds), 0.5))


def true_auroc(unit: str, patient_auroc: float) -> float:
    if unit == "patient":
        return patient_auroc
    return COHORT.clip_auroc(COHORT.separation(patient_auroc))


def coverage(repeat: Callable[..., pd.DataFrame]) -> None:
    print("\n| true AUROC of patients | unit | held | too low, too high | width | percentiles |")
    print("|---|---|---|---|---|---|")
    for auroc in (0.7, 0.8, 0.86, 0.95):
        found = repeat(partial(one_coverage, auroc))
        for unit in UNITS:
            values = [found[f"{unit} {name}"].mean() for name in ("below", "above", "width")]
            print(
                f"| {auroc} | {unit} ({true_auroc(unit, auroc):.3f}) | "
                f"**{1 - values[0] - values[1]:.1%}** | {values[0]:.1%}, {values[1]:.1%} | "
                f"{values[2]:.3f} | {found[f'{unit} percentile'].mean():.1%} |",
                flush=True,
            )
        print(
            f"| {auroc} | patient: sensitivity, Wilson | **{found['wilson'].mean():.1%}** | | | |"
        )
    share = min(1.0, NAIVE_REPETITIONS / 1000)
    found = repeat(partial(one_naive, 0.86), share)
    print(
        f"\nclips taken for independent, {len(found)} repetitions: **{found['held'].mean():.1%}**, "
        f"width {found['width'].mean():.3f}"
    )


def one_coverage(auroc: float, seed: int) -> dict[str, float]:
    (table,) = simulate_predictions(COHORT, [auroc], seed=seed)
    found: dict[str, float] = {}
    for unit in UNITS:
        cases, truth = cases_of(table, unit), true_auroc(unit, auroc)
        low, high = auroc_interval(cases, seed=seed)
        plain = percentile_interval(
            ranking_draws(cases, draw_groups(cases, seed=seed), ("auroc",))["auroc"], 0.95
        )
        found[f"{unit} below"], found[f"{unit} above"] = high < truth, low > truth
        found[f"{unit} width"] = high - low
        # Perfect separation has no percentiles; it has the same interval as above.
        low, high = plain or (low, high)
        found[f"{unit} percentile"] = low <= truth <= high
    cases = cases_of(table, "patient")
    positive = cases.truth == cases.positive
    hits = int((cases.decisions[positive] == cases.positive).sum())
    low, high = wilson_interval(hits, int(positive.sum()), 0.95)
    found["wilson"] = low <= COHORT.patient_sensitivity(COHORT.separation(auroc)) <= high
    return found


def one_naive(auroc: float, seed: int) -> dict[str, float]:
    (table,) = simulate_predictions(COHORT, [auroc], seed=seed)
    cases = cases_of(table, "clip")
    alone = replace(cases, rows=cases.rows.assign(group=[f"c{i}" for i in range(len(cases))]))
    low, high = auroc_interval(alone, num_resamples=500, seed=seed)
    return {"held": low <= true_auroc("clip", auroc) <= high, "width": high - low}


def differences(repeat: Callable[..., pd.DataFrame]) -> None:
    print(
        "\n| difference | correlation | unit | held | width | DeLong p < 0.05 | McNemar p < 0.05 |"
    )
    print("|---|---|---|---|---|---|---|")
    for pair in ((0.86, 0.86), (0.82, 0.86)):
        for correlation in (0.5, 0.8):
            found = repeat(partial(one_difference, pair, correlation))
            for unit in UNITS:
                true = true_auroc(unit, pair[1]) - true_auroc(unit, pair[0])
                tested = found[f"{unit} mcnemar"].mean()
                print(
                    f"| {true:.3f} | {correlation} | {unit} | "
                    f"**{found[f'{unit} held'].mean():.1%}** | "
                    f"{found[f'{unit} width'].mean():.3f} | {found[f'{unit} delong'].mean():.1%} | "
                    f"{'' if np.isnan(tested) else f'{tested:.1%}'} |",
                    flush=True,
                )


def one_difference(pair: tuple[float, float], correlation: float, seed: int) -> dict[str, float]:
    tables = simulate_predictions(COHORT, pair, correlation=correlation, seed=seed)
    found: dict[str, float] = {}
    for unit in UNITS:
        reference, cases = (cases_of(table, unit) for table in tables)
        low, high = difference(cases, reference, "auroc", seed=seed).interval
        true = true_auroc(unit, pair[1]) - true_auroc(unit, pair[0])
        found[f"{unit} held"], found[f"{unit} width"] = low <= true <= high, high - low
        found[f"{unit} delong"] = delong(cases, reference) < 0.05
        p = mcnemar(cases, reference)
        found[f"{unit} mcnemar"] = np.nan if p is None else p < 0.05
    return found


def null(repeat: Callable[..., pd.DataFrame]) -> None:
    print(
        "\n| unit | trials | p < 0.05 | KS distance from uniform | its p |\n|---|---|---|---|---|"
    )
    found = repeat(one_null, 0.5)
    for unit in UNITS:
        against_uniform = stats.kstest(found[unit], "uniform")
        print(
            f"| {unit} | {len(found)} | {(found[unit] < 0.05).mean():.1%} | "
            f"{against_uniform.statistic:.3f} | {against_uniform.pvalue:.2f} |"
        )


def one_null(seed: int) -> dict[str, float]:
    (table,) = simulate_predictions(COHORT, [0.5], seed=seed)
    return {unit: permutation_p(cases_of(table, unit), seed=seed) for unit in UNITS}


def power(repeat: Callable[..., pd.DataFrame]) -> None:
    """Fitted to the shares seen: the normal quantile of the power grows with the root of n."""
    print("\n| correlation | test | " + " | ".join(map(str, SIZES)) + " | for 80 % |")
    print("|---|---|" + "---|" * (len(SIZES) + 1))
    seen = {}
    for correlation in ALIKE:
        shares = pd.DataFrame(
            [repeat(partial(one_power, size, correlation), 0.5).mean() for size in SIZES]
        )
        for test in shares:
            slope = slope_of(shares[test].to_numpy())
            seen[correlation, test] = shares[test].to_numpy(), slope
            needed = ((stats.norm.ppf(0.8) + stats.norm.ppf(0.975)) / slope) ** 2
            print(
                f"| {correlation} | {test} | "
                + " | ".join(f"{share:.0%}" for share in shares[test])
                + f" | **{needed:.0f}** |",
                flush=True,
            )
    draw_power(seen)


def one_power(size: int, correlation: float, seed: int) -> dict[str, float]:
    """One clip a patient: ranks of patients are the same as with many, and it takes less time."""
    sizes = {"ASD": size * 2 // 3, "non-ASD": size // 3}
    cohort = PredictedCohort(sizes, clips_per_patient=(1, 1))
    tables = simulate_predictions(cohort, [0.82, 0.86], correlation=correlation, seed=seed)
    reference, cases = (cases_of(table, "patient", cohort) for table in tables)
    return {
        "DeLong": delong(cases, reference) < 0.05,
        "McNemar": mcnemar(cases, reference) < 0.05,
    }


def slope_of(shares: np.ndarray) -> float:
    """Fit probit(power) = slope sqrt(n) - 1.96, each share as sure as so many studies make it."""
    telling = (shares > 0.08) & (shares < 0.995)
    seen, roots = shares[telling], np.sqrt(np.array(SIZES)[telling])
    heights = stats.norm.ppf(seen)
    weights = stats.norm.pdf(heights) ** 2 / (seen * (1 - seen))
    lifted = heights + stats.norm.ppf(0.975)
    return float((weights * roots * lifted).sum() / (weights * roots**2).sum())


def power_of(slope: float, size: float | np.ndarray) -> Any:
    return stats.norm.cdf(slope * np.sqrt(size) - stats.norm.ppf(0.975))


def draw_power(seen: dict[tuple[float, str], tuple[np.ndarray, float]]) -> None:
    plt.rcParams |= {"font.size": 13, "axes.spines.top": False, "axes.spines.right": False}
    figure, axes = plt.subplots(1, 2, figsize=(13, 5.6), sharey=True, layout="constrained")
    sizes = np.geomspace(60, 3000, 200)
    titles = {
        "DeLong": "AUROC 0.82 against 0.86\n(DeLong's test)",
        "McNemar": "Right and wrong diagnoses of the same\n(McNemar's test)",
    }
    for axis, (test, title) in zip(axes, titles.items(), strict=True):
        for correlation, colour, marker in zip(ALIKE, COLOURS, MARKERS, strict=True):
            shares, slope = seen[correlation, test]
            axis.plot(sizes, 100 * power_of(slope, sizes), color=colour, linewidth=2)
            axis.plot(
                SIZES,
                100 * shares,
                marker,
                color=colour,
                markersize=8,
                label=f"{correlation:.1f}",
            )
        axis.axhline(80, color="0.4", linestyle="--", linewidth=1.2)
        axis.axvline(81, color="0.4", linestyle=":", linewidth=1.5)
        axis.set(xscale="log", xlabel="Patients, two thirds with the disease", title=title)
        axis.set_xticks([81, 150, 300, 600, 1200, 2400], [81, 150, 300, 600, 1200, 2400])
        axis.minorticks_off()
        axis.set_ylim(0, 104)
    axes[0].text(85, 97, "81 patients", color="0.3")
    axes[0].set_ylabel("Power: studies that show it, %")
    axes[1].legend(title="Correlation of\nthe two classifiers", loc="lower right", frameon=False)
    FIGURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(FIGURE, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main()
