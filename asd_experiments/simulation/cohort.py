"""A cohort of simulated walkers on disk: videos, labels, and what is true about them."""

import zipfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import av
import numpy as np
import pandas as pd
from jaxtyping import UInt8

from asd_experiments.config import SimulateConfig
from asd_experiments.errors import InputError
from asd_experiments.progress import progress_bar
from asd_experiments.simulation.figure import build_figure, draw_look
from asd_experiments.simulation.film import (
    Camera,
    View,
    Walk,
    film,
    place_walk,
    true_flows,
    true_masks,
)
from asd_experiments.simulation.gait import walk_cycle
from asd_experiments.simulation.room import HORIZON, draw_light, paint_room
from asd_experiments.simulation.walker import (
    ASD,
    NON_ASD,
    Label,
    Walker,
    draw_patient,
    stratified_severities,
    vary_walk,
)

VIEWS: tuple[View, View] = ("left_to_right", "right_to_left")

# first word of every seed after the cohort's own, so that no two purposes share random numbers
_LABELS, _SEVERITIES, _PATIENT, _LOOK, _ROOM, _VIEW, _WALK, _NOISE = range(8)


@dataclass(frozen=True)
class PlannedVideo:
    """One video that will be written."""

    path: str
    """Path relative to the cohort's folder."""

    patient: int
    """Index of the patient, from 0."""

    walk: int
    """Index of the patient's walk, from 0."""

    view: View
    """Walking direction in the picture."""


def run_simulate(config: SimulateConfig) -> None:
    """Write a cohort, see `simulate`, and say what to do with it.

    Raises:
        InputError: If the folder holds anything already.
    """
    labels = simulate(config)
    print(f"{config.patients} patients; give them on as videos={config.out} labels={labels}")


def simulate(config: SimulateConfig) -> Path:
    """Write a cohort: `videos/`, `labels.csv`, `walkers.csv` and, if asked for, `truth/`.

    `walkers.csv` holds what no camera sees: each patient's severities and gait parameters.

    Returns:
        Path of the labels file; its video paths start from its own folder.

    Raises:
        InputError: If the folder holds anything already.
    """
    out = Path(config.out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"out must be a new or empty folder, but {config.out!r} is not empty")
    try:
        for folder in ("videos", "truth") if config.truth else ("videos",):
            (out / folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"out cannot be made: {error}") from error
    walkers = draw_cohort(config)
    videos = plan_videos(config)
    heights = []
    for video in progress_bar(videos, title="simulate", unit="video"):
        walk = prepare_walk(config, walkers[video.patient], video)
        write_video(out / video.path, film(walk), walk.room.shape[:2], config.frame_rate_hz)
        if config.truth:
            write_truth(out / "truth" / f"{Path(video.path).stem}.npz", walk)
        heights.append(round(walk.camera.scale_px_m * walkers[video.patient].gait.height_m))
    _write_walkers(out / "walkers.csv", walkers)
    return _write_labels(out / "labels.csv", videos, walkers, heights)


