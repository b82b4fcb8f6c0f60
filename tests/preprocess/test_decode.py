import wave
from pathlib import Path

import numpy as np
import pytest

from preprocess.decode import DecodeError, frame_rate_hz, probe
from tests.preprocess.films import RATE_HZ, film, walk, wall, write_video


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "a person's name.mp4"
    pictures = film(walk(96, 160, 40), wall(96, 160))
    return write_video(path, pictures, {"movflags": "faststart"})


def test_probe_counts_frames(video: Path) -> None:
    facts = probe(video)
    assert (facts.num_frames, facts.height, facts.width) == (40, 96, 160)
    assert facts.frame_rate_hz == pytest.approx(RATE_HZ)


def test_pictures_come_again_and_in_part(video: Path) -> None:
    facts = probe(video)
    pictures = list(facts.pictures())
    assert len(pictures) == 40
    assert pictures[0].shape == (96, 160, 3)
    np.testing.assert_array_equal(pictures, list(facts.pictures()))
    np.testing.assert_array_equal(pictures[3::10], list(facts.pictures(start=3, step=10)))
    small = next(facts.pictures(size=(48, 80)))
    assert small.shape == (48, 80, 3)
    blocks = pictures[0].reshape(48, 2, 80, 2, 3).mean(axis=(1, 3, 4))
    assert np.abs(small.mean(axis=2) - blocks).mean() < 2


def test_truncated_video_is_refused(video: Path, tmp_path: Path) -> None:
    cut_off = tmp_path / "secret.mp4"
    cut_off.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    with pytest.raises(DecodeError, match="truncated") as caught:
        probe(cut_off)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"this is no video" * 100])
def test_other_files_are_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "secret.mp4"
    file.write_bytes(content)
    with pytest.raises(DecodeError, match="cannot be decoded at its start: ") as caught:
        probe(file)
    assert "secret" not in str(caught.value)


def test_sound_alone_is_refused(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "sound.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(8000))
    with pytest.raises(DecodeError, match="it holds no video stream"):
        probe(tmp_path / "sound.wav")


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match="No such file"):
        probe(tmp_path / "none.mp4")


def test_frame_rate_survives_rounding_and_dropped_frames() -> None:
    exact = np.arange(100) / 29.97
    assert frame_rate_hz(exact.round(3).tolist()) == pytest.approx(29.97, abs=0.02)
    assert frame_rate_hz(np.delete(np.arange(100) / 25, [7, 8, 50]).tolist()) == pytest.approx(25)
    assert frame_rate_hz([0.0]) is None
