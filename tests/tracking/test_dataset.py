import hashlib

from asd_experiments.data.store import ClipStore
from asd_experiments.data.store_layout import video_key
from asd_experiments.data.store_writer import StoreWriter
from asd_experiments.tracking.dataset import store_origin
from tests.conftest import facts_of, moving_square, presence_of


def test_weights_are_told_by_what_the_store_keeps_of_them(tmp_path):
    url, facts = str(tmp_path / "s.zarr"), facts_of(1, 4)
    writer = StoreWriter(url, {"size": 32}, {"opencv": "1"}, {"flow": b"some weights"})
    writer.write(facts, presence_of(facts), moving_square(4, size=32, step=1, seed=1))
    row = {"video": "v.mp4", "patient_id": "P", "label": "A", "key": video_key(facts.source_sha256)}
    digest = writer.finish([row], [])
    assert store_origin(ClipStore(url)) == {
        "digest": digest,
        "recipe": {"size": 32},
        "backends": {"opencv": "1"},
        "weights_sha256": {"flow": hashlib.sha256(b"some weights").hexdigest()},
    }
