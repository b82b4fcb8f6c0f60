"""What a logged model needs of others, in the versions that are installed here."""

from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

import torch
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from asd_experiments import __version__

REQUIREMENTS = (
    "av",
    "fsspec",
    "jaxtyping",
    "mlflow",
    "numpy",
    "opencv-python-headless",
    "packaging",
    "pandas",
    "pebble",
    "pydantic",
    "pytorchvideo",
    "safetensors",
    "scipy",
    "torch",
    "torchvision",
    "zarr",
)
"""Packages that classify a raw video with a logged model."""


def pip_requirements(folder: Path) -> list[str]:
    """The packages as pip takes them, with a file that pins what they need in turn.

    Args:
        folder: Where to write that file.
    """
    file = folder / "constraints.txt"
    pins = (f"{name}=={of}\n" for name, of in sorted(_with_all_they_need().items()))
    file.write_text("".join(pins), encoding="utf-8")
    return [*(f"{name}=={version(name)}" for name in REQUIREMENTS), f"-c {file}"]


@cache
def _with_all_they_need() -> dict[str, str]:
    """Version of every installed package that the packages rest on, by name."""
    versions: dict[str, str] = {}
    done: set[Requirement] = set()
    left = [Requirement(name) for name in REQUIREMENTS]
    while left:
        needed = left.pop()
        if needed in done:
            continue
        done.add(needed)
        try:
            found = distribution(needed.name)
        except PackageNotFoundError:  # as for another Python or system
            continue
        versions[canonicalize_name(needed.name)] = found.version
        extras = ["", *needed.extras]
        left += [
            further
            for further in map(Requirement, found.requires or ())
            if further.marker is None or any(further.marker.evaluate({"extra": e}) for e in extras)
        ]
    return versions


@cache
def library_versions() -> dict[str, str]:
    """Version of this package and of all installed packages that its models need, by name."""
    versions = {"asd_experiments": __version__}
    for name in REQUIREMENTS:
        with suppress(PackageNotFoundError):  # as of OpenCV under another of its names
            versions[name] = version(name)
    return {**versions, "torch": torch.__version__}  # which says for what kind of device it is
