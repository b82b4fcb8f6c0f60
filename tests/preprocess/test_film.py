from pathlib import Path

import av
import numpy as np
import pytest

from preprocess.film import numbered, write_film


def test_pictures_come_back_in_their_order_and_rate(tmp_path: Path) -> None:
    greys = (0, 80, 160, 240)
    path = tmp_path / "film.mp4"
    write_film((np.full((32, 48, 3), grey, np.uint8) for grey in greys), 6.25, path)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        assert float(stream.average_rate) == 6.25
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
    assert [picture.shape for picture in pictures] == [(32, 48, 3)] * 4
    assert [picture.mean() for picture in pictures] == pytest.approx(greys, abs=4)


def test_a_number_stands_in_the_lower_left_corner() -> None:
    picture = numbered(np.full((100, 100, 3), 128, np.uint8), 7)
    changed = np.argwhere((picture != 128).any(axis=2))
    assert len(changed) and changed[:, 0].min() > 70 and changed[:, 1].max() < 30
