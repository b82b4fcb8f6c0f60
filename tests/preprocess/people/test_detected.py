import errno
import os
import pickle
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from asd_experiments.data.store_layout import Presence
from preprocess.decode import probe
from preprocess.method import MethodError
from preprocess.people.detected import (
    Body,
    DetectedPerson,
    find_detected_person,
    scale_to_edges,
    silhouette_in,
)
from preprocess.people.track import PersonNotFoundError, Track
from preprocess.scratch import ScratchError
from tests.preprocess.films import write_video
from tests.preprocess.people.stand_ins import overlaps_in_crops, write_walk

FULL = np.full((80, 40), 255, np.uint8)


class DarkBodies:
    """Sees everything that is dark; remembers the size of the pictures it was given."""

    batch_size = 5

    def __init__(self, height: int, *, masks: bool = True) -> None:
        self._height = height
        self._masks = masks
        self.sizes: set[tuple[int, ...]] = set()
        self.batches: list[int] = []

    def scale(self, height: int, width: int) -> float:
        return self._height / height

    def __call__(self, pictures: np.ndarray) -> list[list[Body]]:
        self.sizes.add(pictures.shape[1:3])
        self.batches.append(len(pictures))
        return [self._bodies(picture) for picture in pictures]

    def _bodies(self, picture: np.ndarray) -> list[Body]:
        dark = picture.mean(axis=2) < 70
        rows, columns = np.flatnonzero(dark.any(axis=1)), np.flatnonzero(dark.any(axis=0))
        box = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
        inside = dark[box[1] : box[3], box[0] : box[2]].astype(np.uint8) * 255
        return [Body(box.astype(np.float32), 0.9, inside if self._masks else None)]


def track_of(boxes: np.ndarray, presence: list[Presence]) -> Track:
    frames = np.arange(len(boxes))
    return Track(frames, boxes.astype(np.float32), np.array(presence, np.uint8), 1, 0)


def blank(num: int, size: int) -> np.ndarray:
    return np.zeros((num, size, size, 3), np.uint8)


def test_a_silhouette_arrives_where_its_box_is() -> None:
    """A box of 20 x 40 px at (10, 30); the window starts at (-10, 10) and is shown at half size."""
    window, box = np.array([-10, 10, 90, 110], np.float32), np.array([10, 30, 30, 70], np.float32)
    mask = silhouette_in(window, 50, FULL, box)
    assert set(np.unique(mask)) == {0, 1}
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    assert (columns[0], columns[-1], rows[0], rows[-1]) == (10, 19, 10, 29)
    assert mask.sum() == 200


def test_a_silhouette_is_read_between_its_cells() -> None:
    """Only the left half of the grid is body: the outline runs through the middle of the box."""
    grid = np.zeros((28, 28), np.uint8)
    grid[:, :14] = 255
    box = np.array([7.3, 5, 63.3, 61], np.float32)
    mask = silhouette_in(np.array([0, 0, 64, 64], np.float32), 640, grid, box)
    assert np.flatnonzero(mask.any(axis=0))[-1] == pytest.approx(10 * 35.3, abs=1)


@pytest.mark.parametrize(("at_hand", "network", "given"), [(240, 240, 240), (120, 96, 120)])
def test_pictures_at_hand_are_taken_when_they_are_fine_enough(
    tmp_path: Path, at_hand: int, network: int, given: int
) -> None:
    masks = write_walk(tmp_path / "a.mp4", 240, 400)
    video = probe(tmp_path / "a.mp4", least_height=at_hand)
    detector = DarkBodies(network)
    overlaps = overlaps_in_crops(find_detected_person(video, detector), video, masks)
    assert {height for height, _ in detector.sizes} == {given}
    assert detector.batches == [5, 5, 5, 5, 4]
    assert len(overlaps) == len(masks)
    assert min(overlaps) > 0.9


def test_pictures_are_decoded_again_when_they_are_too_coarse(tmp_path: Path) -> None:
    masks = write_walk(tmp_path / "a.mp4", 240, 400)
    video = probe(tmp_path / "a.mp4", least_height=60)
    assert video.shrink == 4
    detector = DarkBodies(120)
    person = find_detected_person(video, detector)
    assert detector.sizes == {(120, 200)}
    assert min(overlaps_in_crops(person, video, masks)) > 0.9


def test_silhouettes_move_with_the_box_through_a_gap() -> None:
    """The nearest frame's silhouette is used: left half before the gap, right half after it."""
    left, right = (np.repeat([half], 4, axis=0).astype(np.uint8) for half in ([255, 0], [0, 255]))
    boxes = np.array([[x, 10, x + 20, 50] for x in (10, 20, 30, 40, 50)])
    bodies = [[Body(boxes[0].astype(np.float32), 1, left)], [], [], []]
    bodies.append([Body(boxes[4].astype(np.float32), 1, right)])
    seen, bridged = Presence.SEEN, Presence.BRIDGED
    person = DetectedPerson(track_of(boxes, [seen, bridged, bridged, bridged, seen]), bodies)
    windows = np.tile(np.array([0, 0, 100, 100], np.float32), (5, 1))
    masks = person.masks(0, blank(5, 100), windows)
    starts = [int(np.flatnonzero(mask.any(axis=0))[0]) for mask in masks]
    assert starts[:2] == [10, 20]
    assert starts[3:] == [50, 60]
    np.testing.assert_array_equal(person.masks(1, blank(2, 100), windows[:2]), masks[1:3])


