"""The command `preprocess`: what it needs is asked for before any video is worked on."""

import subprocess
import sys
from itertools import islice
from pathlib import Path

import pandas as pd
import pytest
import zarr

from asd_experiments.__main__ import main
from asd_experiments.data.store import ClipStore
from asd_experiments.data.store_writer import StoreWriter
from preprocess.decode import probe
from preprocess.pipeline import Preprocessor
from tests.preprocess.films import film, walk, wall, write_video


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    """Options for a cohort of one walk."""
    write_video(tmp_path / "walk.mp4", film(walk(96, 160, 20), wall(96, 160)))
    row = {"video": "walk.mp4", "patient_id": "P1", "label": "ASD"}
    pd.DataFrame([row]).to_csv(tmp_path / "labels.csv", index=False)
    places = {"videos": tmp_path, "labels": tmp_path / "labels.csv", "store": tmp_path / "s.zarr"}
    return [word for name, place in places.items() for word in (f"--{name}", str(place))]


def refusal(
    options: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> pytest.ExceptionInfo[SystemExit]:
    """How the command ends, where decoding a whole video is an error."""

    def no_video(*_: object, **__: object) -> None:
        raise AssertionError("a video was opened")

    monkeypatch.setattr("preprocess.pipeline.probe", no_video)
    with pytest.raises(SystemExit) as caught:
        main(["preprocess", *options])
    assert not (tmp_path / "s.zarr").exists()
    assert len(str(caught.value).splitlines()) == 1
    return caught


def test_a_missing_library_is_reported_before_any_video(
    options: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for module in [name for name in sys.modules if name.split(".")[0] == "detectron2"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "detectron2", None)
    caught = refusal([*options, "--people", "detectron2"], monkeypatch, tmp_path)
    assert caught.match(r"^preprocess: people=detectron2 needs detectron2 .*pip install .*\[detec")


@pytest.mark.parametrize(
    ("method", "network"),
    [
        ("people=torchvision", "maskrcnn_resnet50_fpn_v2"),
        ("segment=torchvision", "lraspp_mobilenet_v3_large"),
        ("flow=raft_small", "raft_small"),
    ],
)
def test_weights_that_cannot_be_downloaded_are_reported_before_any_video(
    method: str,
    network: str,
    options: list[str],
    monkeypatch: pytest.MonkeyPatch,
    no_network: None,
    tmp_path: Path,
) -> None:
    role, name = method.split("=")
    caught = refusal([*options, f"--{role}", name], monkeypatch, tmp_path)
    assert caught.match(
        rf"^preprocess: the weights of {network} cannot be downloaded .*; "
        rf"download https://\S+ on a machine with a network and pass {role}_weights=FILE$"
    )


def test_all_that_is_missing_is_reported_together(
    options: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A library, a file that goes with it, and the files of two other methods."""
    for module in [name for name in sys.modules if name.split(".")[0] == "detectron2"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "detectron2", None)
    chosen = {
        "people": "detectron2",
        "people_weights": "no people.pkl",
        "segment": "torchvision",
        "segment_weights": "none.pth",
        "flow": "raft_small",
        "flow_weights": str(tmp_path / "none.pth"),
    }
    with pytest.raises(SystemExit) as caught:
        main(["preprocess", *options, *(w for n, v in chosen.items() for w in (f"--{n}", v))])
    first, *problems = str(caught.value).splitlines()
    assert first == "preprocess: 4 problems with the methods:"
    assert problems[0].startswith("  people=detectron2 needs detectron2 ")
    assert problems[1:] == [
        "  people_weights: there is no file 'no people.pkl'",
        "  segment_weights: there is no file 'none.pth'",
        f"  flow_weights: there is no file '{tmp_path / 'none.pth'}'",
    ]
    assert not (tmp_path / "s.zarr").exists()


def test_missing_weights_are_reported_on_the_command_line(
    options: list[str], tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "asd_experiments", "preprocess", *options]
    done = subprocess.run(
        [*command, "--people", "onnx", "--segment", "grabcut"], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.startswith("preprocess: people=onnx needs people_weights=FILE; take a YOLOX")
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""
    assert not (tmp_path / "s.zarr").exists()


@pytest.mark.slow
def test_what_yolox_and_grabcut_stored_is_repeated_from_the_store(
    options: list[str], shared_data: Path, tmp_path: Path
) -> None:
    """A real walk of one second; the weights of the store are all that the second run has."""
    source = probe(shared_data / "gpjatk" / "p2s1_c3_0130.mp4")
    video = write_video(tmp_path / "walk.mp4", islice(source.pictures(2, start=40), 25))
    weights = str(shared_data / "weights" / "yolox_nano.onnx")
    chosen = {"people": "onnx", "people_weights": weights, "segment": "grabcut", "size": "64"}
    main(["preprocess", *options, *(w for n, v in chosen.items() for w in (f"--{n}", v))])
    store = ClipStore(str(tmp_path / "s.zarr"))
    again = Preprocessor(store.recipe, store.weights())
    memory = zarr.storage.MemoryStore()
    writer = StoreWriter(memory, again.recipe, again.backends, again.weights)
    facts = again.store_video(video, writer)
    writer.finish(store.videos[["video", "patient_id", "label", "key"]].to_dict("records"), [])
    assert facts.person_share >= 0.95
    key, length = store.videos["key"].iloc[0], facts.num_frames
    one, other = (s.read(key, 0, length) for s in (store, ClipStore(memory)))
    assert (one.mask == other.mask).all() and (one.rgb == other.rgb).all()
    assert 0.05 < one.mask.mean() < 0.4
