"""Where the objects of a clip store lie: a folder, or whatever an fsspec URL names.

What a clip store asks of it is that one object is written whole or not at all. Object stores do
that; zarr's `LocalStore` writes a temporary file (`*.partial`) and renames it. fsspec's own
`file://` writes in place, so such a URL is opened as the folder it names.
"""

import errno
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import FsspecStore, LocalStore, WrapperStore

from asd_experiments.errors import InputError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_PARTIAL = ".partial"


class StoreError(InputError):
    """A clip store cannot be read or continued; the message names the reason and the remedy."""


class Storage(WrapperStore[Store]):
    """A Zarr store whose every failure is a `StoreError`: no other error can be taken for one.

    Args:
        store: The Zarr store.
        url: Its name in messages.
    """

    def __init__(self, store: Store, url: str) -> None:
        super().__init__(store)
        self._url = url

    def _with_store(self, store: Store) -> "Storage":
        return Storage(store, self._url)

    @property
    def folder(self) -> Path | None:
        """The folder, if the store lies in one."""
        return self._store.root if isinstance(self._store, LocalStore) else None

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Read an object or a part of it; None if there is none."""
        with self._failing("read"):
            return await self._store.get(key, prototype, byte_range)

    async def exists(self, key: str) -> bool:
        """Whether there is an object."""
        with self._failing("read"):
            return await self._store.exists(key)

    async def set(self, key: str, value: Buffer) -> None:
        """Write an object."""
        with self._failing("written"):
            await self._store.set(key, value)

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        """Write an object unless there is one."""
        with self._failing("written"):
            await self._store.set_if_not_exists(key, value)

    async def delete(self, key: str) -> None:
        """Delete an object."""
        with self._failing("written"):
            await self._store.delete(key)

    async def delete_dir(self, prefix: str) -> None:
        """Delete every object under a prefix."""
        with self._failing("written"):
            await self._store.delete_dir(prefix)

    async def is_empty(self, prefix: str) -> bool:
        """Whether there is no object under a prefix."""
        with self._failing("read"):
            return await self._store.is_empty(prefix)

    def list(self) -> AsyncIterator[str]:
        """Keys of all objects."""
        return self._listed(self._store.list())

    def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Keys of all objects under a prefix."""
        return self._listed(self._store.list_prefix(prefix))

    def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Names of what lies right under a prefix."""
        return self._listed(self._store.list_dir(prefix))

    async def _listed(self, names: AsyncIterator[str]) -> AsyncIterator[str]:
        with self._failing("read"):
            async for name in names:
                yield name

    def flush(self, path: str, *, below: bool) -> None:
        """See to it that a power cut does not take what was written.

        Args:
            path: Node whose objects are to reach the disk.
            below: Those of every node below it as well.
        """
        if self.folder is not None:
            node = self.folder / path
            ways = [self.folder / parent for parent in PurePosixPath(path).parents]
            with self._failing("written"):
                for place in [node, *node.glob("**/*" if below else "zarr.json"), *ways]:
                    _to_disk(place)

    def clear_partials(self, *places: str, older_than_seconds: int) -> None:
        """Remove temporary files that killed runs have left.

        Args:
            places: Glob patterns of the folders to clear, each with a slash at its end.
            older_than_seconds: Spare younger ones: somebody else may be writing them.
        """
        if self.folder is None:
            return
        youngest = time.time() - older_than_seconds
        files = [file for place in places for file in self.folder.glob(f"{place}*{_PARTIAL}")]
        with self._failing("written"):
            for file in files:
                with suppress(FileNotFoundError):
                    if file.stat().st_mtime <= youngest:
                        file.unlink()

    @contextmanager
    def _failing(self, verb: str) -> Iterator[None]:
        """Say in one line why the storage cannot be read or written."""
        try:
            yield
        except Exception as error:  # every backend has its own errors, many of them no OSError
            if getattr(error, "errno", None) in _FULL:
                raise StoreError(
                    f"the disk is full at {self._url!r}; what is finished is kept: "
                    "free some room and run again"
                ) from error
            raise StoreError(f"{self._url!r} cannot be {verb}: {_reason(error)}") from error


def open_storage(url: str | Store, *, read_only: bool = False) -> Storage:
    """Open a place for a clip store; what is there is not looked at yet.

    Args:
        url: Folder, fsspec URL or Zarr store object.
        read_only: Refuse to write.

    Raises:
        ImportError: If the URL's protocol needs a library that is not installed.
        ValueError: If the URL's protocol is unknown.
    """
    if isinstance(url, Store):
        return Storage(url, str(url))
    place = url.removeprefix("file://").removeprefix("local://")
    if "://" not in place and "::" not in place:
        return Storage(LocalStore(place, read_only=read_only), url)
    # Listings must not be remembered: other processes write there as well.
    options = {"use_listings_cache": False}
    return Storage(FsspecStore.from_url(url, storage_options=options, read_only=read_only), url)


def absolute_url(url: str) -> str:
    """The same place for processes that work in another folder."""
    return url if "://" in url else os.path.abspath(url)  # noqa: PTH100


def refuse_other_folder(storage: Storage, url: str) -> None:
    """A folder that holds other things would be hard to tell from the store afterwards.

    Raises:
        StoreError: If there is such a folder.
    """
    if storage.folder is not None and storage.folder.is_dir():
        paths = list(storage.folder.iterdir())
        names = {path.name for path in paths if path.suffix != _PARTIAL}
        if names and "zarr.json" not in names:
            raise StoreError(f"{url!r} is a folder with other things in it; choose a new name")


def refuse_file(storage: Storage, url: str) -> None:
    """A store is a folder: it can neither be a file nor lie below one.

    Raises:
        StoreError: If there is such a file.
    """
    if storage.folder is None:
        return
    for place in (storage.folder, *storage.folder.parents):
        if place.is_file():
            how = "is a file" if place == storage.folder else f"lies below the file {str(place)!r}"
            raise StoreError(f"store must be a folder or a URL, but {url!r} {how}; choose another")


def damaged(url: str | Store) -> StoreError:
    """What to raise where an attributes file cannot be read."""
    return StoreError(
        f"{str(url)!r} is damaged: its zarr.json is no JSON; delete the store and run preprocess"
    )


def _to_disk(place: Path) -> None:
    try:
        descriptor = os.open(place, os.O_RDONLY)
    except FileNotFoundError:  # somebody's temporary file that has its name by now
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text).splitlines()[0]
