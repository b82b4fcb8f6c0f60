from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from preprocess.decode import decode, probe
from preprocess.picture import Converter
from tests.preprocess.encode import encode, quarters

PATCH = np.array([200, 60, 90])
BT601, BT709 = (5, 0.299, 0.114), (1, 0.2126, 0.0722)  # number, red and blue part of the luma
LIMITED, FULL = 1, 2
FORMATS = [
    ("libx264", "mp4", "yuv420p", BT601, LIMITED),
    ("libx264", "mp4", "yuv420p", BT709, LIMITED),
    ("libx264", "mp4", "yuv420p", BT709, FULL),
    ("libx264", "mp4", "yuvj420p", BT601, FULL),
    ("libx264", "mp4", "yuv422p", BT601, LIMITED),
    ("libx264", "mp4", "yuv444p", BT709, LIMITED),
    ("libx264", "mp4", "yuv420p10le", BT709, LIMITED),
    ("libx264", "mp4", "yuv422p10le", BT601, LIMITED),
    ("libx264", "mp4", "gray", BT601, FULL),
    ("libx264", "mp4", "gray", BT601, LIMITED),
    ("libx265", "mp4", "yuv420p10le", BT709, LIMITED),
    ("libvpx-vp9", "webm", "yuv420p", BT709, LIMITED),
    ("mjpeg", "avi", "yuvj422p", BT601, FULL),
    ("mpeg4", "avi", "yuv420p", BT601, LIMITED),
    ("prores_ks", "mov", "yuv422p10le", BT709, LIMITED),
]
NAMES = [
    "-".join([codec, pixels, str(space[0]), str(span)]) for codec, _, pixels, space, span in FORMATS
]


def patch(
    pixels: str, space: tuple[int, float, float], span: int, height: int = 64, width: int = 96
) -> av.VideoFrame:
    """One colour, computed by the formulas of ITU-R BT.601 and BT.709, item 3 and 4."""
    number, kr, kb = space
    red, green, blue = PATCH / 255
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    chroma = (blue - luma) / (2 - 2 * kb), (red - luma) / (2 - 2 * kr)
    values = (
        [255 * luma, *(128 + 255 * c for c in chroma)]
        if span == FULL
        else [16 + 219 * luma, *(128 + 224 * c for c in chroma)]
    )
    frame = av.VideoFrame(width, height, pixels)
    frame.colorspace, frame.color_range = number, span
    deep = "10" in pixels
    for value, plane in zip(values, frame.planes, strict=False):
        size = plane.buffer_size // (2 if deep else 1)
        level = round(value * 4) if deep else round(value)
        plane.update(np.full(size, level, np.uint16 if deep else np.uint8).tobytes())
    return frame


def shown(path: Path, shrink: int) -> np.ndarray:
    """Mean colour of the first frame, off its border."""
    picture = Converter(shrink)(next(decode(path)))
    return picture[4:-4, 4:-4].mean(axis=(0, 1))


@pytest.mark.parametrize("shrink", [1, 2])
@pytest.mark.parametrize(("codec", "ending", "pixels", "space", "span"), FORMATS, ids=NAMES)
def test_colours_are_right(
    codec: str,
    ending: str,
    pixels: str,
    space: tuple[int, float, float],
    span: int,
    shrink: int,
    tmp_path: Path,
) -> None:
    path = encode(
        tmp_path / f"patch.{ending}",
        [patch(pixels, space, span)] * 3,
        codec=codec,
        pixels=pixels,
        colours=(space[0], span),
        options={"crf": "1"} if codec.startswith("lib") else {"q": "2"},
    )
    grey = PATCH @ [space[1], 1 - space[1] - space[2], space[2]]
    expected = [grey] * 3 if pixels == "gray" else PATCH
    np.testing.assert_allclose(shown(path, shrink), expected, atol=4)


@pytest.mark.parametrize(("height", "space"), [(480, BT601), (576, BT601), (720, BT709)])
def test_untold_colours_follow_the_size(
    height: int, space: tuple[int, float, float], tmp_path: Path
) -> None:
    frames = [patch("yuv420p", space, LIMITED, height, 640)] * 2
    path = encode(tmp_path / "untold.mp4", frames, options={"crf": "1", "preset": "ultrafast"})
    assert next(decode(path)).colorspace == 2
    for shrink in (1, 2):
        np.testing.assert_allclose(shown(path, shrink), PATCH, atol=4)


