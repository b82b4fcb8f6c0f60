import numpy as np
import pytest
import zarr

from asd_experiments.data import store_layout, store_writer
from asd_experiments.data.array_writer import CHUNK_FRAMES
from asd_experiments.data.storage import StoreError
from asd_experiments.data.store import ClipStore
from asd_experiments.data.store_layout import PreparedFrame, video_key
from asd_experiments.data.store_writer import StoreWriter
from tests.conftest import facts_of
from tests.data.builders import RECIPE, described, frames, key_of, labels_of


def test_what_is_written_is_read(tmp_path):
    url = str(tmp_path / "s.zarr")
    writer = StoreWriter(url, RECIPE, {"opencv": "1"}, {"flow": b"weights"})
    written = list(frames(20))
    writer.write(*described(1, 20), iter(written))
    digest = writer.finish(labels_of(1), [{"video": "bad.mp4", "reason": "no person"}])
    store = ClipStore(url)
    assert store.digest == digest and store.size == 32 and store.weights() == {"flow": b"weights"}
    assert store.failures == [{"video": "bad.mp4", "reason": "no person"}]
    row = store.videos.iloc[0]
    assert (row["patient_id"], row["num_frames"], row["stretches"]) == ("P1", 20, [[5, 20]])
    part = store.read(row["key"], 5, 17)
    assert np.array_equal(part.rgb, np.stack([f.rgb for f in written[5:17]]))
    assert np.array_equal(part.mask, np.stack([f.mask for f in written[5:17]]))
    assert part.flow.shape == (11, 32, 32, 2)
    assert np.array_equal(part.flow, np.stack([f.flow for f in written[6:17]]))
    assert np.array_equal(store.presence(row["key"]), described(1, 20)[1])
    assert np.array_equal(store.track(row["key"]), np.stack([f.window for f in written]))


def test_the_layout_tells_of_every_group_array_and_attribute(tmp_path):
    url = str(tmp_path / "s.zarr")
    writer = StoreWriter(url, RECIPE, {}, {"flow": b"weights"})
    writer.write(*described(1, 4), frames(4))
    writer.finish(labels_of(1), [])
    nodes = dict(zarr.open_group(url).members(max_depth=None))
    assert len(nodes) == 9  # weights and the flow's, videos and one with its five arrays
    names = {name.split("/")[-1] for name in nodes} - {key_of(1), "flow"}
    names |= {name for node in (zarr.open_group(url), *nodes.values()) for name in node.attrs}
    assert [name for name in names if name not in store_layout.__doc__.split("\n\n")[2]] == []


@pytest.mark.parametrize(("start", "stop"), [(-1, 4), (4, 4), (0, 21)])
def test_frames_outside_the_video_are_refused(small_store, start, stop):
    with pytest.raises(IndexError, match="do not lie in a video of 20 frames"):
        small_store.read(small_store.videos["key"].iloc[0], start, stop)


def test_a_video_that_breaks_off_is_invisible_and_can_be_written_again(tmp_path):
    url = str(tmp_path / "s.zarr")
    writer = StoreWriter(url, RECIPE, {})

    def breaks_off():
        yield from frames(10)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        writer.write(*described(1, 20), breaks_off())
    key = video_key(facts_of(1, 20).source_sha256)
    assert writer.facts(key) is None
    with pytest.raises(StoreError, match=f"video {key} is not in the store"):
        writer.finish(labels_of(1), [])
    with pytest.raises(StoreError, match="not finished"):
        ClipStore(url)
    again = StoreWriter(url, RECIPE, {})
    again.write(*described(1, 20), frames(20))
    assert again.facts(key) == facts_of(1, 20)


def test_too_few_frames_are_not_committed(tmp_path):
    writer = StoreWriter(str(tmp_path / "s.zarr"), RECIPE, {})
    with pytest.raises(StoreError, match="12 frames came, 20 were announced"):
        writer.write(*described(1, 20), frames(12))
    assert writer.facts(video_key(facts_of(1, 20).source_sha256)) is None


def test_a_rerun_ends_with_the_digest_of_an_undisturbed_run(tmp_path):
    whole = StoreWriter(str(tmp_path / "a.zarr"), RECIPE, {})
    for number in (1, 2):
        whole.write(*described(number, 12), frames(12, seed=number))
    expected = whole.finish(labels_of(1, 2), [])
    first = StoreWriter(str(tmp_path / "b.zarr"), RECIPE, {})
    first.write(*described(2, 12), frames(12, seed=2))
    second = StoreWriter(str(tmp_path / "b.zarr"), RECIPE, {})
    assert second.facts(key_of(2)) is not None
    second.write(*described(1, 12), frames(12, seed=1))
    assert second.finish(labels_of(1, 2), []) == expected


