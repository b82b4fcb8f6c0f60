from pathlib import Path

import cv2
import numpy as np
import pytest

from asd_experiments.errors import InputError
from preprocess.decode import probe
from preprocess.method import MethodError, WeightsSource
from preprocess.people import person_finder_method
from preprocess.people.onnx import Yolox
from tests.preprocess.yolox import Yolox as Reference

METHOD = person_finder_method("onnx")


@pytest.fixture(scope="session")
def yolox_file(shared_data: Path) -> Path:
    return shared_data / "weights" / "yolox_nano.onnx"


def test_the_file_travels_as_it_is(yolox_file: Path) -> None:
    content = METHOD.load_weights(WeightsSource(yolox_file))
    assert content == yolox_file.read_bytes()
    assert Yolox(content).size == (416, 416)


def test_weights_must_be_given() -> None:
    with pytest.raises(MethodError, match=r"people=onnx needs people_weights=FILE; take .*http"):
        METHOD.load_weights(WeightsSource())


def test_wrong_files_are_refused(tmp_path: Path, yolox_file: Path) -> None:
    (tmp_path / "text.onnx").write_text("this is no network")
    (tmp_path / "empty.onnx").touch()
    (tmp_path / "cut.onnx").write_bytes(yolox_file.read_bytes()[:100_000])
    for name in ("text.onnx", "empty.onnx", "cut.onnx"):
        with pytest.raises(MethodError, match="is not an ONNX file; take a YOLOX network from"):
            METHOD.load_weights(WeightsSource(tmp_path / name))
    with pytest.raises(InputError, match=r"there is no file '/.*none\.onnx'"):
        METHOD.load_weights(WeightsSource(tmp_path / "none.onnx"))
    with pytest.raises(InputError, match=r"people_weights: '.*' cannot be read"):
        METHOD.load_weights(WeightsSource(tmp_path))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (np.zeros((3549, 6), np.float32), r"its output is \(3549, 6\), not \(3549, 85\)"),
        (np.full((3549, 85), 50, np.float32), "export without --decode_in_inference"),
    ],
)
def test_networks_that_answer_otherwise_are_refused(
    yolox_file: Path, monkeypatch: pytest.MonkeyPatch, answer: np.ndarray, reason: str
) -> None:
    monkeypatch.setattr(Yolox, "raw", lambda *_: answer)
    with pytest.raises(MethodError, match=f"is not a YOLOX network: .*{reason}"):
        METHOD.load_weights(WeightsSource(yolox_file))


def test_networks_that_opencv_cannot_run_are_refused(
    yolox_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> np.ndarray:
        raise cv2.error("unsupported")

    monkeypatch.setattr(Yolox, "raw", failing)
    with pytest.raises(MethodError, match="is not a YOLOX network: OpenCV cannot run it"):
        METHOD.load_weights(WeightsSource(yolox_file))


def test_inputs_of_another_form_are_refused(
    yolox_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Other:
        def dump(self) -> str:
            return 'inputs: [\n "x" // <Input> CV_32FC1 [1 x 10]\n ],'

    monkeypatch.setattr(cv2.dnn, "readNetFromONNX", lambda _: Other())
    with pytest.raises(MethodError, match="its input is not one picture of a fixed size"):
        METHOD.load_weights(WeightsSource(yolox_file))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["p1s1_c3_0195.mp4", "p6s3_c1_0220.mp4"])
def test_real_walkers_are_boxed_as_by_the_reference(
    shared_data: Path, yolox_file: Path, name: str
) -> None:
    video = probe(shared_data / "gpjatk" / name)
    detector, reference = Yolox(yolox_file.read_bytes()), Reference(yolox_file)
    differences = []
    for picture in video.pictures(step=20):
        (body,) = detector(picture[None])[0]
        box, score = reference.person(picture)
        differences.append(np.abs(body.box - box.clip(0, [960, 540] * 2)).max())
        assert body.score == pytest.approx(score, abs=1e-4)
    print(f"largest difference from the reference's box: {max(differences):.3f} px")
    assert len(differences) >= 5
    assert max(differences) < 0.5


@pytest.mark.slow
def test_a_real_walker_is_followed_on_shrunk_pictures(shared_data: Path, yolox_file: Path) -> None:
    """Half of the source's height, so boxes must come back in source pixels."""
    source = shared_data / "gpjatk" / "p1s1_c3_0195.mp4"
    video = probe(source, least_height=270)
    assert video.shrink == 2
    track = METHOD.build(yolox_file.read_bytes())(video).track
    reference = Reference(yolox_file)
    assert len(track.frames) >= 0.95 * video.num_frames
    pictures = video.pictures(1, step=20)
    for number, picture in zip(range(0, video.num_frames, 20), pictures, strict=True):
        box, _ = reference.person(picture)
        place = np.flatnonzero(track.frames == number)
        if len(place):
            assert np.abs(track.boxes[place[0]] - box).max() < 0.04 * (box[3] - box[1])