@pytest.mark.parametrize("codec", ["libx264rgb", "ffv1"])
def test_rgb_video_keeps_its_colours(codec: str, tmp_path: Path) -> None:
    pixels = {"libx264rgb": "rgb24", "ffv1": "bgr0"}[codec]
    pictures = [np.full((48, 64, 3), PATCH, np.uint8)] * 2
    path = encode(tmp_path / "rgb.mkv", pictures, codec=codec, pixels=pixels)
    for shrink in (1, 2):
        np.testing.assert_allclose(shown(path, shrink), PATCH, atol=4)


@pytest.mark.parametrize("flips", [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize("degrees", [0, 90, 180, -90])
def test_pictures_are_upright(degrees: int, flips: tuple[bool, bool], tmp_path: Path) -> None:
    lying = quarters(48, 80)
    path = encode(
        tmp_path / "phone.mp4", [lying] * 2, rotation=(degrees, *flips), options={"crf": "5"}
    )
    upright = np.rot90(lying, degrees // 90)
    upright = upright[:: -1 if flips[1] else 1, :: -1 if flips[0] else 1]
    video = probe(path, least_height=len(upright) // 2)
    assert (video.height, video.width) == upright.shape[:2]
    assert video.shrink == 2
    for shrink in (1, 2):
        picture = next(video.pictures(shrink)).astype(float)
        expected = upright[shrink // 2 :: shrink, shrink // 2 :: shrink]
        assert picture.shape == expected.shape
        assert np.abs(picture - expected).mean() < 4


@pytest.mark.parametrize("degrees", [0, 90, 180, -90])
def test_shrinking_starts_at_the_upper_left_corner(degrees: int, tmp_path: Path) -> None:
    """61 x 99 is not a multiple of 4: what is left over lies at the bottom and on the right."""
    ramp = np.repeat(np.add.outer(np.arange(61), np.arange(99))[..., None], 3, axis=2)
    path = encode(
        tmp_path / "odd.mp4",
        [(ramp + 40).astype(np.uint8)] * 2,
        pixels="yuv444p",
        rotation=(degrees, False, False),
        options={"crf": "1"},
    )
    video = probe(path)
    whole, small = next(video.pictures()), next(video.pictures(4))
    rows, columns = (side // 4 * 4 for side in whole.shape[:2])
    blocks = whole[:rows, :columns].reshape(rows // 4, 4, columns // 4, 4, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(small, blocks, atol=2.5)


def bar_at(column: int) -> np.ndarray:
    picture = np.full((64, 96, 3), 60, np.uint8)
    picture[:, column : column + 12] = 220
    return picture


@pytest.mark.parametrize("codec", ["libx264", "mpeg2video"])
def test_interlaced_video_is_deinterlaced(codec: str, tmp_path: Path) -> None:
    """Lines of two moments make combs; one moment is left, and every frame."""
    options = {
        "libx264": {"x264-params": "tff=1", "crf": "5"},
        "mpeg2video": {"flags": "+ildct+ilme", "b": "8M"},
    }
    woven = []
    for number in range(10):
        picture = bar_at(6 * number)
        picture[1::2] = bar_at(6 * number + 3)[1::2]
        woven.append(picture)
    path = encode(tmp_path / "woven.mkv", woven, codec=codec, options=options[codec])
    video = probe(path)
    assert video.num_frames == 10
    assert video.frame_rate_hz == pytest.approx(25, rel=1e-3)
    for number, picture in list(enumerate(video.pictures()))[1:-1]:
        combs = np.abs(np.diff(picture.astype(float), axis=0)).mean()
        assert combs < 0.2 * np.abs(np.diff(woven[number].astype(float), axis=0)).mean()
        assert (
            min(np.abs(picture - bar_at(6 * number + k).astype(float)).mean() for k in (0, 3)) < 8
        )


def test_progressive_video_is_not_deinterlaced(tmp_path: Path) -> None:
    lines = np.repeat(np.tile([60, 200], 32)[:, None, None], 96, axis=1).repeat(3, axis=2)
    path = encode(tmp_path / "lines.mp4", [lines.astype(np.uint8)] * 3, options={"crf": "1"})
    for picture in probe(path).pictures():
        assert np.abs(picture.astype(float) - lines).max() < 10


def test_oblong_pixels_become_square(tmp_path: Path) -> None:
    path = encode(
        tmp_path / "oblong.mkv", [quarters(48, 60)] * 2, codec="mpeg4", aspect=Fraction(4, 3)
    )
    video = probe(path, least_height=24)
    assert (video.height, video.width) == (48, 80)
    assert next(video.pictures(2)).shape == (24, 40, 3)
    assert np.abs(next(video.pictures()).astype(float) - quarters(48, 80)).mean() < 6
