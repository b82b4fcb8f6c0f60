"""The cohort on disk: labels, videos, truth, and independence of the nuisances."""

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest

from asd_experiments.config import SimulateConfig
from asd_experiments.simulation.cohort import draw_cohort, plan_videos, prepare_walk, simulate
from asd_experiments.simulation.gallery import contact_sheet

CONFIG = SimulateConfig(out="unused", patients=4, seconds=0.6, height=96, seed=7, truth=True)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cohort") / "new"
    return simulate(replace(CONFIG, out=str(out)))


def test_labels_list_every_video(cohort: Path) -> None:
    labels = pd.read_csv(cohort)
    assert list(labels.columns) == ["video", "patient_id", "label", "view", "height_px"]
    assert len(labels) == 8
    assert sorted(cohort.parent.glob("videos/*")) == sorted(cohort.parent / v for v in labels.video)
    assert labels.groupby("patient_id").label.nunique().eq(1).all()
    assert labels.groupby("patient_id")["view"].nunique().eq(2).all()
    assert labels.drop_duplicates("patient_id").label.value_counts().to_dict() == {
        "ASD": 2,
        "non_ASD": 2,
    }


def test_videos_have_the_promised_format(cohort: Path) -> None:
    for path in cohort.parent.glob("videos/*.mp4"):
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            assert stream.codec_context.name == "h264"
            assert stream.codec_context.pix_fmt == "yuv420p"
            assert stream.average_rate == 25
            assert (stream.height, stream.width) == (96, 170)
            assert sum(1 for _ in container.decode(stream)) == 15


def test_truth_lies_beside_the_video_and_matches_it(cohort: Path) -> None:
    videos = pd.read_csv(cohort).video
    assert len(videos) == 8
    for video in videos:
        with np.load(cohort.parent / "truth" / f"{Path(video).stem}.npz") as truth:
            mask, box, flow = truth["mask"], truth["box"], truth["flow"]
        assert (mask.shape, mask.dtype) == ((15, 96, 170), np.bool_)
        assert (box.shape, box.dtype) == ((15, 4), np.float32)
        assert (flow.shape, flow.dtype) == ((14, 96, 170, 2), np.float16)
        assert mask.any(axis=(1, 2)).all()
        assert np.abs(flow[mask[:-1]]).max() > 0.5
        assert np.all(flow[~mask[:-1]] == 0)


def test_walkers_file_holds_the_severities(cohort: Path) -> None:
    walkers = pd.read_csv(cohort.parent / "walkers.csv")
    drawn = draw_cohort(CONFIG)
    np.testing.assert_allclose(
        walkers[["posture_severity", "movement_severity"]],
        [walker.severity for walker in drawn],
        atol=1e-4,
    )


def test_truth_is_only_written_when_asked_for(tmp_path: Path) -> None:
    config = replace(CONFIG, out=str(tmp_path), patients=2, videos_per_patient=1, truth=False)
    simulate(config)
    assert {path.name for path in tmp_path.iterdir()} == {"videos", "labels.csv", "walkers.csv"}


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(ValueError, match="out must be a new or empty folder"):
        simulate(replace(CONFIG, out=str(tmp_path)))
    with pytest.raises(ValueError, match="out must be a new or empty folder"):
        simulate(replace(CONFIG, out=str(tmp_path / "mine.txt")))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(("patients", "asd"), [(2, 1), (5, 2), (24, 12)])
def test_half_of_the_patients_have_asd(patients: int, asd: int) -> None:
    for seed in range(3):
        walkers = draw_cohort(replace(CONFIG, patients=patients, seed=seed))
        assert sum(walker.label == "ASD" for walker in walkers) == asd


def test_the_place_of_a_patient_does_not_tell_the_label() -> None:
    first = [draw_cohort(replace(CONFIG, seed=seed))[0].label for seed in range(30)]
    assert 5 < first.count("ASD") < 25


def test_more_videos_leave_the_others_alone() -> None:
    few, many = CONFIG, replace(CONFIG, videos_per_patient=3)
    assert draw_cohort(few) == draw_cohort(many)
    walker = draw_cohort(few)[1]
    one, two = (
        prepare_walk(config, walker, next(v for v in plan_videos(config) if v.patient == 1))
        for config in (few, many)
    )
    assert (one.start_m, one.start_phase, one.light) == (two.start_m, two.start_phase, two.light)
    np.testing.assert_array_equal(one.cycle.joints, two.cycle.joints)


def test_nuisances_do_not_depend_on_the_effect() -> None:
    plain, strong = (replace(CONFIG, effect=effect) for effect in (0.0, 2.0))
    videos = plan_videos(plain)
    assert videos == plan_videos(strong)
    for video in videos:
        one, two = (
            prepare_walk(config, draw_cohort(config)[video.patient], video)
            for config in (plain, strong)
        )
        assert (one.camera, one.light) == (two.camera, two.light)
        np.testing.assert_array_equal(one.room, two.room)
        for first, second in zip(one.figure, two.figure, strict=True):
            assert first.colour == second.colour
            np.testing.assert_array_equal(first.outline, second.outline)


def test_contact_sheet_is_written(tmp_path: Path) -> None:
    sheet = contact_sheet(CONFIG, tmp_path / "sheet.png", num_walkers=1)
    assert sheet.stat().st_size > 10_000
