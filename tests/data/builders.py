"""Small stores for tests: videos that are told apart by a number."""

from collections.abc import Iterable

from zarr.abc.store import Store

from asd_experiments.data.store_layout import video_key
from asd_experiments.data.store_writer import StoreWriter
from tests.conftest import facts_of, moving_square, presence_of

RECIPE = {"size": 32, "flow": "dis"}
BACKENDS = {"opencv": "1"}
WEIGHTS = {"flow": b"weights of the flow", "people": bytes(1000)}


def key_of(number: int) -> str:
    return video_key(facts_of(number, 1).source_sha256)


def labels_of(*numbers: int) -> list[dict[str, object]]:
    return [
        {"video": f"v{n}", "patient_id": f"P{n}", "label": "ASD", "age": None, "key": key_of(n)}
        for n in numbers
    ]


def described(number: int, num_frames: int):
    facts = facts_of(number, num_frames)
    return facts, presence_of(facts)


def frames(num: int, seed: int = 0):
    return moving_square(num, size=32, step=2, seed=seed)


def write(writer: StoreWriter, number: int, num_frames: int = 20) -> None:
    writer.write(*described(number, num_frames), frames(num_frames, seed=number))


def run_like_a_command(url: str | Store, numbers: Iterable[int]) -> str:
    """Open or continue a store, write the videos that it lacks, finish it; the digest."""
    writer = StoreWriter(url, RECIPE, BACKENDS, WEIGHTS)
    for number in numbers:
        if writer.facts(key_of(number)) is None:
            write(writer, number)
    return writer.finish(labels_of(*numbers), [])
