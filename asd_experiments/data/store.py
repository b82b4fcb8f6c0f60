"""The clip store: crops, masks, flow and tracks of all videos in one Zarr v3 hierarchy.

Layout (`schema` 2)::

    /                 attributes: schema, recipe, backends, videos (the index), failures, digest
    /weights/<role>   u8 [byte], weights of the network that finds people, segments or computes
                      flow (role: people, segment, flow), where the method has one
    /videos/<key>/    key = start of the source file's SHA-256; attributes: see `VideoFacts`
        rgb           u8  [time, size, size, 3]    person-centred square
        mask          u8  [time, size, size]       1 = body
        flow          i16 [time - 1, size, size, 2] displacement to the next frame, quantised
        track         f32 [time, 4]                crop window x0, y0, x1, y1, source pixels
        presence      u8  [source time]            see `Presence`

A video is stored in stretches of consecutive source frames; no clip reaches across the end of one,
and the flow from its last frame to the first frame of the next stretch is zero.

A video is visible to readers once its group's attributes say `committed`, which is the last write
of a video and a single one; the index and the digest in the root appear when a run has finished.

Any number of processes may write different videos at the same time, each with its own
`StoreWriter`. Two at the same video do no harm where the same video gives the same bytes: nothing
is deleted to be written again.

What killed runs leave: a video begun is written over when its turn comes, and its temporary files
(`*.partial`) are removed then unless they are new; temporary files of the root and of the weights
are removed by `StoreWriter.finish` when they are an hour old. Videos that have left the labels
stay, are in neither index nor digest, and are found again when they come back.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import IntEnum
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import zarr
from jaxtyping import Float32, Int16, UInt8
from zarr.abc.store import Store
from zarr.errors import ContainsGroupError

from asd_experiments.data.array_writer import ArrayWriter, array_in
from asd_experiments.data.storage import Storage, StoreError, open_storage, refuse_other_folder

SCHEMA = 2
FLOW_STEP_PX = 1 / 64
_WRITTEN_LATER = {"videos", "failures", "digest"}
_STALE_SECONDS = 2  # the temporary file of a chunk lives for milliseconds
_LEFTOVER_SECONDS = 3600
_INT16 = np.iinfo(np.int16)


class Presence(IntEnum):
    """What is known of the patient in one frame of a source video."""

    ABSENT = 0
    """Not seen."""

    NEARBY = 1
    """Entering or leaving: out of the picture, while a square around the body reaches into it."""

    LEFT_OUT = 2
    """Seen but not stored: in part, together with another body, or for too short a time."""

    BRIDGED = 3
    """Stored although not seen: a short gap, interpolated."""

    SEEN = 4
    """Seen and stored."""


@dataclass(frozen=True)
class VideoFacts:
    """What is known of one stored video."""

    source_sha256: str
    """SHA-256 of the video file."""

    num_frames: int
    """Stored frames."""

    stretches: list[list[int]]
    """First frame in the source (counted from 0) and number of frames of every stored stretch."""

    frame_rate_hz: float
    """Frames per second."""

    source_frames: int
    """Frames in the source video."""

    source_height: int
    """Height of the source's pictures, pixels."""

    source_width: int
    """Width of the source's pictures, pixels."""

    person_share: float
    """Share of the source's frames in which the person was found, 0 to 1."""

    bridged_share: float
    """Share of the stored frames in which the person was not found but interpolated, 0 to 1."""

    num_people: int
    """People seen for long enough to be followed, the patient among them."""

    num_switches: int
    """Times that the patient's box changed its size too suddenly for a body: it held another body
    or a shadow as well, or a part of the patient. Such frames are not stored as seen."""


class StoredFrames(NamedTuple):
    """Consecutive stored frames of one video, as arrays."""

    rgb: UInt8[np.ndarray, "time size size 3"]
    mask: UInt8[np.ndarray, "time size size"]
    flow: Float32[np.ndarray, "pairs size size 2"]


class PreparedFrame(NamedTuple):
    """One frame on its way into the store; the first frame has no flow to it."""

    rgb: UInt8[np.ndarray, "size size 3"]
    mask: UInt8[np.ndarray, "size size"]
    flow: Float32[np.ndarray, "size size 2"] | None
    window: Float32[np.ndarray, " 4"]


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
            _refuse_file(storage, str(self.url))
            self._root = zarr.open_group(storage, mode="r", zarr_format=3)
        except StoreError:
            raise
        except json.JSONDecodeError as error:
            raise _damaged(self.url) from error
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
            np.multiply(flow[start : stop - 1], np.float32(FLOW_STEP_PX), dtype=np.float32),
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
            _refuse_file(self._storage, self._url)
            refuse_other_folder(self._storage, self._url)
            self._open_root()
        except StoreError:
            raise
        except json.JSONDecodeError as error:
            raise _damaged(url) from error
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

    def finish(self, labels: pd.DataFrame, failures: list[dict[str, str]]) -> str:
        """Write the index of all videos and the digest that identifies this data set.

        Args:
            labels: One row per stored video: every column of the labels file, and `key`.
            failures: Video and reason of those that could not be stored.

        Returns:
            The digest, hexadecimal.

        Raises:
            StoreError: If a video is not in the store, or the store cannot be written.
        """
        rows: list[dict[Any, Any]] = []
        contents: list[dict[str, str]] = []
        for row in labels.astype(object).where(labels.notna(), None).to_dict("records"):
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


def _as_array(node: zarr.Array[Any] | zarr.Group) -> zarr.Array[Any]:
    if not isinstance(node, zarr.Array):
        raise StoreError(
            f"{node.name} must be an array; the store is damaged; delete it and run preprocess"
        )
    return node


def video_key(source_sha256: str) -> str:
    """Name of a video's group in the store."""
    return source_sha256[:16]


def quantise_flow(
    flow: Float32[np.ndarray, "*shape"],
) -> Int16[np.ndarray, "*shape"]:
    """Store flow in steps of `FLOW_STEP_PX`; the error is at most half a step."""
    steps = np.rint(flow / FLOW_STEP_PX)
    return np.clip(steps, _INT16.min, _INT16.max).astype(np.int16)


def _refuse_file(storage: Storage, url: str) -> None:
    """A store is a folder: it can neither be a file nor lie below one."""
    if storage.folder is None:
        return
    for place in (storage.folder, *storage.folder.parents):
        if place.is_file():
            how = "is a file" if place == storage.folder else f"lies below the file {str(place)!r}"
            raise StoreError(f"store must be a folder or a URL, but {url!r} {how}; choose another")


def _damaged(url: str | Store) -> StoreError:
    return StoreError(
        f"{str(url)!r} is damaged: its zarr.json is no JSON; delete the store and run preprocess"
    )


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
