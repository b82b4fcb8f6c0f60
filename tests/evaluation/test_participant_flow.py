import pandas as pd
import pytest

from asd_experiments.evaluation.participant_flow import participant_flow

from .builders import CLASSES, clip, random_table

# a and b have ASD, c and d do not; a has two videos, of two clips and one.
TEST = [
    clip(0, "test", "a", "ASD", (0.9, 0.1), video="a1"),
    clip(0, "test", "a", "ASD", (0.9, 0.1), video="a1", start=16),
    clip(0, "test", "a", "ASD", (0.9, 0.1), video="a2"),
    clip(0, "test", "c", "non-ASD", (0.9, 0.1)),
    clip(1, "test", "b", "ASD", (0.9, 0.1)),
    clip(1, "test", "d", "non-ASD", (0.9, 0.1)),
    clip(1, "val", "a", "ASD", (0.9, 0.1), video="a1"),
]
MANIFEST = pd.DataFrame(
    [
        (0, "test", "a", "ASD"),
        (0, "test", "c", "non-ASD"),
        (0, "val", "b", "ASD"),
        (0, "train", "d", "non-ASD"),
        (1, "train", "a", "ASD"),
        (1, "val", "c", "non-ASD"),
        (1, "test", "b", "ASD"),
        (1, "test", "d", "non-ASD"),
    ],
    columns=["fold", "split", "patient_id", "label"],
)
FAILURES = [
    {"reason": "no person found", "label": "ASD", "patient_id": "a"},
    {"reason": "no person found", "label": "ASD", "patient_id": "lost"},
    {"reason": "no person found", "label": "ASD", "patient_id": "lost"},
    {"reason": "it holds no frame", "label": "non-ASD", "patient_id": "c"},
]


def flow(failures=FAILURES) -> pd.DataFrame:
    return participant_flow(pd.DataFrame(TEST), MANIFEST, failures)


def counts(table: pd.DataFrame, stage: str, label: str, fold: int | None = None) -> list:
    """Patients, videos and clips of one row; None where nothing is known."""
    chosen = (table["stage"] == stage) & (table["label"] == label)
    chosen &= table["fold"].isna() if fold is None else table["fold"].eq(fold).fillna(False)
    (row,) = table.loc[chosen, ["patients", "videos", "clips"]].itertuples(index=False)
    return [None if pd.isna(cell) else int(cell) for cell in row]


def test_what_is_in_the_labels_was_stored_or_left_out():
    table = flow()
    assert counts(table, "labels", "ASD") == [3, 6, None]
    assert counts(table, "excluded", "ASD") == [1, 3, None]
    assert counts(table, "stored", "ASD") == [2, 3, 4]
    assert counts(table, "labels", "non-ASD") == [2, 3, None]
    assert counts(table, "excluded", "non-ASD") == [0, 1, None]
    assert table.loc[table["stage"] == "excluded", "reason"].tolist() == [
        "no person found",
        "it holds no frame",
    ]


def test_parts_of_a_fold_hold_whole_patients_with_all_their_clips():
    table = flow()
    assert counts(table, "test", "ASD", 0) == [1, 2, 3]
    assert counts(table, "val", "ASD", 0) == [1, 1, 1]
    assert counts(table, "train", "ASD", 0) == [0, 0, 0]
    assert counts(table, "train", "ASD", 1) == [1, 2, 3]


def test_every_fold_uses_everything_that_was_stored():
    rows = random_table(CLASSES, 30, 1.0)
    patients = rows[rows["split"] == "test"].drop_duplicates("patient_id")
    manifest = pd.concat(
        patients.assign(split=["test" if f == fold else "train" for f in patients["fold"]]).assign(
            fold=fold
        )
        for fold in range(5)
    )
    table = participant_flow(rows, manifest, [])
    stored = table[table["stage"] == "stored"].set_index("label")
    used = table[table["fold"].notna()].groupby(["fold", "label"])[["patients", "videos", "clips"]]
    for (_, label), sums in used.sum().iterrows():
        assert sums.tolist() == stored.loc[label, ["patients", "videos", "clips"]].tolist()


def test_patients_are_not_counted_where_the_store_does_not_tell_them():
    table = flow([{"video": "x.mp4", "reason": "no person found"}])
    assert counts(table, "excluded", "unknown") == [None, 1, None]
    assert counts(table, "labels", "unknown") == [None, 1, None]
    assert counts(table, "labels", "ASD") == [2, 3, None]


def test_nothing_left_out():
    table = flow([])
    assert "excluded" not in set(table["stage"])
    assert counts(table, "labels", "ASD") == [2, 3, None]


def test_the_table_survives_a_csv_file(tmp_path):
    table = flow()
    table.to_csv(tmp_path / "flow.csv", index=False)
    again = pd.read_csv(tmp_path / "flow.csv", dtype={"fold": "Int64", "clips": "Int64"})
    assert counts(again.fillna({"label": ""}), "test", "ASD", 0) == [1, 2, 3]
    assert table["patients"].sum() == pytest.approx(again["patients"].sum())
