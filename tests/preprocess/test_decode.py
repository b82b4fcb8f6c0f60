import errno
import gc
import io
import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from asd_experiments.data.video_file import DEFAULT_BOUNDS, VideoBounds
from preprocess import decode
from preprocess.decode import DecodeError, probe
from preprocess.scratch import ScratchError
from tests.preprocess.encode import damage, encode, number_of, numbered
from tests.preprocess.films import RATE_HZ, film, walk, wall, write_video

KINDS = [
    ("libx264", "mp4"),
    ("libx264", "mov"),
    ("libx264", "mkv"),
    ("libx264", "avi"),
    ("libx264", "h264"),
    ("libx265", "mp4"),
    ("libvpx-vp9", "webm"),
    ("libvpx-vp9", "mp4"),
    ("mpeg4", "avi"),
    ("mpeg4", "mp4"),
    ("mpeg2video", "ts"),
    ("mjpeg", "avi"),
    ("mjpeg", "mov"),
    ("mjpeg", "mjpeg"),
    ("ffv1", "mkv"),
]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "a person's näme.mp4"
    pictures = film(walk(96, 160, 40), wall(96, 160))
    return write_video(path, pictures, {"movflags": "faststart"})


def noise(num_frames: int) -> list[np.ndarray]:
    """Pictures that need many bytes, so that damage hits them."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (96, 160, 3), dtype=np.uint8) for _ in range(num_frames)]


def numbers(path: Path, **options: float) -> list[int]:
    """Numbers of the frames of a `numbered` video that are used."""
    return [number_of(picture) for picture in probe(path, **options).pictures()]


def test_probe_counts_frames(video: Path) -> None:
    facts = probe(video)
    assert (facts.num_frames, facts.height, facts.width) == (40, 96, 160)
    assert facts.frame_rate_hz == pytest.approx(RATE_HZ)
    assert not facts.timing.resampled


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


@pytest.mark.parametrize("fps", [None, 40.0])
def test_pictures_at_hand_are_those_that_decode_again(
    fps: float | None, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = probe(video, fps=fps, least_height=48)
    assert kept.shrink == 2
    at_hand = list(kept.pictures(2, start=1, step=3))
    monkeypatch.setattr(decode, "MOST_KEPT_BYTES", 39 * at_hand[0].nbytes)
    again = probe(video, fps=fps, least_height=48)
    assert kept.kept is not None
    assert again.kept is None
    assert again.num_frames == kept.num_frames
    np.testing.assert_array_equal(at_hand, list(again.pictures(2, start=1, step=3)))


@pytest.mark.parametrize(("codec", "ending"), KINDS)
def test_every_kind_of_file_is_decoded(codec: str, ending: str, tmp_path: Path) -> None:
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    path = encode(tmp_path / f"ein Gang é.{ending}", numbered(12), codec=codec, pixels=pixels)
    facts = probe(path)
    assert (facts.num_frames, facts.height, facts.width) == (12, 64, 96)
    assert facts.frame_rate_hz == pytest.approx(25, rel=1e-3)
    assert numbers(path) == list(range(12))
    assert numbers(path, fps=50.0) == np.repeat(np.arange(12), 2).tolist()


def test_most_kinds_of_files_were_made() -> None:
    missing = {codec for codec, _ in KINDS} - av.codec.codecs_available
    assert len(missing) <= 2, f"this build of FFmpeg lacks {missing}"


@pytest.mark.parametrize("pixels", ["yuv444p", "yuv422p10le"])
def test_odd_sizes_are_whole(pixels: str, tmp_path: Path) -> None:
    pictures = numbered(3, 61, 98 if "422" in pixels else 99)
    facts = probe(encode(tmp_path / "odd.mkv", pictures, pixels=pixels), least_height=20)
    assert (facts.height, facts.width, facts.shrink) == (61, pictures[0].shape[1], 3)
    assert [p.shape for p in facts.pictures(3)] == [(20, pictures[0].shape[1] // 3, 3)] * 3


@pytest.mark.parametrize("size", [(2160, 4096), (4096, 2160)])
def test_cinema_pictures_are_taken(size: tuple[int, int], tmp_path: Path) -> None:
    path = encode(tmp_path / "4k.mp4", numbered(2, *size), options={"preset": "ultrafast"})
    facts = probe(path, least_height=256)
    assert (facts.height, facts.width, facts.num_frames) == (*size, 2)


def test_fps_resamples_by_time_stamp(tmp_path: Path) -> None:
    path = encode(tmp_path / "walk.mp4", numbered(30))
    assert numbers(path, fps=25.0) == list(range(30))
    assert numbers(path, fps=12.5) == list(range(0, 30, 2))
    facts = probe(path, fps=60.0)
    assert facts.frame_rate_hz == 60
    assert facts.num_frames == 71
    assert numbers(path, fps=60.0)[::12] == [0, 5, 10, 15, 20, 25]


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_variable_rate_becomes_constant(ending: str, tmp_path: Path) -> None:
    stamps = np.cumsum([0, *[40, 40, 80] * 5]).tolist()
    path = encode(tmp_path / f"variable.{ending}", numbered(16), milliseconds=stamps)
    facts = probe(path)
    assert facts.timing.resampled
    assert facts.frame_rate_hz == pytest.approx(25)
    assert numbers(path)[:9] == [0, 1, 2, 2, 3, 4, 5, 5, 6]
    assert facts.num_frames == 21
    np.testing.assert_array_equal(
        [number_of(p) for p in facts.pictures(start=2, step=4)], numbers(path)[2::4]
    )
    assert numbers(path, fps=12.5) == numbers(path)[::2]


def test_cut_ends_of_a_trimmed_video_are_not_missed(tmp_path: Path) -> None:
    """A telephone trims by an edit list: the file keeps all frames and hides some."""
    whole = encode(tmp_path / "whole.mp4", numbered(40), options={"g": "10", "bf": "0"})
    for first in (5, 23):
        trimmed = tmp_path / f"{first}.mp4"
        with av.open(str(whole)) as source, av.open(str(trimmed), "w") as target:
            stream = target.add_stream_from_template(source.streams.video[0])
            for packet in source.demux(video=0):
                if packet.size:
                    packet.pts -= 512 * first
                    packet.dts -= 512 * first
                    packet.stream = stream
                    target.mux(packet)
        assert numbers(trimmed) == list(range(first, 40))


@pytest.mark.parametrize("share", [0.3, 0.6, 0.85])
def test_truncated_video_is_refused(share: float, video: Path, tmp_path: Path) -> None:
    cut_off = tmp_path / "secret.mp4"
    cut_off.write_bytes(video.read_bytes()[: int(video.stat().st_size * share)])
    with pytest.raises(DecodeError, match="truncated") as caught:
        probe(cut_off)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("codec", "ending", "reason"),
    [
        ("libx264", "mkv", r"truncated: it ends after 0\.\d of 1\.2 s"),
        ("libvpx-vp9", "webm", r"truncated: it ends after 0\.\d of 1\.2 s"),
        ("libx264", "mp4", "cannot be decoded at its start"),  # its table of contents is gone
        ("ffv1", "mkv", r"truncated|damaged"),
        ("mpeg4", "avi", r"truncated|damaged"),
        ("mjpeg", "avi", r"truncated|damaged"),
    ],
)
def test_other_truncated_files_are_refused(
    codec: str, ending: str, reason: str, tmp_path: Path
) -> None:
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    path = encode(tmp_path / f"secret.{ending}", noise(30), codec=codec, pixels=pixels)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    with pytest.raises(DecodeError, match=reason) as caught:
        probe(path)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("codec", "ending", "num_bytes"),
    [
        ("libx264", "mp4", 3),
        ("libx264", "mkv", 200),
        ("mpeg4", "avi", 3),
        ("mpeg4", "avi", 200),
        ("mjpeg", "avi", 3),
        ("mjpeg", "avi", 200),
        ("mpeg2video", "ts", 3),
    ],
)
def test_damage_is_refused(codec: str, ending: str, num_bytes: int, tmp_path: Path) -> None:
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    path = encode(tmp_path / f"secret.{ending}", noise(30), codec=codec, pixels=pixels)
    assert probe(path).num_frames == 30
    damage(path, 0.4, 0.6, num_bytes)
    with pytest.raises(DecodeError, match=r"frame \d+ (is damaged|\(truncated\?\))") as caught:
        probe(path)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"this is no video" * 100])
def test_other_files_are_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "secret.mp4"
    file.write_bytes(content)
    with pytest.raises(DecodeError, match="cannot be decoded at its start: ") as caught:
        probe(file)
    assert "secret" not in str(caught.value)


def test_sound_alone_is_refused(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    with pytest.raises(DecodeError, match="it holds no video stream"):
        probe(tmp_path / "sound.mp4")


def test_cover_picture_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as container:
        cover = container.add_stream("mjpeg", rate=1)
        cover.height, cover.width, cover.pix_fmt = 64, 96, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        container.mux(cover.encode(av.VideoFrame.from_ndarray(numbered(1)[0], format="rgb24")))
        container.mux(cover.encode())
    with pytest.raises(DecodeError, match="it holds no video stream"):
        probe(path)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match="No such file"):
        probe(tmp_path / "none.mp4")


def concatenated(folder: Path, sizes: list[tuple[int, int]]) -> Path:
    """Motion JPEG without a container, three frames of each size."""
    whole = folder / "whole.mjpeg"
    with whole.open("wb") as file:
        for height, width in sizes:
            part = folder / "part.mjpeg"
            encode(part, numbered(3, height, width), codec="mjpeg", pixels="yuvj420p")
            file.write(part.read_bytes())
    return whole


def test_change_of_size_is_refused(tmp_path: Path) -> None:
    path = concatenated(tmp_path, [(64, 96), (96, 64)])
    with pytest.raises(DecodeError, match="picture size changes from 96x64 to 64x96 at frame 3"):
        probe(path)


def test_large_pictures_are_refused(tmp_path: Path) -> None:
    path = encode(tmp_path / "wide.mp4", numbered(2, 16, 4098))
    with pytest.raises(DecodeError, match="at most 4096 pixels a side, got 4098x16; scale it"):
        probe(path)


def test_large_pictures_are_refused_whatever_the_header_says(tmp_path: Path) -> None:
    bounds = VideoBounds(largest_side_px=128)
    path = concatenated(tmp_path, [(64, 96), (256, 256)])
    with pytest.raises(DecodeError, match=r"cannot be decoded after frame \d .*Invalid argument"):
        probe(path, bounds=bounds)
    path = concatenated(tmp_path, [(256, 256)])
    with pytest.raises(DecodeError, match="size is unknown: damaged, or over 128 pixels a side"):
        probe(path, bounds=bounds)


def no_work(*_: object) -> None:
    raise AssertionError("decoded")


@pytest.mark.parametrize("ending", ["mp4", "h264"])  # the header tells the number, or does not
def test_many_frames_are_refused_before_they_are_decoded(
    ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = encode(tmp_path / f"many.{ending}", numbered(30))
    assert probe(path, bounds=VideoBounds(most_frames=30)).num_frames == 30
    monkeypatch.setattr(decode, "decode", no_work)
    with pytest.raises(DecodeError, match=r"must have 29 frames at most, got 30 or more; cut"):
        probe(path, bounds=VideoBounds(most_frames=29))


def test_frames_that_resampling_would_make_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few frames and a long gap at a high rate are many frames."""
    gap = {"milliseconds": [*range(11), 50_000], "options": {"bf": "0"}}
    path = encode(tmp_path / "gap.mp4", numbered(12), **gap)
    monkeypatch.setattr(decode, "decode", no_work)
    with pytest.raises(DecodeError, match=r"must have 9000 frames at most, got 50000 or more"):
        probe(path, bounds=VideoBounds(most_frames=9000))


