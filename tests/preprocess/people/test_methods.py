"""What every person finder must keep to, whatever it stands on."""

import re
import sys
import tomllib
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from asd_experiments.config import FINDERS_WITHOUT_MASKS, PersonFinderName
from preprocess.crop import cut
from preprocess.decode import Video, probe
from preprocess.method import MethodError, WeightsSource
from preprocess.people import PERSON_FINDERS, person_finder_method
from preprocess.people.detected import find_detected_person
from preprocess.people.finder import Person, PersonFinder
from tests.preprocess.films import write_video
from tests.preprocess.people.stand_ins import dark_detectron2, dark_torchvision, write_walk

SIZE = 48
NUM_FRAMES = 16
NAMES = [
    pytest.param(name, marks=pytest.mark.detectron2) if name == "detectron2" else name
    for name in PERSON_FINDERS
]

pytestmark = pytest.mark.filterwarnings(
    # detectron2 0.6 on PyTorch 2.14.
    "ignore:`torch.jit.script` is deprecated:FutureWarning",
    "ignore:torch.meshgrid. in an upcoming release:UserWarning",
)


@pytest.fixture
def set_up(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., object]:
    """A video and a finder that finds somebody in it; the real trained network if there is one."""

    def make(name: PersonFinderName) -> tuple[Video, PersonFinder]:
        if name == "onnx":
            weights = request.getfixturevalue("shared_data") / "weights" / "yolox_nano.onnx"
            source = request.getfixturevalue("shared_data") / "gpjatk" / "p1s1_c3_0195.mp4"
            method = person_finder_method("onnx")
            find = method.build(method.load_weights(WeightsSource(weights)))
            pictures = islice(probe(source).pictures(2), NUM_FRAMES)
            return probe(write_video(tmp_path / "real.mp4", pictures)), find
        write_walk(tmp_path / "walk.mp4", 120, 200, NUM_FRAMES)
        finders = {
            "motion": lambda: person_finder_method("motion").build(None),
            "torchvision": lambda: partial(find_detected_person, detector=dark_torchvision(96)),
            "detectron2": lambda: partial(find_detected_person, detector=dark_detectron2(96)),
        }
        return probe(tmp_path / "walk.mp4"), finders[name]()

    return make


def crops_of(video: Video, person: Person) -> tuple[np.ndarray, np.ndarray]:
    """Crops and windows of the whole track: the box's height on each side of its centre."""
    boxes = person.track.boxes
    centres, reach = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 3:] - boxes[:, 1:2]
    windows = np.concatenate([centres - reach, centres + reach], axis=1).astype(np.float32)
    pictures = list(video.pictures())
    crops = [
        cut(pictures[number], window, SIZE)
        for number, window in zip(person.track.frames, windows, strict=True)
    ]
    return np.stack(crops), windows


def test_every_configured_finder_is_in_the_table() -> None:
    assert set(PERSON_FINDERS) == set(get_args(PersonFinderName))
    assert set(PERSON_FINDERS) >= FINDERS_WITHOUT_MASKS


@pytest.mark.parametrize("name", NAMES)
def test_a_person_is_found_in_the_same_way_twice(
    name: PersonFinderName, set_up: Callable[..., tuple[Video, PersonFinder]]
) -> None:
    video, find = set_up(name)
    one, other = find(video), find(video)
    assert isinstance(one, Person)
    track = one.track
    assert len(track.frames) == len(track.boxes) >= 12
    assert len(track.presence) == video.num_frames == NUM_FRAMES
    assert track.boxes.dtype == np.float32
    assert (track.boxes[:, :2] < track.boxes[:, 2:]).all()
    assert (track.boxes >= 0).all()
    assert (track.boxes <= [video.width, video.height] * 2).all()
    np.testing.assert_array_equal(track.boxes, other.track.boxes)
    np.testing.assert_array_equal(track.presence, other.track.presence)


@pytest.mark.parametrize("name", NAMES)
def test_masks_are_of_the_crops_shape_and_hold_the_body(
    name: PersonFinderName, set_up: Callable[..., tuple[Video, PersonFinder]]
) -> None:
    video, find = set_up(name)
    person = find(video)
    crops, windows = crops_of(video, person)
    if name in FINDERS_WITHOUT_MASKS:
        with pytest.raises(MethodError, match="finds no masks"):
            person.masks(0, crops, windows)
        return
    masks = person.masks(0, crops, windows)
    assert masks.dtype == np.uint8
    assert masks.shape == crops.shape[:3]
    assert set(np.unique(masks)) == {0, 1}
    assert (masks[:, SIZE // 2, SIZE // 2] == 1).all()
    assert not masks[:, 0].any()
    np.testing.assert_array_equal(person.masks(3, crops[3:5], windows[3:5]), masks[3:5])
    np.testing.assert_array_equal(find(video).masks(0, crops, windows), masks)


@pytest.mark.parametrize("name", PERSON_FINDERS)
def test_weights_and_finder_must_fit(name: PersonFinderName) -> None:
    method = person_finder_method(name)
    if name == "motion":
        with pytest.raises(MethodError, match="people=motion has no weights; leave people_weights"):
            method.load_weights(WeightsSource(Path("file")))
        with pytest.raises(MethodError, match="people=motion has no weights, but the store"):
            method.build(b"weights")
    else:
        with pytest.raises(MethodError, match=f"people={name} needs its weights"):
            method.build(None)


@pytest.mark.parametrize("name", [name for name in PERSON_FINDERS if name != "detectron2"])
def test_only_detectron2_has_a_config(name: PersonFinderName) -> None:
    with pytest.raises(MethodError, match=f"people={name} has no config; leave people_config out"):
        person_finder_method(name).load_weights(WeightsSource(None, "x.yaml"))


def test_a_missing_library_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.split(".")[0] == "detectron2"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "detectron2", None)
    project_folder = Path(__file__).parents[3]
    guide = (project_folder / "docs" / "preprocessing.md").read_text(encoding="utf-8")
    (command,) = [line for line in guide.splitlines() if "[detectron2]" in line]
    remedy = re.escape(command)
    method = person_finder_method("detectron2")
    with pytest.raises(MethodError, match=f"people=detectron2 needs detectron2 .*: {remedy}"):
        method.load_weights(WeightsSource())
    with pytest.raises(MethodError, match=f"people=detectron2 needs detectron2 .*: {remedy}"):
        method.build(b"weights")
    project = tomllib.loads((project_folder / "pyproject.toml").read_text())["project"]
    assert "detectron2" in project["optional-dependencies"]
