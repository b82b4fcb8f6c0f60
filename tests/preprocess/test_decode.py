import wave
from pathlib import Path

import numpy as np
import pytest

from preprocess import decode
from preprocess.decode import DecodeError, probe
from preprocess.timing import frame_rate_hz
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
    small = next(facts.pictures(2))
    assert small.shape == (48, 80, 3)
    luma = np.array([0.299, 0.587, 0.114])  # the film's colours change from pixel to pixel
    blocks = pictures[0].reshape(48, 2, 80, 2, 3).mean(axis=(1, 3)) @ luma
    assert np.abs(small @ luma - blocks).mean() < 1


def test_pictures_at_hand_are_those_that_decode_again(
    video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = probe(video, least_height=48)
    assert kept.shrink == 2
    at_hand = list(kept.pictures(2, start=1, step=3))
    monkeypatch.setattr(decode, "_MOST_KEPT_BYTES", 39 * at_hand[0].nbytes)
    again = probe(video, least_height=48)
    assert kept.kept is not None
    assert again.kept is None
    np.testing.assert_array_equal(at_hand, list(again.pictures(2, start=1, step=3)))


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
