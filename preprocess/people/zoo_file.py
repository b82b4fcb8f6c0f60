"""Checkpoints of detectron2's model zoo: pickles, which could hold any code."""

import io
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from numpy._core import multiarray, numeric

from asd_experiments.user_file import read_file
from asd_experiments.weights import not_weights

_ADMITTED: dict[tuple[str, str], object] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    **{
        (f"{package}.{module.__name__.split('.')[-1]}", name): getattr(module, name)
        for package in ("numpy.core", "numpy._core")
        for module, name in (
            (multiarray, "_reconstruct"),
            (multiarray, "scalar"),
            (numeric, "_frombuffer"),
        )
    },
}
_BROKEN = (
    pickle.UnpicklingError,
    EOFError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    OverflowError,
    RuntimeError,
    MemoryError,
)


def read_zoo_file(file: Path, parameter: str) -> object:
    """Read a pickle that holds arrays, numbers and texts in plain containers; arrays as tensors.

    Nothing else is admitted: a pickle may name any function, and reading it would call that.

    Args:
        file: The file.
        parameter: The parameter that named it, such as `people_weights`.

    Raises:
        InputError: If it is missing, no pickle, or holds anything else.
    """
    content = read_file(file, parameter)
    try:
        return _as_tensors(_Unpickler(io.BytesIO(content), encoding="latin1").load())
    except _ForeignError as error:
        raise not_weights(file, parameter, f"it holds {error}") from None
    except _BROKEN:
        raise not_weights(file, parameter) from None


class _ForeignError(Exception):
    """What a pickle holds beside arrays, numbers and texts."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        if (module, name) == ("_codecs", "encode"):
            return _latin1
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise _ForeignError(f"{module}.{name}") from None


def _latin1(text: str, encoding: str) -> bytes:
    """How pickles of Python 2 write bytes."""
    if encoding != "latin1":
        raise _ForeignError(f"bytes in {encoding}")
    return text.encode("latin1")


def _as_tensors(content: object) -> object:
    if isinstance(content, dict):
        return {name: _as_tensors(value) for name, value in content.items()}
    return torch.from_numpy(content) if isinstance(content, np.ndarray) else content
