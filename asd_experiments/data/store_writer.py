"""Making a clip store, or going on with one.

Nothing here imports pandas: worker processes would wait for it longer than for a short video.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import zarr
from jaxtyping import UInt8
from zarr.abc.store import Store
from zarr.errors import ContainsGroupError

from asd_experiments.data.array_writer import ArrayWriter, array_in
from asd_experiments.data.quantised_flow import quantise_flow
from asd_experiments.data.storage import (
    StoreError,
    damaged,
    open_storage,
    refuse_file,
    refuse_other_folder,
)
from asd_experiments.data.store_layout import SCHEMA, PreparedFrame, VideoFacts, video_key

_WRITTEN_LATER = {"videos", "failures", "digest"}
_STALE_SECONDS = 2  # the temporary file of a chunk lives for milliseconds
_LEFTOVER_SECONDS = 3600


class StoreWriter:
    """A clip store being made or continued.

    Args:
        url: Folder, fsspec URL or Zarr store object.
        recipe: Every preprocessing parameter that changes what is stored.
        backends: Name and version of every library that computes what is stored, and the kind of
            device, "cpu" or "cuda", where a network does. Both round differently, so a store is
            computed on one kind: go on with it on that kind, or make a new one.
        weights: Weights of the networks that compute what is stored, by role.

    Raises:
        StoreError: If the store exists and was made in another way.
    """

    def __init__(
        self,
        url: str | Store,
        recipe: Mapping[str, object],
        backends: Mapping[str, str],
        weights: Mapping[str, bytes] | None = None,
    ) -> None:
        origin: dict[str, Any] = {
            "schema": SCHEMA,
            "recipe": dict(recipe),
            "backends": dict(backends),
            "weights_sha256": {
                role: hashlib.sha256(content).hexdigest()
                for role, content in (weights or {}).items()
            },
        }
        self._url = str(url)
        self._origin = origin
        self._fingerprint = _digest(origin)
        self._size = int(str(recipe["size"]))
        try:
            self._storage = open_storage(url)
            refuse_file(self._storage, self._url)
            refuse_other_folder(self._storage, self._url)
            self._open_root()
        except StoreError:
            raise
        except json.JSONDecodeError as error:
            raise damaged(url) from error
        except (ImportError, OSError, ValueError) as error:
            raise StoreError(f"no clip store can be made at {str(url)!r}: {error}") from error
        for role, content in (weights or {}).items():
            self._write_weights(role, content)
        self._storage.flush("", below=False)

    def _open_root(self) -> zarr.Group:
        """The root group, made with its attributes in one write if there is none."""
        open_group = partial(
            zarr.open_group, self._storage, mode="a", zarr_format=3, attributes=self._origin
        )
        try:
            root = open_group()
        except ContainsGroupError:  # another process was faster
            root = open_group()
        known = root.attrs.asdict()
        if "schema" not in known:
            raise StoreError(f"{self._url!r} holds something else; choose a new name")
        _refuse_other_origin(self._url, known, self._origin)
        return root

    def _write_weights(self, role: str, content: bytes) -> None:
        """Write weights in one piece, unless they are there."""
        array = array_in(self._storage, f"weights/{role}", (len(content),), np.uint8)
        sha256 = self._origin["weights_sha256"][role]
        if array.attrs.get("sha256") != sha256:
            array[:] = np.frombuffer(content, np.uint8)
            self._storage.flush(array.path, below=True)
            array.attrs["sha256"] = sha256

    def facts(self, key: str) -> VideoFacts | None:
        """Facts of a video that is in the store by now, whoever wrote it; None when it is not."""
        committed = self._committed(key)
        return VideoFacts(**committed["facts"]) if committed else None

    def _committed(self, key: str) -> dict[str, Any] | None:
        """What the video's group says; None unless it is whole and made in this very way."""
        try:
            group = zarr.open_group(self._storage, path=f"videos/{key}", mode="r", zarr_format=3)
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        attributes: dict[str, Any] = group.attrs.asdict()
        return attributes if attributes.get("committed") == self._fingerprint else None

    def write(
        self,
        facts: VideoFacts,
        presence: UInt8[np.ndarray, " source_time"],
        frames: Iterator[PreparedFrame],
    ) -> None:
        """Store one video; readers see it whole or not at all.

        Frames are written as they come, a chunk at a time, so memory does not grow with length.

        Raises:
            StoreError: If `frames` does not yield `facts.num_frames` frames, or the store cannot
                be written (any more).
        """
        path = f"videos/{video_key(facts.source_sha256)}"
        self._storage.clear_partials(f"{path}/**/", older_than_seconds=_STALE_SECONDS)
        writer = partial(ArrayWriter, self._storage, path)
        rgb = writer("rgb", (facts.num_frames, self._size, self._size, 3), np.uint8)
        mask = writer("mask", (facts.num_frames, self._size, self._size), np.uint8)
        flow = writer("flow", (facts.num_frames - 1, self._size, self._size, 2), np.int16)
        track = writer("track", (facts.num_frames, 4), np.float32)
        for frame in frames:
            rgb.append(frame.rgb)
            mask.append(frame.mask)
            track.append(frame.window)
            if frame.flow is not None:
                flow.append(quantise_flow(frame.flow))
        content = {array.name: array.finish() for array in (rgb, mask, flow, track)}
        array_in(self._storage, f"{path}/presence", presence.shape, np.uint8)[:] = presence
        content["presence"] = hashlib.sha256(presence.tobytes()).hexdigest()
        self._commit(path, {"facts": asdict(facts), "content_sha256": content})

    def _commit(self, path: str, attributes: Mapping[str, Any]) -> None:
        """Make a video visible, with one write, once everything else is on the disk."""
        self._storage.flush(path, below=True)
        committed = {**attributes, "committed": self._fingerprint}
        try:  # a power cut may have left a group that cannot be opened
            zarr.create_group(self._storage, path=path, zarr_format=3, attributes=committed)
        except ContainsGroupError:
            zarr.open_group(self._storage, path=path, zarr_format=3).attrs.put(committed)
        self._storage.flush(path, below=False)

    def finish(self, labels: Iterable[Mapping[Any, Any]], failures: list[dict[str, str]]) -> str:
        """Write the index of all videos and the digest that identifies this data set.

        Args:
            labels: For every stored video every column of the labels file, None where it says
                nothing, and `key`.
            failures: Video and reason of those that could not be stored.

        Returns:
            The digest, hexadecimal.

        Raises:
            StoreError: If a video is not in the store, or the store cannot be written.
        """
        rows: list[dict[Any, Any]] = []
        contents: list[dict[str, str]] = []
        for row in labels:
            committed = self._committed(str(row["key"]))
            if committed is None:
                raise StoreError(f"video {row['key']} is not in the store; run preprocess again")
            rows.append({**row, **committed["facts"]})
            contents.append(committed["content_sha256"])
        digest = _digest({**self._origin, "videos": rows, "contents": contents})
        index: dict[str, Any] = {"videos": rows, "failures": failures, "digest": digest}
        self._open_root().attrs.put({**self._origin, **index})
        self._storage.flush("", below=False)
        self._storage.clear_partials(
            "", "videos/", "weights/**/", older_than_seconds=_LEFTOVER_SECONDS
        )
        return digest


def _refuse_other_origin(
    url: str, known: Mapping[str, object], origin: Mapping[str, object]
) -> None:
    there, now = _flat(known), _flat(origin)
    differences = [
        f"{name} is {there.get(name)!r} there, {now.get(name)!r} now"
        for name in sorted({*there, *now} - _WRITTEN_LATER)
        if there.get(name) != now.get(name)
    ]
    if differences:
        raise StoreError(
            f"{url!r} was made in another way ({'; '.join(differences)}); "
            "choose another store or the same settings"
        )


def _flat(origin: Mapping[str, object]) -> dict[str, object]:
    """Names and values, those of `recipe` and `backends` among them."""
    flat: dict[str, object] = {}
    for name, value in origin.items():
        flat |= (
            value
            if name in ("recipe", "backends", "weights_sha256") and isinstance(value, dict)
            else {name: value}
        )
    return flat


def _digest(content: Mapping[str, object]) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]
