import numpy as np
import pandas as pd
import pytest

from asd_experiments.evaluation.collapse import find_collapse

CLASSES = ["ASD", "DHS", "LCS"]


def table(
    probabilities: np.ndarray, labels: list[str], split: str = "test", clips: int = 2
) -> pd.DataFrame:
    """Patients with so many clips each, whose probabilities differ but have the given mean."""
    rows = []
    for patient, (row, label) in enumerate(zip(probabilities, labels, strict=True)):
        for clip in range(clips):
            rows.append(
                {
                    "fold": 0,
                    "split": split,
                    "group": f"P{patient}",
                    "patient_id": f"P{patient}",
                    "video": "v",
                    "clip_start": clip,
                    "clip_start_seconds": float(clip),
                    "label": label,
                    **{f"probability_{c}": p for c, p in zip(CLASSES, row, strict=True)},
                }
            )
    return pd.DataFrame(rows)


def spread_around(centre: list[float], count: int, sd: float) -> np.ndarray:
    steps = np.linspace(-1, 1, count) * sd * np.sqrt(3)
    rows = np.tile(centre, (count, 1))
    rows[:, 0] += steps
    rows[:, 1] -= steps
    return rows


LABELS = ["ASD"] * 10 + ["DHS"] * 6 + ["LCS"] * 4


def test_one_class_for_all_is_a_collapse():
    (reason,) = find_collapse(table(spread_around([0.7, 0.2, 0.1], 20, 0.05), LABELS), CLASSES)
    assert reason == "test: ASD is most probable for 100% of 20 patients (rule: 95%), 50% have it"


@pytest.mark.parametrize(("others", "collapsed"), [(1, True), (2, False)])
def test_almost_all_are_19_of_20(others, collapsed):
    probabilities = spread_around([0.7, 0.2, 0.1], 20, 0.05)
    probabilities[:others] = [0.1, 0.2, 0.7]
    assert bool(find_collapse(table(probabilities, LABELS), CLASSES)) == collapsed


@pytest.mark.parametrize(("sd", "collapsed"), [(0.015, True), (0.03, False)])
def test_probabilities_that_hardly_vary_are_a_collapse_whichever_side_they_fall(sd, collapsed):
    """Around one third both classes are called: only the spread tells."""
    found = find_collapse(table(spread_around([0.35, 0.35, 0.3], 20, sd), LABELS), CLASSES)
    assert bool(found) == collapsed
    assert not collapsed or "hardly vary (SD 0.0" in found[0]


def test_both_splits_are_looked_at():
    good = np.tile(np.eye(3), (7, 1))[:20] * 0.6 + 0.2 / 1.5
    bad = spread_around([0.2, 0.7, 0.1], 20, 0.05)
    both = pd.concat([table(good, LABELS), table(bad, LABELS, "val")])
    (reason,) = find_collapse(both, CLASSES)
    assert reason.startswith("val: DHS")
    assert find_collapse(table(good, LABELS), CLASSES) == []


def test_a_split_that_truly_is_of_one_class_is_no_collapse():
    probabilities = spread_around([0.7, 0.2, 0.1], 20, 0.05)
    assert find_collapse(table(probabilities, ["ASD"] * 20), CLASSES) == []
    assert find_collapse(table(probabilities, ["ASD"] * 19 + ["DHS"]), CLASSES) == []
