from collections.abc import AsyncIterator, Callable

import pytest
import zarr
from zarr.core.sync import sync
from zarr.storage import MemoryStore

from asd_experiments.data.storage import Storage, StoreError, open_storage


class _Unreachable(MemoryStore):
    """A store whose server does not answer when it is to list something."""

    async def is_empty(self, prefix: str) -> bool:
        raise ConnectionError("no answer")

    async def list(self) -> AsyncIterator[str]:
        yield "zarr.json"
        raise ConnectionError("no answer")

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        yield f"{prefix}zarr.json"
        raise ConnectionError("no answer")

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        yield "videos"
        raise ConnectionError("no answer")


async def _all(names: AsyncIterator[str]) -> list[str]:
    return [name async for name in names]


@pytest.mark.parametrize(
    "look",
    [
        lambda storage: sync(storage.is_empty("")),
        lambda storage: sync(_all(storage.list())),
        lambda storage: sync(_all(storage.list_prefix(""))),
        lambda storage: sync(_all(storage.list_dir(""))),
        lambda storage: list(zarr.create_group(storage)),
    ],
    ids=["is_empty", "list", "list_prefix", "list_dir", "group"],
)
def test_a_listing_that_fails_is_a_store_error(look: Callable[[Storage], object]) -> None:
    with pytest.raises(StoreError, match=r"cannot be read: no answer$"):
        look(Storage(_Unreachable(), "s3://bucket/store"))


def test_a_storage_lists_what_is_there(tmp_path) -> None:
    storage = open_storage(str(tmp_path / "store.zarr"))
    assert sync(storage.is_empty(""))
    zarr.create_group(storage).create_group("videos")
    assert not sync(storage.is_empty(""))
    assert sorted(sync(_all(storage.list_dir("")))) == ["videos", "zarr.json"]
    assert sorted(sync(_all(storage.list()))) == ["videos/zarr.json", "zarr.json"]
    assert sync(_all(storage.list_prefix("videos/"))) == ["videos/zarr.json"]