def test_oblong_pixels_count_as_they_are_squared(tmp_path: Path) -> None:
    """A small picture of very wide pixels is large once it is shown as it is meant."""
    path = encode(tmp_path / "wide.mkv", numbered(3, 64, 96), codec="mpeg4", aspect=Fraction(60))
    with pytest.raises(DecodeError, match="at most 4096 pixels a side, got 5760x64"):
        probe(path)


PLAYLISTS = {
    "concat": "ffconcat version 1.0\nfile walk.mp4\n",
    "list.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nwalk.mp4\n#EXT-X-ENDLIST\n",
    "note.txt": "a text that FFmpeg would film\n" * 20,
}


@pytest.mark.parametrize("name", PLAYLISTS)
def test_a_file_that_names_other_files_is_refused(name: str, tmp_path: Path) -> None:
    """FFmpeg would open what a playlist names, and film a text."""
    encode(tmp_path / "walk.mp4", numbered(30))
    (tmp_path / name).write_text(PLAYLISTS[name])
    with av.open(str(tmp_path / name)) as container:
        assert container.streams.video  # what is refused below
    with pytest.raises(DecodeError, match="it is a text file, not a video"):
        probe(tmp_path / name)


def test_long_videos_are_refused_before_they_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode, "decode", no_work)
    slow = encode(
        tmp_path / "slow.mp4", numbered(4), milliseconds=[0, 2000_000, 4000_000, 4000_040]
    )
    with pytest.raises(DecodeError, match=r"must last 3600 s at most, got 40\d\d.*; cut the walk"):
        probe(slow)
    untold = encode(tmp_path / "untold.h264", numbered(30))  # its header tells no duration
    with pytest.raises(DecodeError, match=r"must last 1 s at most, got 1\.2 s"):
        probe(untold, bounds=VideoBounds(most_seconds=1.0))


