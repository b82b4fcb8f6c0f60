"""Files of weights, as torch or safetensors write them; reading one executes nothing in it."""

import io
import pickle
import re
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from asd_experiments.errors import InputError
from asd_experiments.user_file import read_file

_FOREIGN = re.compile(r"Unsupported global: GLOBAL (\S+)")
_UNREADABLE = (
    OSError,
    RuntimeError,
    EOFError,
    LookupError,
    ValueError,
    pickle.UnpicklingError,
    safetensors.SafetensorError,
)


def read_state(file: Path, parameter: str) -> object:
    """What torch or safetensors stored in a file.

    Args:
        file: The file; safetensors if it is named so.
        parameter: The parameter that named it, such as `flow_weights`.

    Raises:
        InputError: If it is missing, or no such file.
    """
    return parse_state(read_file(file, parameter), file, parameter)


def parse_state(content: bytes, file: Path, parameter: str) -> object:
    """What torch or safetensors stored, from the file's content.

    Args:
        content: What is in the file.
        file: The file; safetensors if it is named so.
        parameter: The parameter that named it, such as `flow_weights`.

    Raises:
        InputError: If it is no such file.
    """
    try:
        if file.suffix == ".safetensors":
            return safetensors.torch.load(content)
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        foreign = _FOREIGN.search(str(error))
        raise not_weights(file, parameter, f"it holds {foreign[1]}" if foreign else None) from None


def not_weights(file: Path, parameter: str, reason: str | None = None) -> InputError:
    """The error that says why a file cannot be read as weights.

    What the libraries say is kept from the reader: of any text it is a number, or the advice to
    read the file as code.

    Args:
        file: The file.
        parameter: The parameter that named it.
        reason: What is known to be wrong with it.
    """
    reason = reason or "it is damaged, or was never one"
    return InputError(f"{parameter}: {str(file)!r} is not a file of weights: {reason}")
