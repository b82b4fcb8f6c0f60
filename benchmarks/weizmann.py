"""Can the whole pipeline learn real gait, and does nothing leak? Weizmann, one person left out.

Measures: the true silhouettes of 33 sequences of 6 people are drawn as videos (a textured body on
a still, textured, slightly noisy background that is drawn anew for every sequence), then go
through `preprocess` and `CrossValidation` as any laboratory's videos would. The task: a symmetric
gait (walk, run) against an asymmetric one (skip, side, jump). The same person shows both classes,
so a sequence stands for the patient and `group_by=person` leaves one person out at a time.

Goal: pooled video-level test AUROC of at least 0.98, in at most ten minutes on two cores. Then
`--permuted N` repeats the training with labels shuffled within each person: nothing is left to
learn, so the 95 % interval of every such AUROC should hold 0.5.

Settings: those of the demo (`asd_experiments/demo.py`), with clips that overlap by half because
the sequences are short, and the fewest epochs of those tried (12, 6) that kept the pooled inner
validation AUROC (`val/video/auroc`) at its best, 1.000. Test figures were not looked at until
then. The shuffled labels are trained with the same settings.

    OMP_NUM_THREADS=1 python benchmarks/weizmann.py --permuted 3
"""

import argparse
import csv
import sys
import tempfile
import time
from pathlib import Path

import av
import cv2
import numpy as np
import pandas as pd

from asd_experiments.config import PreprocessConfig, TrialConfig
from asd_experiments.data.store import ClipStore
from asd_experiments.evaluation.cases import Predictions
from asd_experiments.evaluation.metrics import evaluate
from asd_experiments.training.cross_validation import CrossValidation
from preprocess.cohort import preprocess

SILHOUETTES = Path(__file__).parents[2] / "shared/data/weizmann/silhouettes.npz"
GAITS = {
    "walk": "symmetric",
    "run": "symmetric",
    "skip": "asymmetric",
    "side": "asymmetric",
    "jump": "asymmetric",
}
POSITIVE = "asymmetric"
WIDTH_PX = 180  # of a silhouette, whose bits are packed along the width
ENLARGED = 2
FRAME_RATE_HZ = 25
NOISE = 2.0  # standard deviation, grey levels
SETTINGS = {
    "backbone": "slow_50",
    "fusion": "late_average",
    "clip_length": 16,
    "clip_stride": 8,
    "size": 48,
    "width": 0.125,
    "epochs": 6,
    "patience": 6,
    "learning_rate": 3e-3,
}
STORE_SIZE = 64


def main() -> None:
    arguments = read_arguments()
    if not SILHOUETTES.is_file():
        sys.exit(f"skipped: {SILHOUETTES.name} is not in ../shared/data beside the checkout")
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="weizmann_") as name:
        folder = Path(name)
        sequences = draw_videos(folder)
        drawn = time.monotonic()
        store_videos(sequences, folder)
        stored = time.monotonic()
        print(f"seconds: drawing {drawn - started:.0f}, preprocessing {stored - drawn:.0f}")
        show_head()
        if not arguments.only_permuted:
            show_row("true labels", cross_validate(folder), time.monotonic() - started)
        for seed in range(arguments.first_seed, arguments.first_seed + arguments.permuted):
            began = time.monotonic()
            store_videos(permuted(sequences, seed), folder)
            show_row(f"permuted, seed {seed}", cross_validate(folder), time.monotonic() - began)
    usage = time.process_time()
    print(
        f"seconds: {time.monotonic() - started:.0f} altogether, {usage:.0f} of this process's CPU"
    )


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--permuted", type=int, default=0, help="trainings with shuffled labels")
    parser.add_argument("--first_seed", type=int, default=1, help="of the shuffled labels")
    parser.add_argument("--only_permuted", action="store_true", help="leave the true labels out")
    return parser.parse_args()


