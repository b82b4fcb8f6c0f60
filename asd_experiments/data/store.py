"""A finished clip store, read; how it is laid out is told in `store_layout`."""

import hashlib
import json
import os
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import zarr
from jaxtyping import Float32, UInt8
from zarr.abc.store import Store

from asd_experiments.data.quantised_flow import restore_flow
from asd_experiments.data.storage import StoreError, damaged, open_storage, refuse_file
from asd_experiments.data.store_layout import SCHEMA


class StoredFrames(NamedTuple):
    """Consecutive stored frames of one video, as arrays."""

    rgb: UInt8[np.ndarray, "time size size 3"]
    mask: UInt8[np.ndarray, "time size size"]
    flow: Float32[np.ndarray, "pairs size size 2"]


class ClipStore:
    """A finished clip store, opened for random access.

    Args:
        url: Folder, fsspec URL or Zarr store object.

    Raises:
        StoreError: If there is no finished clip store of this schema, here or when it is read.
    """

    def __init__(self, url: str | Store) -> None:
        self.url = url
        self._open()
        attributes: dict[str, Any] = self._root.attrs.asdict()
        if attributes.get("schema") != SCHEMA:
            found = attributes.get("schema")
            raise StoreError(f"{str(url)!r} has schema {found}, not {SCHEMA}; run preprocess again")
        if "digest" not in attributes:
            raise StoreError(f"{str(url)!r} is not finished; run preprocess again to continue it")
        self.digest: str = attributes["digest"]
        self.recipe: dict[str, Any] = attributes["recipe"]
        self.backends: dict[str, str] = attributes["backends"]
        self.failures: list[dict[str, str]] = attributes["failures"]
        self.videos = pd.DataFrame(attributes["videos"])
        self.weights_sha256: dict[str, str] = attributes["weights_sha256"]

    def _open(self) -> None:
        try:
            storage = open_storage(self.url, read_only=True)
            refuse_file(storage, str(self.url))
            self._root = zarr.open_group(storage, mode="r", zarr_format=3)
        except StoreError:
            raise
        except json.JSONDecodeError as error:
            raise damaged(self.url) from error
        except (FileNotFoundError, KeyError) as error:
            raise StoreError(
                f"there is no clip store at {str(self.url)!r}; run preprocess"
            ) from error
        except (ImportError, OSError, ValueError) as error:
            raise StoreError(f"{str(self.url)!r} cannot be opened: {error}") from error
        self._arrays: dict[str, zarr.Array[Any]] = {}
        self._process = os.getpid()

    @property
    def size(self) -> int:
        """Side of the stored frames, pixels."""
        return int(self.recipe["size"])

    def read(self, key: str, start: int, stop: int) -> StoredFrames:
        """Read frames `start` to `stop` (exclusive) of a video and the flow between them.

        Args:
            key: The video's key in the index.
            start: First frame, counted from 0 in the stored video.
            stop: One past the last frame.

        Returns:
            The frames; `flow` holds one field fewer than frames, in pixels of the stored grid.

        Raises:
            IndexError: If the range does not lie in the video.
        """
        rgb, mask, flow = (self._array(key, name) for name in ("rgb", "mask", "flow"))
        num_frames = rgb.shape[0]
        if not 0 <= start < stop <= num_frames:
            raise IndexError(f"frames {start}:{stop} do not lie in a video of {num_frames} frames")
        return StoredFrames(
            np.asarray(rgb[start:stop]),
            np.asarray(mask[start:stop]),
            restore_flow(np.asarray(flow[start : stop - 1])),
        )

    def track(self, key: str) -> Float32[np.ndarray, "time 4"]:
        """Crop window of every stored frame: x0, y0, x1, y1 in source pixels."""
        return np.asarray(self._array(key, "track")[:])

    def presence(self, key: str) -> UInt8[np.ndarray, " source_time"]:
        """What is known of the patient in every frame of the source, see `Presence`."""
        return np.asarray(self._array(key, "presence")[:])

    def weights(self) -> dict[str, bytes]:
        """Weights of the networks that preprocessed the videos, by role."""
        return {role: self._weights(role) for role in sorted(self.weights_sha256)}

    def _weights(self, role: str) -> bytes:
        content = np.asarray(self._array_at(f"weights/{role}")[:]).tobytes()
        if hashlib.sha256(content).hexdigest() != self.weights_sha256[role]:
            raise StoreError(
                f"the weights of {role} in {str(self.url)!r} are damaged; "
                "delete the store and run preprocess"
            )
        return content

    def _array(self, key: str, name: str) -> zarr.Array[Any]:
        return self._array_at(f"videos/{key}/{name}")

    def _array_at(self, path: str) -> zarr.Array[Any]:
        if self._process != os.getpid():  # connections do not survive a fork
            self._open()
        if path not in self._arrays:
            self._arrays[path] = _as_array(self._root[path])
        return self._arrays[path]


def _as_array(node: zarr.Array[Any] | zarr.Group) -> zarr.Array[Any]:
    if not isinstance(node, zarr.Array):
        raise StoreError(
            f"{node.name} must be an array; the store is damaged; delete it and run preprocess"
        )
    return node
