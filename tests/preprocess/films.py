"""Small made-up videos: a body on a textured wall, seen by a camera that stands still."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import av
import cv2
import numpy as np
import pandas as pd

from asd_experiments.config import PreprocessConfig

RATE_HZ = 25
SIZE = 64


def write_video(
    path: Path, pictures: Iterable[np.ndarray], options: dict[str, str] | None = None
) -> Path:
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream("libx264", rate=RATE_HZ)
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        stream.options = {"crf": "15", "preset": "veryfast"}
        for number, picture in enumerate(pictures):
            if number == 0:
                stream.height, stream.width = picture.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def wall(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Coarse coloured texture, grey levels 90 to 210."""
    coarse = np.random.default_rng(seed).uniform(90, 210, (height // 6, width // 6, 3))
    return cv2.resize(coarse.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)


def film(
    masks: Iterable[np.ndarray],
    scene: np.ndarray,
    *,
    body: Sequence[float] = (40, 40, 60),
    lights: Iterable[float] | None = None,
    shadows: Iterable[np.ndarray] | None = None,
    noise: float = 2.0,
) -> Iterator[np.ndarray]:
    """Pictures of a body of one colour; `lights` dims whole pictures, `shadows` dims pixels."""
    rng = np.random.default_rng(1)
    masks = list(masks)
    lights = [1.0] * len(masks) if lights is None else lights
    shadows = [np.ones(scene.shape[:2])] * len(masks) if shadows is None else shadows
    for mask, light, shadow in zip(masks, lights, shadows, strict=True):
        picture = scene * shadow[..., None]
        picture[mask > 0] = body
        picture = picture * light + rng.normal(0, noise, scene.shape)
        yield picture.clip(0, 255).astype(np.uint8)


def ellipse(height: int, width: int, centre_x: float) -> np.ndarray:
    """A standing body: an ellipse of two thirds of the picture's height."""
    mask = np.zeros((height, width), np.uint8)
    centre, axes = (round(centre_x), height // 2), (height // 9, height // 3)
    return cv2.ellipse(mask, centre, axes, 0, 0, 360, 1, -1)


def walk(height: int, width: int, num_frames: int, standing: int = 0) -> list[np.ndarray]:
    """Masks of a body that stands for a while and then walks from left to right."""
    path = np.linspace(0.2 * width, 0.8 * width, num_frames - standing)
    return [ellipse(height, width, x) for x in [path[0]] * standing + path.tolist()]


def write_cohort(folder: Path, videos: dict[str, Iterable[np.ndarray]]) -> PreprocessConfig:
    """A labelled folder of videos, and how to preprocess it small."""
    rows = []
    for name, pictures in videos.items():
        write_video(folder / name, pictures)
        rows.append({"video": name, "patient_id": name, "label": "ASD"})
    pd.DataFrame(rows).to_csv(folder / "labels.csv", index=False)
    return PreprocessConfig(
        videos=str(folder),
        labels=str(folder / "labels.csv"),
        store=str(folder / "store.zarr"),
        size=SIZE,
        workers=1,
    )