def test_long_videos_are_refused_while_they_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = encode(tmp_path / "walk.mp4", numbered(30))
    scan = decode._scan
    monkeypatch.setattr(decode, "_scan", lambda path, _: shortened(scan(path, DEFAULT_BOUNDS)))
    monkeypatch.setattr(decode, "header_refusal", lambda *_: None)
    with pytest.raises(DecodeError, match=r"must last 1 s at most, got 1\.04 s"):
        probe(path, bounds=VideoBounds(most_seconds=1.0))
    with pytest.raises(DecodeError, match="must have 20 frames at most, got 21 or more"):
        probe(path, bounds=VideoBounds(most_frames=20))


def shortened(header: decode._Header) -> decode._Header:
    return decode._Header(header.stamps[:10], 10, 0.4, 25.0)


def test_single_frame_is_refused(tmp_path: Path) -> None:
    path = encode(tmp_path / "one.mp4", numbered(1))
    with pytest.raises(DecodeError, match=r"at least 2 frames \(flow needs pairs\), got 1"):
        probe(path)


def open_scratch_files() -> int:
    gc.collect()
    links = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            links.append(str(entry.readlink()))
        except FileNotFoundError:
            continue
    return sum("pictures_" in link or "/#" in link for link in links)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_kept_pictures_vanish(video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = open_scratch_files()
    facts = probe(video)
    assert list(tmp_path.iterdir()) == []
    assert mapped(tmp_path) > 0
    del facts
    assert open_scratch_files() == before
    assert mapped(tmp_path) == 0
    broken = damage(encode(tmp_path / "broken.mp4", noise(30)), 0.4, 0.6, 5)
    with pytest.raises(DecodeError):
        probe(broken)
    assert open_scratch_files() == before
    assert [path.name for path in tmp_path.iterdir()] == ["broken.mp4"]


def mapped(folder: Path) -> int:
    gc.collect()
    return Path("/proc/self/maps").read_text().count(str(folder))


class FullDisk(io.BytesIO):
    def write(self, _: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def no_folder(**_: str) -> io.BytesIO:
    raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")


@pytest.mark.parametrize(
    ("disk", "reason"),
    [
        (lambda **_: FullDisk(), "No space left on device"),
        (no_folder, "No usable temporary directory found"),
    ],
)
def test_full_disk_is_not_the_videos_fault(
    disk: Callable[..., io.BytesIO], reason: str, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode, "TemporaryFile", disk)
    with pytest.raises(ScratchError, match=f"{reason}; make room there or set TMPDIR") as caught:
        probe(video)
    assert str(caught.value).endswith(" to a folder with 1 GiB for each worker")
    assert "\n" not in str(caught.value)
    assert not isinstance(caught.value, DecodeError)


@pytest.mark.parametrize(("numerator", "denominator"), [(30000, 1001), (60, 1)])
def test_frame_rate_is_that_of_the_file(numerator: int, denominator: int, tmp_path: Path) -> None:
    rate = Fraction(numerator, denominator)
    facts = probe(encode(tmp_path / "rate.mkv", numbered(30), rate=rate))
    assert facts.frame_rate_hz == pytest.approx(float(rate), rel=2e-3)
    assert not facts.timing.resampled


def test_memory_does_not_grow_with_length(tmp_path: Path) -> None:
    """PyAV frees a frame late once its side data was looked at, see `Converter`."""
    path = encode(tmp_path / "turned.mp4", numbered(40), rotation=(90, False, False))
    gc.collect()
    gc.disable()
    try:
        facts = probe(path)
        alive = sum(type(thing) is av.VideoFrame for thing in gc.get_objects())
    finally:
        gc.enable()
    assert facts.num_frames == 40
    assert alive <= 6
