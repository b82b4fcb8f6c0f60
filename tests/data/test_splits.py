import numpy as np
import pandas as pd
import pytest

from asd_experiments.data.splits import SplitError, assign_folds, check_disjoint


def cohort(per_class: dict[str, int], videos_per_patient: int = 3) -> pd.DataFrame:
    rows = [
        {"patient_id": f"{label}{number}", "label": label, "site": f"s{number % 4}"}
        for label, count in per_class.items()
        for number in range(count)
        for _ in range(videos_per_patient)
    ]
    return pd.DataFrame(rows)


def split(videos: pd.DataFrame, **changes: object) -> pd.DataFrame:
    settings = {"folds": 5, "inner_folds": 4, "group_by": "patient_id", "seed": 0, **changes}
    return assign_folds(videos, **settings)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("per_class", [{"ASD": 54, "DHS": 27}, {"a": 10, "b": 9, "c": 8}])
def test_the_three_sets_are_disjoint_and_everyone_is_tested_once(per_class, seed):
    videos = cohort(per_class)
    manifest = split(videos, seed=seed)
    for _, fold in manifest.groupby("fold"):
        sets = [set(fold.loc[fold["split"] == s, "patient_id"]) for s in ("train", "val", "test")]
        assert all(sets)
        assert not sets[0] & sets[1] and not sets[0] & sets[2] and not sets[1] & sets[2]
        assert set.union(*sets) == set(videos["patient_id"])
    tested = manifest.loc[manifest["split"] == "test", "patient_id"]
    assert sorted(tested) == sorted(set(videos["patient_id"]))


def test_outer_folds_keep_the_share_of_the_classes():
    manifest = split(cohort({"ASD": 50, "DHS": 25}))
    test = manifest[manifest["split"] == "test"]
    counts = test.groupby(["label", "fold"]).size()
    assert (counts["ASD"] == 10).all() and (counts["DHS"] == 5).all()


def test_a_seed_gives_one_split_and_another_seed_another():
    videos = cohort({"ASD": 20, "DHS": 20})
    assert split(videos).equals(split(videos))
    assert not split(videos).equals(split(videos, seed=1))


def test_the_order_of_the_videos_does_not_matter():
    videos = cohort({"ASD": 20, "DHS": 20})
    shuffled = videos.iloc[np.random.default_rng(0).permutation(len(videos))]
    assert split(videos).equals(split(shuffled))


def test_a_site_is_never_divided_and_each_is_left_out_once():
    manifest = split(cohort({"ASD": 20, "DHS": 20}), group_by="site", folds=4)
    assert set(manifest["group"]) == {"s0", "s1", "s2", "s3"}
    sides = manifest.groupby(["fold", "group"])["split"].nunique()
    assert (sides == 1).all()
    tested = manifest[manifest["split"] == "test"].groupby("fold")["group"].unique()
    assert sorted(group for groups in tested for group in groups) == ["s0", "s1", "s2", "s3"]


def test_a_manifest_that_leaks_is_refused():
    manifest = split(cohort({"ASD": 10, "DHS": 10}))
    leak = manifest[(manifest["fold"] == 0) & (manifest["split"] == "test")].iloc[:1]
    with pytest.raises(SplitError, match="more than one of"):
        check_disjoint(pd.concat([manifest, leak.assign(split="train")]))
    with pytest.raises(SplitError, match="exactly one fold"):
        check_disjoint(manifest[manifest["fold"] != 0])


@pytest.mark.parametrize(
    ("videos", "changes", "message"),
    [
        (cohort({"ASD": 9, "DHS": 2}), {"folds": 2}, "'DHS' has 2 patients"),
        (cohort({"ASD": 9, "DHS": 4}), {}, "folds must be at most 4"),
        (cohort({"ASD": 9}), {}, "at least two labels"),
        (cohort({"ASD": 3, "DHS": 3}), {"folds": 7}, "at most the number of groups"),
        (cohort({"ASD": 9, "DHS": 9}), {"group_by": "hospital"}, "unknown column 'hospital'"),
        (cohort({"ASD": 9, "DHS": 9}).assign(site=""), {"group_by": "site"}, "empty"),
    ],
)
def test_what_cannot_be_split_is_refused_with_the_reason(videos, changes, message):
    with pytest.raises(SplitError, match=message):
        split(videos, **changes)


def test_a_patient_in_two_groups_is_refused():
    videos = cohort({"ASD": 9, "DHS": 9}, videos_per_patient=2)
    videos["site"] = [f"s{n % 2}" for n in range(len(videos))]
    with pytest.raises(SplitError, match="two groups"):
        split(videos, group_by="site", folds=2)
