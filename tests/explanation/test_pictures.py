from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from asd_experiments.data.store import StoredFrames
from asd_experiments.evaluation.figures.style import figure_to_array
from asd_experiments.explanation.pictures import (
    SLOW_MOTION,
    ExplainedClip,
    contact_sheet,
    write_saliency_film,
)
from asd_experiments.explanation.saliency import MapName

SIDE = 224
NAMES = [
    MapName("appearance", "grad_cam"),
    MapName("appearance", "integrated_gradients"),
    MapName("motion", "grad_cam"),
]


def explained(*, segmentation=False, names=NAMES, num_frames=6):
    """White pictures; the body is in the middle and moves right; maps are high in a corner."""
    mask = np.zeros((num_frames, 32, 32), np.uint8)
    mask[:, 8:24, 12:20] = 1
    flow = np.zeros((num_frames - 1, 32, 32, 2), np.float32)
    flow[..., 0] = 2.0
    frames = StoredFrames(np.full((num_frames, 32, 32, 3), 255, np.uint8), mask, flow)
    values = np.zeros((8, 16, 16), np.float32)
    values[:, :4, :4] = 3.0
    return ExplainedClip(
        patient_id="P07",
        seconds=1.5,
        frame_rate_hz=25.0,
        label="ASD",
        decision="non_ASD",
        probability=0.83,
        frames=frames,
        segmentation=segmentation,
        maps=dict.fromkeys(names, values),
    )


def test_pictures_stand_beside_the_stream_that_they_explain():
    clip = explained()
    assert clip.titles == [
        "appearance",
        "appearance, Grad-CAM",
        "appearance, integrated gradients",
        "motion",
        "motion, Grad-CAM",
    ]
    picture = clip.picture(2)
    assert picture.shape == (SIDE, 5 * SIDE, 3)


def test_a_map_is_bright_where_it_is_high_and_leaves_the_picture_elsewhere():
    heat = explained().picture(0)[:, SIDE : 2 * SIDE].astype(int)
    high, low = heat[10:40, 10:40], heat[100:, 5:60]
    assert high.mean(axis=(0, 1)).argmin() == 2 and high[..., 0].min() > 200  # yellow
    assert np.ptp(low, axis=2).max() == 0 and 100 < low.mean() < 160  # grey, dimmed
    outline = heat[56:168, 80:88]
    assert ((outline[..., 2] - outline[..., 0]) > 100).any()  # blue


@pytest.mark.parametrize("faces", [False, True])
def test_no_picture_shows_a_face_unless_it_is_asked_for(faces):
    """Of a chess board nothing is left but its mean grey."""
    clip = explained()
    board = (np.indices((32, 32)).sum(axis=0) % 2 * 255).astype(np.uint8)
    clip.frames.rgb[:] = board[..., None]
    clip = replace(clip, faces=faces, maps=dict.fromkeys(NAMES, np.zeros((8, 16, 16), np.float32)))
    for column in (0, 1, 2):  # the stream and its maps
        picture = clip.picture(2)[:, column * SIDE : (column + 1) * SIDE].astype(int)
        upper, lower = picture[3:50, :60], picture[130:, :60]
        assert (np.ptp(upper) > 100) == faces and np.ptp(lower) > 100


def test_a_map_of_zeros_shows_the_picture_alone():
    clip = explained()
    clip.maps[NAMES[0]] = np.zeros((8, 16, 16), np.float32)
    heat = clip.picture(0)[:, SIDE : 2 * SIDE].astype(int)
    assert np.ptp(heat[:50], axis=2).max() == 0


@pytest.mark.parametrize("segmentation", [False, True])
def test_streams_are_shown_as_the_network_sees_them(segmentation):
    picture = explained(segmentation=segmentation).picture(5)  # the last flow is shown again
    appearance, motion = picture[:, :SIDE], picture[:, 3 * SIDE : 4 * SIDE]
    for shown in (appearance, motion):
        body, background = shown[100:120, 100:120], shown[5:30, 5:30]
        assert body.max() > 200
        assert (background.max() == 0) == segmentation


def test_one_network_of_both_streams_comes_last():
    names = [
        MapName("joint", "grad_cam"),
        MapName("motion", "integrated_gradients"),
        MapName("appearance", "integrated_gradients"),
    ]
    assert explained(names=names).titles == [
        "appearance",
        "appearance, integrated gradients",
        "motion",
        "motion, integrated gradients",
        "both streams, Grad-CAM",
    ]


def test_the_caption_says_class_probability_and_truth():
    assert explained().caption == (
        "P07, from 1.50 s: decided non_ASD (probability in this clip 0.83), truth ASD: wrong"
    )


def test_the_film_is_slow_and_has_every_stored_frame(tmp_path: Path):
    path = tmp_path / "film.mp4"
    write_saliency_film(explained(), path)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        assert float(stream.average_rate) == pytest.approx(25 / SLOW_MOTION)
    assert len(pictures) == 6 and pictures[0].shape[1] == 5 * SIDE
    headline = pictures[0][:-SIDE].astype(int)
    assert headline.max() > 240 and headline.min() < 60  # black on white


def test_the_sheet_grows_with_the_clips():
    one, three = (figure_to_array(contact_sheet([explained()] * n)) for n in (1, 3))
    assert one.shape[1] == three.shape[1]
    assert three.shape[0] > 2.5 * (one.shape[0] - 100)
    texts = [axes.get_title(loc="left") for axes in contact_sheet([explained()]).axes]
    assert explained().caption in texts
