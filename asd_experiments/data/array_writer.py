"""Arrays of a clip store on their way into it."""

import hashlib
from functools import partial
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec
from zarr.core.array_spec import ArrayConfigParams
from zarr.errors import ContainsArrayError

from asd_experiments.data.storage import Storage, StoreError

CHUNK_FRAMES = 16
# To leave out chunks of zeros, zarr looks for them, which takes longer than to compress them all.
_EVERY_CHUNK: ArrayConfigParams = {"write_empty_chunks": True}


class ArrayWriter:
    """Writes one array front to back, whole chunks at a time, and hashes what it writes.

    Args:
        storage: Where.
        path: The group's place in the hierarchy.
        name: The array's name in the group.
        shape: Its shape; the first axis is time.
        dtype: Its type.
    """

    def __init__(
        self,
        storage: Storage,
        path: str,
        name: str,
        shape: tuple[int, ...],
        dtype: type[np.generic],
    ) -> None:
        chunks = (min(CHUNK_FRAMES, shape[0]), *shape[1:])
        self._array = array_in(storage, f"{path}/{name}", shape, dtype, chunks)
        self.name = name
        self._dtype = dtype
        self._buffer: list[np.ndarray] = []
        self._written = 0
        self._hash = hashlib.sha256()

    def append(self, frame: np.ndarray) -> None:
        """Take the next frame; it is freed when its chunk is full."""
        self._buffer.append(frame)
        if len(self._buffer) == CHUNK_FRAMES:
            self._flush()

    def _flush(self) -> None:
        block = np.stack(self._buffer, dtype=self._dtype, casting="safe")
        self._array[self._written : self._written + len(block)] = block
        self._hash.update(block.data)
        self._written += len(block)
        self._buffer.clear()

    def finish(self) -> str:
        """Write the rest; the SHA-256 of the whole content.

        Raises:
            StoreError: If frames are missing.
        """
        if self._buffer:
            self._flush()
        if self._written != self._array.shape[0]:
            expected = self._array.shape[0]
            raise StoreError(f"{self.name}: {self._written} frames came, {expected} were announced")
        return self._hash.hexdigest()


def array_in(
    storage: Storage,
    path: str,
    shape: tuple[int, ...],
    dtype: type[np.generic],
    chunks: tuple[int, ...] | None = None,
) -> zarr.Array[Any]:
    """An array to be written from front to back.

    One like it, left by a killed run, is taken as it is: its chunks are written over, not deleted.

    Args:
        storage: Where.
        path: Its place in the hierarchy.
        shape: Its shape.
        dtype: Its type.
        chunks: Shape of its chunks; None: one chunk.
    """
    create = partial(
        zarr.create_array,
        storage,
        name=path,
        shape=shape,
        dtype=dtype,
        chunks=chunks or shape,
        compressors=BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle"),
        zarr_format=3,
        config=_EVERY_CHUNK,
    )
    try:
        return create()
    except ContainsArrayError:
        array = zarr.open_array(storage, path=path, mode="r+", zarr_format=3)
        array = array.with_config(_EVERY_CHUNK)
        there = array.shape, array.dtype.type, array.chunks
        return array if there == (shape, dtype, chunks or shape) else create(overwrite=True)
