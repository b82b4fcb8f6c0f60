"""Figures against stores whose content is known, and flags against figures."""

from collections.abc import Callable, Iterator
from dataclasses import fields, replace

import numpy as np
import pytest
import zarr

from asd_experiments.data.store import ClipStore
from asd_experiments.data.store_layout import PreparedFrame, VideoFacts, video_key
from asd_experiments.data.store_writer import StoreWriter
from preprocess.crop import cut
from preprocess.quality import (
    Figures,
    crop_jitter,
    describe,
    mask_flicker,
    quality_figures,
    source_frames,
    window_flow,
)
from tests.conftest import facts_of, presence_of

SIZE = 32


def store_of(facts: VideoFacts, frames: Iterator[PreparedFrame]) -> ClipStore:
    memory = zarr.storage.MemoryStore()
    writer = StoreWriter(memory, {"size": SIZE, "margin": 0.15}, {"opencv": "test"})
    writer.write(facts, presence_of(facts), frames)
    row = {"video": "v.mp4", "patient_id": "P", "label": "ASD"}
    writer.finish([{**row, "key": video_key(facts.source_sha256)}], [])
    return ClipStore(memory)


def frames_of(
    num_frames: int,
    *,
    body_flow: float = 0.0,
    camera_flow: float = 0.0,
    step_px: float = 0.0,
    tall: Callable[[int], int] = lambda _: 16,
) -> Iterator[PreparedFrame]:
    """A bar of 8 pixels in crops of 64 source pixels that move `step_px` a frame."""
    for number in range(num_frames):
        mask = np.zeros((SIZE, SIZE), np.uint8)
        mask[8 : 8 + tall(number), 12:20] = 1
        flow = np.zeros((SIZE, SIZE, 2), np.float32)
        flow[..., 0] = camera_flow - step_px * SIZE / 64
        flow[mask == 1] = (body_flow, 0)
        left = 10 + number * step_px
        window = np.array([left, 0, left + 64, 64], np.float32)
        yield PreparedFrame(
            np.zeros((SIZE, SIZE, 3), np.uint8), mask, flow if number else None, window
        )


def figures_of(store: ClipStore, row: int = 7) -> Figures:
    (figures,) = quality_figures(store, [row])
    return figures


def test_figures_are_those_of_the_stored_frames() -> None:
    frames = frames_of(40, body_flow=3.0, step_px=4.0, tall=lambda n: 8 if n == 20 else 16)
    found = figures_of(store_of(facts_of(1, 40), frames))
    assert (found.row, found.label, found.num_frames, found.num_stretches) == (7, "ASD", 40, 1)
    assert found.duration_seconds == 2.0 and found.longest_seconds == 1.6
    assert (found.crop_side_px, found.enlargement) == (64, 0.5)
    assert found.crop_jitter == pytest.approx(0)
    assert found.mask_share == 8 * 16 / SIZE**2 and found.mask_share_min == 8 * 8 / SIZE**2
    assert found.mask_flicker == pytest.approx(2 * 0.5 / 39)
    assert found.mask_cut_share == 0
    assert found.body_flow_px == pytest.approx(3.0)


def test_surroundings_that_the_crop_passes_by_are_at_rest_and_a_moving_camera_is_not() -> None:
    still = figures_of(store_of(facts_of(1, 20), frames_of(20, step_px=6.0)))
    moved = figures_of(store_of(facts_of(1, 20), frames_of(20, step_px=6.0, camera_flow=1.5)))
    assert still.surroundings_flow_px == pytest.approx(0, abs=0.01)
    assert moved.surroundings_flow_px == pytest.approx(1.5, abs=0.01)


def test_a_camera_that_pans_with_the_walker_moves_the_surroundings() -> None:
    found = figures_of(store_of(facts_of(1, 20), frames_of(20, camera_flow=-2.0)))
    assert found.surroundings_flow_px == pytest.approx(2.0)


def test_a_plain_wall_without_flow_counts_as_at_rest() -> None:
    frames = frames_of(20, step_px=6.0, camera_flow=3.0)  # no flow although the crop moves
    assert figures_of(store_of(facts_of(1, 20), frames)).surroundings_flow_px == 0


def test_stretches_are_measured_each_on_its_own() -> None:
    facts = replace(facts_of(1, 30), stretches=[[2, 12], [16, 18]])

    def frames() -> Iterator[PreparedFrame]:
        yield from frames_of(12, body_flow=2.0)
        for frame in frames_of(18, body_flow=2.0, tall=lambda _: 24):
            zero = np.zeros((SIZE, SIZE, 2), np.float32)
            yield frame._replace(
                window=frame.window + 300, flow=zero if frame.flow is None else frame.flow
            )

    store = store_of(facts, frames())
    found = figures_of(store)
    assert (found.num_stretches, found.longest_seconds) == (2, 18 / 25)
    assert found.crop_jitter == 0 and found.mask_flicker == 0
    assert found.body_flow_px == pytest.approx(2.0)
    numbers = source_frames(store.videos.iloc[0].to_dict())
    assert numbers.tolist() == [*range(2, 14), *range(16, 34)]


def test_mask_at_the_border_is_cut_off_and_without_a_mask_no_body_moves() -> None:
    cut_off = figures_of(
        store_of(facts_of(1, 20), frames_of(20, tall=lambda n: 24 if n < 5 else 9))
    )
    assert cut_off.mask_cut_share == 0.25
    empty = figures_of(store_of(facts_of(1, 20), frames_of(20, tall=lambda _: 0)))
    assert empty.mask_share == 0 and np.isnan(empty.body_flow_px)


def test_jitter_is_the_second_difference_as_a_share_of_the_side() -> None:
    left = np.array([0, 1, 0, 1, 0], float)  # second differences of 2 in x
    windows = np.stack([left, 0 * left, left + 50, 0 * left + 50], axis=1).astype(np.float32)
    assert crop_jitter(windows, [slice(0, 5)]) == pytest.approx(2 / 50)
    assert crop_jitter(windows, [slice(0, 2), slice(2, 4)]) == 0


def test_flicker_knows_an_empty_mask() -> None:
    area = np.array([0.1, 0.2, 0.0, 0.0])
    assert mask_flicker(area, [slice(0, 4)]) == pytest.approx((0.5 + 1 + 0) / 3)
    assert mask_flicker(area, [slice(0, 1)]) == 0


def test_window_flow_is_where_a_resting_point_goes() -> None:
    """Cut a ramp of coordinates twice: equal values are the same point."""
    x, y = np.meshgrid(np.arange(200) + 0.5, np.arange(160) + 0.5)
    scene = np.stack([x, y], axis=2).astype(np.float32)
    windows = np.array([[40, 30, 104, 94], [47, 26, 117, 96]], np.float32)
    now, later = (cut(scene, window, SIZE) for window in windows)
    (flow,) = window_flow(windows, SIZE)
    scale = (windows[1, 2] - windows[1, 0]) / SIZE
    np.testing.assert_allclose(flow, (now - later) / scale, atol=1e-3)
    np.testing.assert_array_equal(window_flow(windows, SIZE, step=2)[0], flow[::2, ::2])


def test_every_column_is_described() -> None:
    for field in fields(Figures):
        assert describe(field.name).endswith("."), field.name