def test_only_the_patients_silhouettes_are_kept() -> None:
    """Somebody else stands in the same frames, and comes first in the list."""
    boxes = np.array([[10 + 3 * n, 10, 30 + 3 * n, 50] for n in range(4)])
    other = Body(np.array([60, 10, 90, 50], np.float32), 1, np.zeros((4, 2), np.uint8))
    bodies = [[other, Body(box.astype(np.float32), 0.6, FULL)] for box in boxes]
    person = DetectedPerson(track_of(boxes, [Presence.SEEN] * 4), bodies)
    windows = np.tile(np.array([0, 0, 100, 100], np.float32), (4, 1))
    assert person.masks(0, blank(4, 100), windows).sum(axis=(1, 2)).tolist() == [800] * 4


def test_a_body_far_from_the_tracks_box_is_not_the_patient() -> None:
    boxes = np.array([[10, 10, 30, 50], [13, 10, 33, 50]])
    stranger = Body(np.array([60, 10, 90, 50], np.float32), 1, np.zeros((4, 2), np.uint8))
    bodies = [[Body(boxes[0].astype(np.float32), 1, FULL)], [stranger]]
    person = DetectedPerson(track_of(boxes, [Presence.SEEN] * 2), bodies)
    windows = np.tile(np.array([0, 0, 100, 100], np.float32), (2, 1))
    assert person.masks(0, blank(2, 100), windows).any(axis=(1, 2)).all()


def test_a_body_seen_in_pieces_only_has_no_silhouette() -> None:
    """Where somebody else draws the silhouette, the track is all that is needed."""
    bodies = [[Body(np.array([60, 10, 90, 50], np.float32), 1, FULL)]] * 3
    boxes = np.array([[10 + 3 * n, 10, 30 + 3 * n, 50] for n in range(3)])
    person = DetectedPerson(track_of(boxes, [Presence.SEEN] * 3), bodies)
    assert len(person.track.frames) == 3
    with pytest.raises(PersonNotFoundError, match="in pieces only, never as one body"):
        person.masks(0, blank(1, 32), np.array([[0, 0, 90, 90]], np.float32))


class Crowd:
    """Ten people with silhouettes of 16 kB each; the first of them walks."""

    batch_size = 1

    def __init__(self) -> None:
        self._number = 0

    def scale(self, height: int, width: int) -> float:
        return 1.0

    def __call__(self, pictures: np.ndarray) -> list[list[Body]]:
        self._number += 1
        corners = np.array([[10 + 18 * n, 10] for n in range(10)], np.float32)
        corners[0] += [0.2 * self._number, 60]
        boxes = np.tile(corners, 2) + np.array([0, 0, 12, 40], np.float32)
        return [[Body(box, 0.9, np.full((128, 128), 255, np.uint8)) for box in boxes]]


def test_memory_does_not_grow_with_the_crowd(tmp_path: Path) -> None:
    """All silhouettes are 66 MB, the patient's alone 7 MB."""
    video = probe(write_video(tmp_path / "a.mp4", [np.zeros((120, 200, 3), np.uint8)] * 400))
    tracemalloc.start()
    person = find_detected_person(video, Crowd())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    print(f"peak {peak / 1e6:.1f} MB")
    assert person.track.boxes[-1, 1] == 70
    assert peak < 40e6


def test_a_full_disk_is_not_mistaken_for_a_bad_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write_walk(tmp_path / "a.mp4", 120, 200)
    video = probe(tmp_path / "a.mp4")
    monkeypatch.setattr(pickle, "dump", full)
    with pytest.raises(ScratchError, match=r"silhouettes cannot be kept .*: No space left"):
        find_detected_person(video, DarkBodies(120))


def test_no_silhouettes_are_said_to_be_missing(tmp_path: Path) -> None:
    write_walk(tmp_path / "a.mp4", 120, 200)
    person = find_detected_person(probe(tmp_path / "a.mp4"), DarkBodies(120, masks=False))
    assert len(person.track.frames) == 24
    with pytest.raises(MethodError, match="finds no masks; choose a segmenter"):
        person.masks(0, blank(1, 32), np.array([[0, 0, 90, 90]], np.float32))


@pytest.mark.parametrize(
    "change", [{"score": 0.49}, {"box": np.array([0, 120, 200, 120], np.float32)}]
)
def test_unsure_bodies_and_lines_are_nobody(tmp_path: Path, change: dict[str, object]) -> None:
    class Changed(DarkBodies):
        def _bodies(self, picture: np.ndarray) -> list[Body]:
            return [body._replace(**change) for body in super()._bodies(picture)]

    write_walk(tmp_path / "a.mp4", 120, 200)
    with pytest.raises(PersonNotFoundError, match="no person found"):
        find_detected_person(probe(tmp_path / "a.mp4"), Changed(120))


def test_nobody_is_refused(tmp_path: Path) -> None:
    class Nobody(DarkBodies):
        def _bodies(self, picture: np.ndarray) -> list[Body]:
            return []

    write_walk(tmp_path / "a.mp4", 120, 200)
    with pytest.raises(PersonNotFoundError, match="no person found"):
        find_detected_person(probe(tmp_path / "a.mp4"), Nobody(120))


def test_pictures_that_could_not_be_kept_are_decoded(tmp_path: Path) -> None:
    masks = write_walk(tmp_path / "a.mp4", 120, 200)
    video = replace(probe(tmp_path / "a.mp4"), kept=None)
    overlaps = overlaps_in_crops(find_detected_person(video, DarkBodies(120)), video, masks)
    assert min(overlaps) > 0.9


def test_the_shorter_side_is_scaled_until_the_longer_is_too_long() -> None:
    assert scale_to_edges(400, 500, shortest=800, longest=1333) == 2
    assert scale_to_edges(1080, 1920, shortest=800, longest=1333) == pytest.approx(1333 / 1920)
    assert scale_to_edges(1920, 1080, shortest=800, longest=1333) == pytest.approx(1333 / 1920)
