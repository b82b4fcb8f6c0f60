"""What every segmenter must keep to, whatever it stands on."""

from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from torchvision.models.segmentation import lraspp_mobilenet_v3_large

from asd_experiments.config import SegmenterName
from asd_experiments.data.store_layout import Presence
from preprocess.crop import cut
from preprocess.decode import Video, probe
from preprocess.method import MethodError, WeightsSource
from preprocess.people.finder import Person
from preprocess.people.track import Track
from preprocess.segment import SEGMENTERS, segmenter_method
from tests.preprocess.films import film, walk, wall, write_video
from tests.preprocess.people.stand_ins import box_of
from tests.preprocess.truth import in_crop, intersection_over_union

SIZE = 64
NUM_FRAMES = 12
PERSON = 15  # of the classes of Pascal VOC


@pytest.fixture(scope="session")
def lraspp_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the right shapes that know nothing, but that most of a picture is a person."""
    torch.manual_seed(0)
    network = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None)
    with torch.no_grad():
        network.classifier.high_classifier.bias[PERSON] = 9
    path = tmp_path_factory.mktemp("weights") / "lraspp.pth"
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture(scope="session")
def walker(tmp_path_factory: pytest.TempPathFactory) -> tuple[Video, Track, list[np.ndarray]]:
    """A dark body on a textured wall, where it truly is, and its true masks."""
    masks = walk(120, 200, NUM_FRAMES)
    path = tmp_path_factory.mktemp("walk") / "walk.mp4"
    video = probe(write_video(path, film(masks, wall(120, 200))))
    boxes = np.stack([box_of(mask) for mask in masks]).astype(np.float32)
    presence = np.full(NUM_FRAMES, Presence.SEEN, np.uint8)
    return video, Track(np.arange(NUM_FRAMES), boxes, presence, 1, 0), masks


Segmented = tuple[Person, np.ndarray, np.ndarray, list[np.ndarray]]


@pytest.fixture
def segmented(
    walker: tuple[Video, Track, list[np.ndarray]], lraspp_file: Path
) -> Callable[[SegmenterName], Segmented]:
    """The person, crops, windows and true masks in the crops."""

    def segment(name: SegmenterName) -> Segmented:
        video, track, truth = walker
        method = segmenter_method(name)
        source = WeightsSource(lraspp_file if name == "torchvision" else None)
        person = method.build(method.load_weights(source))(video, track)
        centres = (track.boxes[:, :2] + track.boxes[:, 2:]) / 2
        windows = np.concatenate([centres - 60, centres + 60], axis=1).astype(np.float32)
        pairs = list(zip(video.pictures(), windows, strict=True))
        crops = np.stack([cut(picture, window, SIZE, 2) for picture, window in pairs])
        masks = [in_crop(mask, w, SIZE) for mask, w in zip(truth, windows, strict=True)]
        return person, crops, windows, masks

    return segment


def test_every_configured_segmenter_is_in_the_table() -> None:
    assert set(SEGMENTERS) == set(get_args(SegmenterName))


@pytest.mark.parametrize("name", SEGMENTERS)
def test_masks_are_of_the_crops_shape_and_near_the_box(
    name: SegmenterName, segmented: Callable[[SegmenterName], Segmented]
) -> None:
    person, crops, windows, truth = segmented(name)
    masks = person.masks(0, crops, windows)
    assert isinstance(person, Person)
    assert masks.dtype == np.uint8
    assert masks.shape == crops.shape[:3]
    assert set(np.unique(masks)) == {0, 1}
    for mask, true in zip(masks, truth, strict=True):
        assert mask.any()
        room = np.array([-8, -8, 8, 8])
        inside = (
            (box_of(mask) >= box_of(true) + room)[:2],
            (box_of(mask) <= box_of(true) + room)[2:],
        )
        assert np.all(inside)


@pytest.mark.parametrize("name", SEGMENTERS)
def test_same_crops_give_the_same_masks_however_they_come(
    name: SegmenterName, segmented: Callable[[SegmenterName], Segmented]
) -> None:
    person, crops, windows, _ = segmented(name)
    masks = person.masks(0, crops, windows)
    np.testing.assert_array_equal(person.masks(0, crops, windows), masks)
    np.testing.assert_array_equal(person.masks(5, crops[5:7], windows[5:7]), masks[5:7])


@pytest.mark.parametrize("name", [name for name in SEGMENTERS if name != "torchvision"])
def test_a_plain_body_is_segmented(
    name: SegmenterName, segmented: Callable[[SegmenterName], Segmented]
) -> None:
    person, crops, windows, truth = segmented(name)
    masks = person.masks(0, crops, windows)
    overlaps = [intersection_over_union(*pair) for pair in zip(masks, truth, strict=True)]
    print(f"{name}: mask IoU mean {np.mean(overlaps):.3f}, min {min(overlaps):.3f}")
    assert min(overlaps) > 0.85


@pytest.mark.parametrize("name", SEGMENTERS)
def test_weights_and_segmenter_must_fit(name: SegmenterName) -> None:
    method = segmenter_method(name)
    if name == "torchvision":
        with pytest.raises(MethodError, match="segment=torchvision needs its weights"):
            method.build(None)
    else:
        with pytest.raises(MethodError, match=f"segment={name} has no weights; leave segment_wei"):
            method.load_weights(WeightsSource(Path("file")))
        with pytest.raises(MethodError, match=f"segment={name} has no weights, but the store"):
            method.build(b"weights")