def test_the_digest_follows_content_labels_and_recipe(tmp_path):
    def digest(name: str, seed: int, patient: str, recipe: dict[str, object]) -> str:
        writer = StoreWriter(str(tmp_path / name), recipe, {})
        writer.write(*described(1, 12), frames(12, seed=seed))
        return writer.finish([labels_of(1)[0] | {"patient_id": patient}], [])

    reference = digest("a", 1, "P1", RECIPE)
    assert digest("b", 1, "P1", RECIPE) == reference
    others = [
        digest("c", 2, "P1", RECIPE),
        digest("d", 1, "P2", RECIPE),
        digest("e", 1, "P1", {**RECIPE, "flow": "raft_small"}),
    ]
    assert len({reference, *others}) == 4


def test_other_settings_never_mix_with_old_results(tmp_path):
    url = str(tmp_path / "s.zarr")
    StoreWriter(url, RECIPE, {"opencv": "1"})
    with pytest.raises(
        StoreError, match=r"made in another way \(size is 32 there, 64 now\); choose another store"
    ):
        StoreWriter(url, {**RECIPE, "size": 64}, {"opencv": "1"})
    with pytest.raises(StoreError, match="opencv is '1' there, '2' now"):
        StoreWriter(url, RECIPE, {"opencv": "2"})


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    (tmp_path / "walk.mp4").touch()
    with pytest.raises(StoreError, match="a folder with other things in it"):
        StoreWriter(str(tmp_path), RECIPE, {})
    assert [path.name for path in tmp_path.iterdir()] == ["walk.mp4"]


def writer_at(url: str) -> StoreWriter:
    return StoreWriter(url, RECIPE, {})


@pytest.mark.parametrize("opened", [ClipStore, writer_at])
@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_store_is_no_file_and_lies_in_none(tmp_path, opened, scheme):
    file = tmp_path / "labels.csv"
    file.write_text("video")
    url = f"{scheme}{file}"
    with pytest.raises(StoreError, match=rf"store must be a folder .*{file}' is a file; choose"):
        opened(url)
    for below in ("x", "x/y"):
        with pytest.raises(StoreError, match=rf"/{below}' lies below the file '{file}'; choose"):
            opened(f"{url}/{below}")
    assert file.read_text() == "video"


def test_a_store_that_is_not_there_or_of_another_schema_is_refused(tmp_path, monkeypatch):
    with pytest.raises(StoreError, match="there is no clip store"):
        ClipStore(str(tmp_path / "none.zarr"))
    monkeypatch.setattr(store_writer, "SCHEMA", 99)
    StoreWriter(str(tmp_path / "s.zarr"), RECIPE, {})
    monkeypatch.undo()
    with pytest.raises(StoreError, match="has schema 99"):
        ClipStore(str(tmp_path / "s.zarr"))


def test_memory_does_not_grow_with_length(tmp_path):
    """Frames are freed a chunk at a time: count those alive while a long video is written."""
    import weakref

    alive: set[int] = set()
    most = 0

    def counted():
        nonlocal most
        for number, frame in enumerate(frames(100)):
            rgb = frame.rgb.copy()
            alive.add(number)
            weakref.finalize(rgb, alive.discard, number)
            most = max(most, len(alive))
            yield PreparedFrame(rgb, frame.mask, frame.flow, frame.window)
            del rgb

    StoreWriter(str(tmp_path / "s.zarr"), RECIPE, {}).write(*described(1, 100), counted())
    assert most <= 2 * CHUNK_FRAMES


def test_a_store_is_reopened_in_a_forked_process(small_store):
    from torch.utils.data import DataLoader, Dataset

    class Frames(Dataset):
        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> int:
            return int(small_store.read(small_store.videos["key"].iloc[index], 0, 4).rgb.sum())

    alone = [Frames()[index] for index in range(4)]
    assert [int(batch) for batch in DataLoader(Frames(), num_workers=2)] == alone


def test_chunks_are_a_few_frames_long(small_store):
    root = zarr.open_group(small_store.url, mode="r")
    array = root[f"videos/{small_store.videos['key'].iloc[0]}/rgb"]
    assert array.chunks == (16, 32, 32, 3)