def draw_cohort(config: SimulateConfig) -> list[Walker]:
    """Draw every patient; half of them, rounded down, have ASD, in shuffled places."""
    labels: list[Label] = [NON_ASD] * config.patients
    order = np.random.default_rng([config.seed, _LABELS]).permutation(config.patients)
    for patient in order[: config.patients // 2].tolist():
        labels[patient] = ASD
    waiting = {
        label: stratified_severities(
            np.random.default_rng([config.seed, _SEVERITIES, which]), labels.count(label)
        )
        for which, label in enumerate((ASD, NON_ASD))
    }
    return [
        draw_patient(
            np.random.default_rng([config.seed, _PATIENT, patient]),
            label,
            config.effect,
            waiting[label].pop(),
        )
        for patient, label in enumerate(labels)
    ]


def plan_videos(config: SimulateConfig) -> list[PlannedVideo]:
    """List the videos; a patient's walks alternate in direction from a random first one."""
    videos = []
    for patient in range(config.patients):
        first = int(np.random.default_rng([config.seed, _VIEW, patient]).integers(2))
        for walk in range(config.videos_per_patient):
            path = f"videos/{patient_id(patient)}_walk{walk + 1}.mp4"
            videos.append(PlannedVideo(path, patient, walk, VIEWS[(first + walk) % 2]))
    return videos


def patient_id(patient: int) -> str:
    """Name a patient by number, from P001."""
    return f"P{patient + 1:03d}"


def prepare_walk(config: SimulateConfig, walker: Walker, video: PlannedVideo) -> Walk:
    """Stage one walk: a patient keeps body, clothes and room; the rest is drawn per video."""
    seed, patient = config.seed, video.patient
    look = draw_look(np.random.default_rng([seed, _LOOK, patient]))
    rng = np.random.default_rng([seed, _WALK, patient, video.walk])
    cycle = walk_cycle(vary_walk(rng, walker.gait))
    width = config.height * 16 // 9 // 2 * 2
    camera = _set_camera(rng, config.height, width, video.view)
    start_m, start_phase = place_walk(rng, camera, cycle, config.seconds)
    return Walk(
        cycle=cycle,
        figure=build_figure(look, walker.gait.height_m),
        camera=camera,
        room=paint_room(np.random.default_rng([seed, _ROOM, patient]), config.height, width),
        light=draw_light(rng),
        start_m=start_m,
        start_phase=start_phase,
        frame_rate_hz=config.frame_rate_hz,
        num_frames=round(config.seconds * config.frame_rate_hz),
        noise_seed=(seed, _NOISE, patient, video.walk),
    )


def write_video(
    path: Path,
    frames: Iterable[UInt8[np.ndarray, "height width 3"]],
    size: tuple[int, int],
    frame_rate_hz: int,
) -> None:
    """Encode RGB frames as they come, as H.264 in MP4.

    Args:
        path: File to write.
        frames: RGB frames, all of one size.
        size: Their (height, width), pixels, both even.
        frame_rate_hz: Frames per second.
    """
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=frame_rate_hz)
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        stream.options = {"preset": "superfast", "crf": "20"}
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


def write_truth(path: Path, walk: Walk) -> None:
    """Write mask, box and flow of a walk as a compressed npz, frame by frame.

    `np.savez_compressed` would need the whole video in memory.
    """
    size = walk.room.shape[:2]
    frames = walk.num_frames
    boxes = np.empty((frames, 4), dtype=np.float32)

    def masks() -> Iterable[np.ndarray]:
        for index, truth in enumerate(true_masks(walk)):
            boxes[index] = truth.box
            yield truth.mask

    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        _write_array(archive, "mask", (frames, *size), np.dtype(np.bool_), masks())
        _write_array(archive, "box", boxes.shape, boxes.dtype, boxes)
        shape = (frames - 1, *size, 2)
        _write_array(archive, "flow", shape, np.dtype(np.float16), true_flows(walk))


def _write_array(
    archive: zipfile.ZipFile,
    name: str,
    shape: tuple[int, ...],
    kind: np.dtype[np.generic],
    rows: Iterable[np.ndarray],
) -> None:
    """Add one array to an npz archive, one row at a time."""
    header = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": shape}
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        np.lib.format.write_array_header_1_0(file, header)
        for row in rows:
            file.write(np.ascontiguousarray(row, dtype=kind).tobytes())


def _set_camera(rng: np.random.Generator, height: int, width: int, view: View) -> Camera:
    """Place the camera; how large people appear varies, whoever walks."""
    scale = height * rng.uniform(0.50, 0.58) / 1.66
    floor = height * rng.uniform(HORIZON + 0.08, HORIZON + 0.18)
    return Camera(width, height, float(scale), float(floor), view)


def _write_labels(
    path: Path, videos: list[PlannedVideo], walkers: list[Walker], heights: list[int]
) -> Path:
    rows = [
        {
            "video": video.path,
            "patient_id": patient_id(video.patient),
            "label": walkers[video.patient].label,
            "view": video.view,
            "height_px": height,
        }
        for video, height in zip(videos, heights, strict=True)
    ]
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def _write_walkers(path: Path, walkers: list[Walker]) -> None:
    rows = [
        {
            "patient_id": patient_id(patient),
            "label": walker.label,
            "posture_severity": walker.severity.posture,
            "movement_severity": walker.severity.movement,
            **asdict(walker.gait),
        }
        for patient, walker in enumerate(walkers)
    ]
    pd.DataFrame(rows).round(4).to_csv(path, index=False)
