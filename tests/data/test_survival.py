"""A store that is killed, filled up or damaged at any moment, and one with several writers."""

import json
import multiprocessing
import os
import shutil
import time
from collections import Counter
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import zarr
from zarr.storage import LocalStore, MemoryStore, WrapperStore

from asd_experiments.data import storage as storage_module
from asd_experiments.data.storage import StoreError
from asd_experiments.data.store import ClipStore
from asd_experiments.data.store_writer import StoreWriter
from tests.data.builders import (
    BACKENDS,
    RECIPE,
    WEIGHTS,
    described,
    frames,
    key_of,
    labels_of,
    run_like_a_command,
    write,
)


class Spied(WrapperStore):
    """Counts how often which method is called."""

    def __init__(self, store, calls: Counter | None = None) -> None:
        super().__init__(store)
        self.calls = Counter() if calls is None else calls

    def _with_store(self, store):
        return type(self)(store, self.calls)

    def __getattribute__(self, name):
        if name in ("get", "exists", "list", "list_dir", "list_prefix", "set", "is_empty"):
            self.calls[name] += 1
        return super().__getattribute__(name)


class Dying(WrapperStore):
    """Carries out so many writes and deletions, and none after them."""

    def __init__(self, store, num_writes: int) -> None:
        super().__init__(store)
        self.left = num_writes

    def _with_store(self, store):
        return type(self)(store, self.left)

    def _live(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("killed")

    async def set(self, key, value):
        self._live()
        await super().set(key, value)

    async def set_if_not_exists(self, key, value):
        self._live()
        await super().set_if_not_exists(key, value)

    async def delete(self, key):
        self._live()
        await super().delete(key)

    async def delete_dir(self, prefix):
        self._live()
        await super().delete_dir(prefix)


def content_of(memory: MemoryStore) -> dict[str, bytes]:
    return {key: value.to_bytes() for key, value in memory._store_dict.items()}


def files_of(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_rerun_mends_what_a_run_that_died_at_any_write_left():
    undisturbed = MemoryStore()
    digest = run_like_a_command(undisturbed, (1, 2))
    num_cut = 0
    for num_writes in count():
        memory = MemoryStore()
        try:
            run_like_a_command(Dying(memory, num_writes), (1, 2))
            break
        except StoreError:
            num_cut += 1
        with pytest.raises(StoreError, match=r"no clip store|not finished"):
            ClipStore(memory)
        assert run_like_a_command(memory, (1, 2)) == digest
        assert content_of(memory) == content_of(undisturbed)
        assert ClipStore(memory).weights() == WEIGHTS
    assert num_cut > 40


def test_a_run_that_dies_leaves_a_finished_store_as_it_is():
    memory = MemoryStore()
    before = run_like_a_command(memory, (1,))
    for num_writes in (0, 1, 4, 8):
        with pytest.raises(StoreError, match="cannot be written: killed"):
            run_like_a_command(Dying(memory, num_writes), (1, 2))
        store = ClipStore(memory)
        assert store.digest == before and list(store.videos["key"]) == [key_of(1)]
    assert run_like_a_command(memory, (1, 2)) != before


def test_a_folder_with_nothing_but_a_killed_write_is_continued(tmp_path):
    url = tmp_path / "s.zarr"
    url.mkdir()
    (url / "zarr.0123456789abcdef.partial").write_text("{")
    expected = run_like_a_command(str(tmp_path / "other.zarr"), (1,))
    assert run_like_a_command(str(url), (1,)) == expected


def test_leftovers_are_removed_when_their_place_is_written_again(tmp_path):
    url = tmp_path / "s.zarr"
    writer = StoreWriter(str(url), RECIPE, BACKENDS, WEIGHTS)
    chunk = url / f"videos/{key_of(1)}/rgb/c/0/0/0/0.0123.partial"
    chunk.parent.mkdir(parents=True)
    at_work = chunk.with_name("0.4567.partial")
    old, young = url / "weights/flow/c/0.0123.partial", url / "zarr.0123.partial"
    for place, age in ((chunk, 3), (at_work, 0), (old, 2 * 3600), (young, 60)):
        place.touch()
        os.utime(place, (time.time() - age, time.time() - age))
    write(writer, 1)
    assert not chunk.exists() and old.exists()
    assert at_work.exists(), "somebody else may be writing it"
    writer.finish(labels_of(1), [])
    assert not old.exists()
    assert young.exists(), "somebody else may be writing it"


def test_a_power_cut_costs_at_most_the_video_at_work(tmp_path):
    """A power cut can leave any file empty that was not seen to the disk."""
    whole, cut = tmp_path / "whole.zarr", tmp_path / "cut.zarr"
    digest = run_like_a_command(str(whole), (1, 2))
    writer = StoreWriter(str(cut), RECIPE, BACKENDS, WEIGHTS)
    write(writer, 1)
    with pytest.raises(StoreError, match="12 frames came, 20 were announced"):
        writer.write(*described(2, 20), frames(12))
    emptied = [path for path in (cut / f"videos/{key_of(2)}").rglob("*") if path.is_file()]
    assert len(emptied) > 5
    for path in emptied:
        path.write_bytes(b"")
    assert writer.facts(key_of(2)) is None
    assert run_like_a_command(str(cut), (1, 2)) == digest
    assert files_of(cut) == files_of(whole)


def test_everything_is_on_the_disk_before_a_video_is_visible(tmp_path, monkeypatch):
    url = tmp_path / "s.zarr"
    writer = StoreWriter(str(url), RECIPE, BACKENDS)
    safe: dict[Path, bool] = {}
    to_disk = storage_module._to_disk

    def noted(place: Path) -> None:
        to_disk(place)
        safe[place] = writer.facts(key_of(1)) is not None

    monkeypatch.setattr(storage_module, "_to_disk", noted)
    write(writer, 1)
    group = url / "videos" / key_of(1)
    visible = [place for place, already in safe.items() if already]
    assert sorted(visible) == [url, url / "videos", group, group / "zarr.json"]
    assert safe.keys() == {url, url / "videos", group, *group.rglob("*")}


def test_damage_is_told(tmp_path):
    url = tmp_path / "s.zarr"
    run_like_a_command(str(url), (1,))
    chunk = next(path for path in (url / "weights/flow").rglob("*") if path.name == "0")
    chunk.unlink()
    with pytest.raises(StoreError, match=r"weights of flow in .* are damaged; delete the store"):
        ClipStore(str(url)).weights()
    (url / "zarr.json").write_bytes(b"")
    for open_it in (ClipStore, lambda u: StoreWriter(u, RECIPE, BACKENDS, WEIGHTS)):
        with pytest.raises(StoreError, match=r"is damaged: its zarr\.json is no JSON; delete the"):
            open_it(str(url))


def test_another_zarr_group_is_left_alone(tmp_path):
    zarr.open_group(str(tmp_path / "g.zarr"), mode="w", attributes={"mine": 1})
    with pytest.raises(StoreError, match="holds something else; choose a new name"):
        StoreWriter(str(tmp_path / "g.zarr"), RECIPE, BACKENDS)


def test_a_video_that_has_left_the_labels_is_not_visible(tmp_path):
    url = str(tmp_path / "s.zarr")
    expected = run_like_a_command(str(tmp_path / "other.zarr"), (2,))
    both = run_like_a_command(url, (1, 2))
    assert run_like_a_command(url, (2,)) == expected
    store = ClipStore(url)
    assert list(store.videos["key"]) == [key_of(2)]
    before = files_of(tmp_path / "s.zarr")
    assert run_like_a_command(url, (1, 2)) == both
    changed = {k for k, v in files_of(tmp_path / "s.zarr").items() if before.get(k) != v}
    assert changed == {"zarr.json"}, "nothing is computed again"


def test_opening_changes_nothing_and_reads_no_video(tmp_path):
    url = tmp_path / "s.zarr"
    run_like_a_command(str(url), range(1, 9))
    before = {path: path.stat().st_mtime_ns for path in url.rglob("*")}
    spy = Spied(LocalStore(str(url)))
    writer = StoreWriter(spy, RECIPE, BACKENDS, WEIGHTS)
    assert spy.calls == {"get": 1 + 2 * len(WEIGHTS)}
    assert writer.facts(key_of(3)) is not None and writer.facts("none") is None
    assert spy.calls == {"get": 1 + 2 * len(WEIGHTS) + 2}
    assert before == {path: path.stat().st_mtime_ns for path in url.rglob("*")}


def test_settings_never_mix_even_if_two_runs_make_the_root_at_once(tmp_path):
    url = tmp_path / "s.zarr"
    slow = StoreWriter(str(url), RECIPE, BACKENDS)
    write(slow, 1)
    origin = json.loads((url / "zarr.json").read_bytes())
    origin["attributes"]["recipe"]["flow"] = "raft_small"  # as if the other had come in between
    (url / "zarr.json").write_text(json.dumps(origin))
    other = StoreWriter(str(url), {**RECIPE, "flow": "raft_small"}, BACKENDS)
    assert other.facts(key_of(1)) is None
    with pytest.raises(StoreError, match=r"made in another way \(flow is 'raft_small' there"):
        slow.finish(labels_of(1), [])
    write(other, 1, num_frames=12)
    assert slow.facts(key_of(1)) is None
    other.finish(labels_of(1), [])
    assert ClipStore(str(url)).read(key_of(1), 0, 12).rgb.any()
    assert zarr.open_group(str(url))[f"videos/{key_of(1)}/rgb"].shape[0] == 12


def share(url: str, start, numbers: list[int]) -> None:
    start.wait(timeout=30)
    writer = StoreWriter(url, RECIPE, BACKENDS, WEIGHTS)
    for number in numbers:
        write(writer, number)


def test_three_processes_fill_one_store(tmp_path):
    """They make the root at the same moment, and meet at videos 7 and 8."""
    together, alone = tmp_path / "together.zarr", tmp_path / "alone.zarr"
    digest = run_like_a_command(str(alone), range(1, 9))
    fork = multiprocessing.get_context("fork")
    start = fork.Barrier(3)
    shares = [[1, 7, 4, 8], [7, 2, 8, 5], [3, 7, 8, 6]]
    processes = [fork.Process(target=share, args=(str(together), start, s)) for s in shares]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert run_like_a_command(str(together), range(1, 9)) == digest
    assert files_of(together) == files_of(alone)


def test_a_writer_sees_what_others_have_written_since(tmp_path):
    url = str(tmp_path / "s.zarr")
    first, second = (StoreWriter(url, RECIPE, BACKENDS) for _ in range(2))
    assert second.facts(key_of(1)) is None
    write(first, 1)
    assert second.facts(key_of(1)) is not None
    assert second.finish(labels_of(1), []) == first.finish(labels_of(1), [])


def test_a_reader_is_not_disturbed_by_a_video_that_is_written_again(tmp_path):
    url = str(tmp_path / "s.zarr")
    run_like_a_command(url, (1,))
    store = ClipStore(url)
    expected = store.read(key_of(1), 0, 20)

    def read_while_written():
        for frame in frames(20, seed=1):
            assert np.array_equal(ClipStore(url).read(key_of(1), 0, 20).rgb, expected.rgb)
            yield frame

    writer = StoreWriter(url, RECIPE, BACKENDS, WEIGHTS)
    writer.write(*described(1, 20), read_while_written())
    assert np.array_equal(store.read(key_of(1), 0, 20).flow, expected.flow)


def test_bytes_do_not_depend_on_the_way_to_the_folder(tmp_path):
    digest = run_like_a_command(str(tmp_path / "a.zarr"), (1,))
    assert run_like_a_command(f"file://{tmp_path}/b.zarr", (1,)) == digest
    assert files_of(tmp_path / "a.zarr") == files_of(tmp_path / "b.zarr")
    assert ClipStore(f"file://{tmp_path}/b.zarr").digest == digest
    shutil.copytree(tmp_path / "b.zarr", tmp_path / "c.zarr")
    assert ClipStore(str(tmp_path / "c.zarr")).digest == digest
    assert json.loads((tmp_path / "c.zarr/zarr.json").read_bytes())["node_type"] == "group"


def test_a_full_disk_is_told_in_one_line(tmp_path, monkeypatch):
    url = str(tmp_path / "s.zarr")
    writer = StoreWriter(url, RECIPE, BACKENDS)
    write(writer, 1)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("zarr.storage._local._put", full)
        with pytest.raises(StoreError, match=r"the disk is full at .*; what is finished is kept"):
            write(writer, 2)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(StoreError, match=r"the disk is full at .*: free some room and run"):
            write(writer, 2)
    assert writer.facts(key_of(1)) is not None and writer.facts(key_of(2)) is None


def test_an_error_of_the_decoder_stays_what_it_is(tmp_path):
    def breaks():
        yield from frames(17)
        raise OSError(28, "No space left on device")

    writer = StoreWriter(str(tmp_path / "s.zarr"), RECIPE, BACKENDS)
    with pytest.raises(OSError, match="No space left"):
        writer.write(*described(1, 20), breaks())


def test_memory_urls_work(tmp_path):
    digest = run_like_a_command(str(tmp_path / "s.zarr"), (1,))
    assert run_like_a_command(f"memory://{tmp_path.name}/s.zarr", (1,)) == digest
    assert ClipStore(f"memory://{tmp_path.name}/s.zarr").read(key_of(1), 0, 20).rgb.any()


def test_an_unknown_protocol_is_told():
    with pytest.raises(StoreError, match=r"'foo://s\.zarr' cannot be opened: Protocol"):
        ClipStore("foo://s.zarr")
    with pytest.raises(StoreError, match=r"no clip store can be made at 'foo://s\.zarr': P"):
        StoreWriter("foo://s.zarr", RECIPE, BACKENDS)
