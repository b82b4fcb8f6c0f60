"""Frames and their truth: masks, boxes and flow agree with each other and with the picture."""

from dataclasses import replace

import numpy as np
import pytest

from asd_experiments.config import SimulateConfig
from asd_experiments.simulation.cohort import draw_cohort, plan_videos, prepare_walk
from asd_experiments.simulation.film import (
    Walk,
    carry,
    draw_scene,
    film,
    part_map,
    true_flows,
    true_masks,
)
from asd_experiments.simulation.gait import Part
from asd_experiments.simulation.room import Light

CONFIG = SimulateConfig(out="unused", patients=4, seconds=1.0, seed=5)


def stage(index: int, config: SimulateConfig = CONFIG) -> Walk:
    video = plan_videos(config)[index]
    return prepare_walk(config, draw_cohort(config)[video.patient], video)


@pytest.fixture(params=[0, 1], ids=["one_way", "other_way"])
def walk(request: pytest.FixtureRequest) -> Walk:
    return replace(stage(request.param), num_frames=6)


def grown(mask: np.ndarray) -> np.ndarray:
    """The mask and the pixels around it."""
    shifts = [(down, across) for down in (-1, 0, 1) for across in (-1, 0, 1)]
    return np.any([np.roll(mask, shift, axis=(0, 1)) for shift in shifts], axis=0)


def test_same_seed_same_frames() -> None:
    one, two = (replace(stage(2), num_frames=3) for _ in range(2))
    for first, second in zip(film(one), film(two), strict=True):
        np.testing.assert_array_equal(first, second)
    other = stage(2, replace(CONFIG, seed=6))
    assert not np.array_equal(next(film(one)), next(film(other)))


def test_a_longer_video_begins_alike() -> None:
    walk = stage(0)
    short = list(film(replace(walk, num_frames=2)))
    for first, second in zip(short, film(replace(walk, num_frames=4)), strict=False):
        np.testing.assert_array_equal(first, second)


def test_the_mask_is_where_the_picture_differs_from_the_room(walk: Walk) -> None:
    truth = next(true_masks(walk))
    pose = walk.pose(0)
    change = np.abs(draw_scene(walk, pose) - walk.room).max(axis=2)
    shadow_free = int(walk.camera.floor_px - 0.12 * walk.camera.scale_px_m)
    beyond = ~grown(truth.mask)[:shadow_free]
    assert change[:shadow_free][beyond].max() == 0
    assert np.mean(change[truth.mask] > 0) > 0.97


def test_box_bounds_the_mask(walk: Walk) -> None:
    for truth in true_masks(walk):
        x0, y0, x1, y1 = truth.box.astype(int)
        assert truth.mask[y0:y1, x0:x1].sum() == truth.mask.sum() > 500
        for edge in (y0, y1 - 1):
            assert truth.mask[edge].any()
        for edge in (x0, x1 - 1):
            assert truth.mask[:, edge].any()
        assert 0.40 < (y1 - y0) / walk.camera.height < 0.65


def test_flow_carries_the_mask_into_the_next_one(walk: Walk) -> None:
    masks = [truth.mask for truth in true_masks(walk)]
    flows = list(true_flows(walk))
    assert len(flows) == len(masks) - 1
    for flow, now, then in zip(flows, masks[:-1], masks[1:], strict=True):
        assert np.all(flow[~now] == 0)
        rows, columns = np.nonzero(now)
        x = np.rint(columns + flow[now, 0].astype(float)).astype(int)
        y = np.rint(rows + flow[now, 1].astype(float)).astype(int)
        assert np.mean(then[y, x]) > 0.97
        assert grown(then)[y, x].all()


def test_flow_points_the_way_of_walking(walk: Walk) -> None:
    side = 1.0 if walk.camera.view == "left_to_right" else -1.0
    speed_px = walk.cycle.stride_m / walk.cycle.period_s * walk.camera.scale_px_m / 25
    mask, flow = next(true_masks(walk)).mask, next(true_flows(walk))
    trunk = np.isin(part_map(walk, walk.pose(0)), [Part.THORAX, Part.ABDOMEN])
    assert mask[trunk].all()
    assert float(np.median(flow[trunk, 0])) * side == pytest.approx(speed_px, rel=0.25)


def test_carried_points_keep_their_distances(walk: Walk) -> None:
    now, then = walk.pose(0), walk.pose(3)
    points = np.random.default_rng(0).uniform(0, 200, (12, 2))
    for part in (Part.NEAR_SHANK, Part.HEAD):
        parts = np.full(len(points), int(part))
        moved = carry(walk.camera, points, parts, now, then)
        before = np.linalg.norm(points[:, None] - points[None], axis=-1)
        after = np.linalg.norm(moved[:, None] - moved[None], axis=-1)
        np.testing.assert_allclose(after, before, atol=1e-9)
        joint = walk.camera.to_pixels(now.joint[part][None])
        arrived = carry(walk.camera, joint, parts[:1], now, then)
        np.testing.assert_allclose(arrived, walk.camera.to_pixels(then.joint[part][None]))


def test_background_stands_still_without_noise() -> None:
    quiet = Light(gain=1.0, drift=0.0, drift_period_s=5.0, noise=0.0)
    walk = replace(stage(0), light=quiet, num_frames=5)
    frames = np.array(list(film(walk)))
    masks = np.array([truth.mask for truth in true_masks(walk)])
    free = ~grown(masks.any(axis=0))
    free[int(walk.camera.floor_px - 0.12 * walk.camera.scale_px_m) :] = False
    assert np.ptp(frames[:, free].astype(int), axis=0).max() == 0


def test_the_walker_is_inside_the_picture_nearly_always() -> None:
    config = SimulateConfig(out="unused", patients=12, seconds=3.0)
    walkers = draw_cohort(config)
    inside = []
    for video in plan_videos(config):
        walk = prepare_walk(config, walkers[video.patient], video)
        for frame in range(0, walk.num_frames, 4):
            pose = walk.pose(frame)
            x = walk.camera.to_pixels(pose.joint)[:, 0]
            inside.append(x.min() > 0 and x.max() < walk.camera.width - 1)
    assert np.mean(inside) > 0.95


def test_a_long_video_shows_the_walker_again_and_again() -> None:
    walk = stage(0, replace(CONFIG, seconds=40.0))
    seen = [
        np.isfinite(truth.box).all()
        for truth in true_masks(replace(walk, frame_rate_hz=2, num_frames=80))
    ]
    assert np.mean(seen) > 0.8
    assert any(seen[-20:])


def test_nobody_in_the_picture_has_no_box() -> None:
    walk = replace(stage(0), start_m=0.0, start_phase=0.0, num_frames=1)
    walk = replace(walk, camera=replace(walk.camera, floor_px=-50.0))
    truth = next(true_masks(walk))
    assert not truth.mask.any()
    assert np.isnan(truth.box).all()


@pytest.mark.parametrize("height", [96, 360, 1080])
def test_the_body_scales_with_the_picture(height: int) -> None:
    walk = replace(stage(0, replace(CONFIG, height=height)), num_frames=1)
    _, y0, _, y1 = next(true_masks(walk)).box
    reference = next(true_masks(stage(0))).box
    assert (y1 - y0) / height == pytest.approx((reference[3] - reference[1]) / 240, rel=0.05)
    assert next(film(walk)).shape == (height, height * 16 // 9 // 2 * 2, 3)
