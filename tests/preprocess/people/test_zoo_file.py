import os
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from asd_experiments.errors import InputError
from preprocess.people.zoo_file import read_zoo_file


def write(path: Path, content: object, protocol: int = 2) -> Path:
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


class Attack:
    """A pickle that makes a folder when it is read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self._folder),)


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_numbers_and_texts_are_read(tmp_path: Path, protocol: int) -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    content = {
        "model": OrderedDict(a=array, b=np.float64(2.5)),
        "__author__": "someone",
        "bytes": b"\xff\x00",
    }
    found = read_zoo_file(write(tmp_path / "zoo.pkl", content, protocol), "people_weights")
    assert torch.equal(found["model"]["a"], torch.from_numpy(array))
    assert found["model"]["b"] == 2.5
    assert (found["__author__"], found["bytes"]) == ("someone", b"\xff\x00")


def test_names_of_older_numpy_are_read(tmp_path: Path) -> None:
    content = pickle.dumps({"a": np.ones(3, np.float32)}, protocol=2)
    old = content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert old != content
    (tmp_path / "zoo.pkl").write_bytes(old)
    assert torch.equal(read_zoo_file(tmp_path / "zoo.pkl", "people_weights")["a"], torch.ones(3))


def test_code_is_refused_and_not_executed(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    file = write(tmp_path / "evil.pkl", {"model": Attack(folder)})
    with pytest.raises(InputError, match=r"evil.pkl' is not a file of weights: it holds posix"):
        read_zoo_file(file, "people_weights")
    assert not folder.exists()
    pickle.loads(file.read_bytes())
    assert folder.exists()  # the attack is a real one


@pytest.mark.parametrize("content", [b"", b"no pickle", pickle.dumps({"a": 1})[:-3]])
def test_broken_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "broken.pkl").write_bytes(content)
    with pytest.raises(
        InputError,
        match=r"people_weights: '/.*broken.pkl' is not a file of weights: it is damaged, or was",
    ):
        read_zoo_file(tmp_path / "broken.pkl", "people_weights")


def test_bytes_in_another_encoding_are_refused(tmp_path: Path) -> None:
    content = pickle.dumps(b"\xff", protocol=2)
    (tmp_path / "odd.pkl").write_bytes(content.replace(b"latin1", b"utf-16"))
    with pytest.raises(InputError, match="it holds bytes in utf-16"):
        read_zoo_file(tmp_path / "odd.pkl", "people_weights")


def test_arrays_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "objects.pkl", {"a": np.array(["x", None], object)})
    with pytest.raises(InputError, match=r"objects.pkl' is not a file of weights"):
        read_zoo_file(file, "people_weights")
