from collections.abc import Callable
from pathlib import Path

import av
import numpy as np

from asd_experiments.data.store import ClipStore
from preprocess.overlay import write_overlay


def read_film(path: Path) -> tuple[av.VideoStream, list[np.ndarray]]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        return stream, pictures


def test_film_shows_crop_and_flow_side_by_side(small_store: ClipStore, tmp_path: Path) -> None:
    facts = small_store.videos.iloc[1].to_dict()
    write_overlay(small_store, facts, tmp_path / "film.mp4")
    stream, pictures = read_film(tmp_path / "film.mp4")
    assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
    assert float(stream.average_rate) == 25 and len(pictures) == 20
    picture = pictures[3].astype(int)
    assert picture.shape == (224, 448, 3)
    body = np.kron(small_store.read(facts["key"], 3, 4).mask[0], np.ones((7, 7))) == 1
    crop, motion = picture[:, :224], picture[:, 224:]
    assert np.median(crop[body]) > 180  # the bright square
    assert np.median(motion[body].max(axis=1)) > 200 and np.median(motion[~body]) < 20
    last = pictures[-1][:, 224:].astype(int)
    assert last[60:160].max() < 30  # no flow leads on from the last frame


def test_every_picture_carries_its_own_number(small_store: ClipStore, tmp_path: Path) -> None:
    write_overlay(small_store, small_store.videos.iloc[1].to_dict(), tmp_path / "film.mp4")
    corners = [p[200:, :40].astype(int) for p in read_film(tmp_path / "film.mp4")[1]]
    bright = [(corner.min(axis=2) > 180).sum() for corner in corners]
    assert min(bright) > 10
    assert np.abs(corners[0] - corners[1]).max() > 100


def test_film_ends_after_ten_seconds(make_store: Callable[..., ClipStore], tmp_path: Path) -> None:
    store = make_store(2, num_frames=270)
    write_overlay(store, store.videos.iloc[0].to_dict(), tmp_path / "film.mp4")
    assert len(read_film(tmp_path / "film.mp4")[1]) == 250