def draw_videos(folder: Path) -> pd.DataFrame:
    """Write one MP4 file per sequence; a sequence takes the place of a patient."""
    rows = []
    with np.load(SILHOUETTES) as archive:
        for number, name in enumerate(archive.files):
            person, action = name.split("_")
            label = GAITS.get(action.rstrip("12"))
            if label is None:
                continue
            bodies = np.unpackbits(archive[name], axis=-1, count=WIDTH_PX)
            write_video(folder / f"{name}.mp4", bodies, np.random.default_rng(number))
            rows.append(
                {"video": f"{name}.mp4", "patient_id": name, "label": label, "person": person}
            )
    return pd.DataFrame(rows)


def write_video(path: Path, bodies: np.ndarray, rng: np.random.Generator) -> None:
    """Draw silhouettes over a still background; the cloth's pattern moves with the body."""
    height, width = (ENLARGED * side for side in bodies.shape[1:])
    background = pattern(rng, height, width, mean=rng.uniform(150, 190))
    cloth = pattern(rng, 2 * height, 2 * width, mean=rng.uniform(60, 100))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FRAME_RATE_HZ, options={"crf": "18"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for body in bodies:
            cover = cv2.resize(body.astype(np.float32), (width, height))[..., None]
            y, x = (round(float(v.mean())) * ENLARGED for v in np.nonzero(body))
            worn = cloth[height - y : 2 * height - y, width - x : 2 * width - x]
            picture = cover * worn + (1 - cover) * background
            picture += rng.normal(0, NOISE, picture.shape)
            frame = av.VideoFrame.from_ndarray(picture.clip(0, 255).astype(np.uint8), "rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def pattern(rng: np.random.Generator, height: int, width: int, *, mean: float) -> np.ndarray:
    """A soft random pattern of slightly tinted grey, [height, width, 3]."""
    grain = cv2.GaussianBlur(rng.normal(size=(height, width)), (0, 0), 3)
    tint = rng.uniform(-8, 8, 3)
    return mean + tint + 12 * (grain / grain.std())[..., None]


def permuted(sequences: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Shuffle the labels among each person's sequences."""
    rng = np.random.default_rng(seed)
    labels = sequences.groupby("person")["label"].transform(lambda own: rng.permutation(own))
    return sequences.assign(label=labels)


def store_videos(sequences: pd.DataFrame, folder: Path) -> None:
    """Run the command `preprocess`; with new labels it only renews the store's index."""
    labels = folder / "labels.csv"
    sequences.to_csv(labels, index=False, quoting=csv.QUOTE_MINIMAL)
    preprocess(
        PreprocessConfig(
            videos=str(folder),
            labels=str(labels),
            store=str(folder / "store.zarr"),
            people="motion",
            flow="dis",
            size=STORE_SIZE,
        )
    )


def cross_validate(folder: Path) -> dict[str, float]:
    """Leave every person out once and compute the metrics of all of them together."""
    store = str(folder / "store.zarr")
    config = TrialConfig(
        store=store, positive_class=POSITIVE, group_by="person", folds=6, inner_folds=5, **SETTINGS
    )
    validation = CrossValidation(config, ClipStore(store))
    results = [validation.fit(fold, lambda *_: None) for fold in range(validation.num_folds)]
    table = pd.concat([result.predictions for result in results], ignore_index=True)
    return evaluate(Predictions(table, validation.classes, POSITIVE))


def show_head() -> None:
    print(
        "| labels | val video AUROC | test video AUROC [95 % CI] | test balanced acc. | seconds |"
    )
    print("|---|---|---|---|---|", flush=True)


def show_row(name: str, metrics: dict[str, float], seconds: float) -> None:
    low, high = (metrics[f"test/video/auroc_ci_{end}"] for end in ("low", "high"))
    print(
        f"| {name} | {metrics['val/video/auroc']:.3f} | {metrics['test/video/auroc']:.3f} "
        f"[{low:.3f}, {high:.3f}] | {metrics['test/video/balanced_accuracy']:.3f} "
        f"| {seconds:.0f} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
