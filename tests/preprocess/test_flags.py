from dataclasses import replace

import pandas as pd
import pytest

from preprocess.flags import RULES, flag_counts, judge, quality_table
from preprocess.quality import Figures

GOOD = Figures(
    key="3fa9c2d1e0b7a654",  # pragma: allowlist secret
    row=2,
    label="ASD",
    duration_seconds=4.0,
    frame_rate_hz=30.0,
    source_width=1920,
    source_height=1080,
    num_frames=110,
    num_stretches=1,
    longest_seconds=3.7,
    person_share=0.95,
    bridged_share=0.02,
    num_people=1,
    num_switches=0,
    crop_side_px=700.0,
    enlargement=0.32,
    crop_jitter=0.0004,
    mask_share=0.09,
    mask_share_min=0.07,
    mask_flicker=0.03,
    mask_cut_share=0.0,
    body_flow_px=1.0,
    surroundings_flow_px=0.2,
)

FAULTS = {
    "seldom_seen": ({"person_share": 0.61}, "person seen in 61 % of the frames"),
    "bridged": ({"bridged_share": 0.3}, "person interpolated in 30 % of the stored frames"),
    "short": ({"longest_seconds": 0.6}, "longest stretch lasts 0.6 s"),
    "other_people": ({"num_people": 2}, "2 people were followed"),
    "switched": ({"num_switches": 3}, "(a body, a shadow) or a part: 3"),
    "enlarged": ({"enlargement": 2.3}, "body enlarged 2.3 times"),
    "beyond_picture": ({"crop_side_px": 1500.0}, "crop of 1500 px in a picture 1080 px high"),
    "unsteady_crop": ({"crop_jitter": 0.01}, "crop jitters by 1.00 % of its side"),
    "small_mask": ({"mask_share": 0.03, "mask_share_min": 0.02}, "mask covers 3.0 % of the crop"),
    "large_mask": ({"mask_share": 0.5, "mask_share_min": 0.4}, "mask covers 50 % of the crop"),
    "shrunk_mask": ({"mask_share_min": 0.01}, "shrinks to 1.0 % of the crop from 9.0 %"),
    "flickering_mask": ({"mask_flicker": 0.2}, "mask changes by 20 % from frame to frame"),
    "cut_mask": ({"mask_cut_share": 0.1}, "touches the crop's border in 10 % of the frames"),
    "unrest": ({"surroundings_flow_px": 4.0}, "surroundings move 4.0 px per frame"),
    "other_rate": ({"frame_rate_hz": 25.0}, "25 frames per second, the cohort's median is 30"),
}


def test_a_good_video_has_no_flags() -> None:
    (video,) = judge([GOOD], size=224, margin=0.15)
    assert video.flags == [] and video.severity == 0


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_each_fault_has_its_flag_and_no_other(rule) -> None:
    changes, sentence = FAULTS[rule.name]
    bad = replace(GOOD, row=3, **changes)
    worst, *others = judge([GOOD, GOOD, bad], size=224, margin=0.15)
    assert worst.figures is bad
    assert [flag.name for flag in worst.flags] == [rule.name]
    assert sentence in worst.flags[0].sentence
    assert worst.severity == rule.severity in (1, 2, 3)
    assert not any(video.flags for video in others)


def test_a_video_without_a_mask_is_flagged_for_that_alone() -> None:
    empty = replace(GOOD, mask_share=0.0, mask_share_min=0.0, body_flow_px=float("nan"))
    (video,) = judge([empty], size=224, margin=0.15)
    assert [flag.name for flag in video.flags] == ["small_mask"]


def test_rounding_of_frame_rates_is_no_difference() -> None:
    videos = judge([GOOD, GOOD, replace(GOOD, frame_rate_hz=29.97)], size=224, margin=0.15)
    assert not any(video.flags for video in videos)


def test_the_worst_come_first_and_equals_by_row() -> None:
    worse = replace(GOOD, row=9, mask_share=0.5, mask_share_min=0.4, num_people=2)
    bad = replace(GOOD, row=5, num_people=3)
    videos = judge([replace(GOOD, row=4), bad, GOOD, worse], size=224, margin=0.15)
    assert [video.figures.row for video in videos] == [9, 5, 2, 4]
    assert [flag.severity for flag in videos[0].flags] == [3, 1]
    assert flag_counts(videos) == [
        ("large_mask", "Large mask", 3, 1),
        ("other_people", "Other people in the video", 1, 2),
    ]


def test_the_table_keeps_every_figure_flag_and_remark(tmp_path) -> None:
    videos = judge([GOOD, replace(GOOD, row=3, num_switches=2)], size=224, margin=0.15)
    quality_table(videos).to_parquet(tmp_path / "quality.parquet")
    table = pd.read_parquet(tmp_path / "quality.parquet")
    assert table["row"].tolist() == [3, 2] and table["severity"].tolist() == [1, 0]
    assert table["flags"].map(list).tolist() == [["switched"], []]
    assert list(table["remarks"][0]) == [
        "times that the patient's box held something else (a body, a shadow) or a part: 2"
    ]
    assert table["enlargement"].tolist() == [0.32, 0.32]
