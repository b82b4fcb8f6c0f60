"""A picture of the cohort: walkers of both classes over a gait cycle.

The README's is `contact_sheet(SimulateConfig(out="-", seed=1), path, num_walkers=2)`, with fewer
colours.
"""

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from asd_experiments.config import SimulateConfig
from asd_experiments.simulation.cohort import VIEWS, PlannedVideo, draw_cohort, prepare_walk
from asd_experiments.simulation.film import draw_scene
from asd_experiments.simulation.walker import ASD, NON_ASD, Label, Walker

NUM_PHASES = 6
_TILE = (220, 330)  # width, height, pixels
_CAPTION = 26  # pixels


def contact_sheet(config: SimulateConfig, path: Path, num_walkers: int = 3) -> Path:
    """Write one PNG: a row per walker, mild to severe within each class, a column per phase.

    Args:
        config: Cohort to show; nothing is filmed.
        path: PNG to write.
        num_walkers: Walkers of each class, at least 1.
    """
    walkers = draw_cohort(config)
    rows = [
        _row(config, walkers[patient], patient)
        for label in (NON_ASD, ASD)
        for patient in _spread(walkers, label, num_walkers)
    ]
    sheet = np.vstack([_headline(), *rows])
    cv2.imwrite(str(path), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    return path


def _spread(walkers: list[Walker], label: Label, count: int) -> list[int]:
    """Pick patients evenly from the mildest to the most severe of a class."""
    patients = [index for index, walker in enumerate(walkers) if walker.label == label]
    patients.sort(key=lambda index: sum(walkers[index].severity))
    shares = (np.arange(count) + 0.5) / count
    return [patients[int(share * len(patients))] for share in shares]


def _row(
    config: SimulateConfig, walker: Walker, patient: int
) -> UInt8[np.ndarray, "height width 3"]:
    """One walker in the same place at every phase, with the class written underneath."""
    video = PlannedVideo("", patient, 0, VIEWS[0])
    walk = prepare_walk(config, walker, video)
    scale, floor = walk.camera.scale_px_m, walk.camera.floor_px
    tiles = []
    for phase in np.arange(NUM_PHASES) / NUM_PHASES:
        pose = walk.cycle.pose(float(phase))
        pose.joint[:, 0] -= walk.cycle.stride_m * phase
        scene = draw_scene(walk, pose)
        middle = scene.shape[1] // 2
        top, bottom = round(floor - 1.95 * scale), round(floor + 0.15 * scale)
        side = round(0.7 * scale)
        cut = np.clip(scene[max(top, 0) : bottom, middle - side : middle + side], 0, 255)
        tiles.append(cv2.resize(cut.astype(np.uint8), _TILE, interpolation=cv2.INTER_AREA))
    posture, movement = walker.severity
    text = f"{walker.label}   posture severity {posture:+.1f}   movement severity {movement:+.1f}"
    return np.vstack([np.hstack(tiles), _caption([text])])


def _headline() -> UInt8[np.ndarray, "height width 3"]:
    return _caption([f"{100 * step // NUM_PHASES} % of the cycle" for step in range(NUM_PHASES)])


def _caption(texts: list[str]) -> UInt8[np.ndarray, "height width 3"]:
    """A white strip with texts at even distances."""
    width = _TILE[0] * NUM_PHASES
    strip = np.full((_CAPTION, width, 3), 255, dtype=np.uint8)
    for index, text in enumerate(texts):
        place = (8 + index * width // len(texts), _CAPTION - 8)
        cv2.putText(strip, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (40, 40, 40), 1, cv2.LINE_AA)
    return strip
