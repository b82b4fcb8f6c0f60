"""Clips of a store: the list of them, and the data set that reads them."""

from collections.abc import Iterator, Sequence
from typing import TypedDict

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from asd_experiments.data.store import ClipStore
from asd_experiments.data.transforms import UNCHANGED, draw_augmentation, make_clip
from asd_experiments.normalisation import KINETICS, Normalisation

Draw = tuple[int, int | None]
"""Row of the clip table, and the seed of its augmentation (None: read it unchanged)."""


class ClipSample(TypedDict):
    """One clip with its label; the default collation makes batches of it."""

    appearance: Float[Tensor, "*clip 3 time height width"]
    motion: Float[Tensor, "*clip 2 time height width"]
    label: Int[Tensor, "*clip"]
    row: Int[Tensor, "*clip"]


def list_clips(videos: pd.DataFrame, *, clip_length: int, clip_stride: int) -> pd.DataFrame:
    """List the clips of every video; one row per clip.

    Clips start every `clip_stride` frames and lie wholly in one stretch of their video. A video
    whose stretches are all shorter than a clip gives one clip all the same, from the longest (see
    `transforms.make_clip`): no patient is lost.

    Args:
        videos: The store's index.
        clip_length: Frames of a clip.
        clip_stride: Frames from the start of a clip to the next one's.

    Returns:
        The columns of `videos` with `clip_start` and `clip_stop` (first frame and one past the
        last, counted from 0 in the stored video) and `clip_start_seconds` (in the source video).
    """
    places = [_places(stretches, clip_length, clip_stride) for stretches in videos["stretches"]]
    clips = videos.loc[videos.index.repeat([len(p) for p in places])].reset_index(drop=True)
    clips[["clip_start", "clip_stop", "source_frame"]] = np.concatenate(places)
    clips["clip_start_seconds"] = clips.pop("source_frame") / clips["frame_rate_hz"]
    return clips


def _places(
    stretches: Sequence[Sequence[int]], clip_length: int, clip_stride: int
) -> Int[np.ndarray, "clip 3"]:
    """Start and stop in the stored video, and start in the source, of every clip of a video."""
    lengths = [length for _, length in stretches]
    least = min(clip_length, max(lengths))
    places, offset = [], 0
    for source_frame, length in stretches:
        for start in range(0, length - least + 1, clip_stride):
            places.append((offset + start, offset + start + least, source_frame + start))
        offset += length
    return np.array(places[: None if least == clip_length else 1])


class ClipDataset(Dataset[ClipSample]):
    """Clips by row, read from the store and prepared for the network.

    Args:
        store: Where the clips are.
        clips: Rows of `list_clips`.
        classes: Labels in the order of the network's outputs.
        clip_length: Frames of a clip.
        size: Side of the network's input, pixels.
        segmentation: Blank both streams outside the body mask.
        normalisation: How RGB is scaled for the network.
    """

    def __init__(
        self,
        store: ClipStore,
        clips: pd.DataFrame,
        *,
        classes: list[str],
        clip_length: int,
        size: int,
        segmentation: bool,
        normalisation: Normalisation = KINETICS,
    ) -> None:
        self._store = store
        self._keys = clips["key"].tolist()
        self._starts = clips["clip_start"].tolist()
        self._stops = clips["clip_stop"].tolist()
        self._labels = [classes.index(label) for label in clips["label"]]
        self._clip_length = clip_length
        self._size = size
        self._segmentation = segmentation
        self._normalisation = normalisation

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, draw: Draw) -> ClipSample:
        row, seed = draw
        frames = self._store.read(self._keys[row], self._starts[row], self._stops[row])
        clip = make_clip(
            frames,
            clip_length=self._clip_length,
            size=self._size,
            segmentation=self._segmentation,
            normalisation=self._normalisation,
            augmentation=UNCHANGED if seed is None else draw_augmentation(seed),
        )
        return {
            "appearance": clip.appearance,
            "motion": clip.motion,
            "label": torch.tensor(self._labels[row]),
            "row": torch.tensor(row),
        }


class InOrder(Sampler[Draw]):
    """Every clip once, in the order of the table, unchanged."""

    def __init__(self, num_clips: int) -> None:
        self._num_clips = num_clips

    def __len__(self) -> int:
        return self._num_clips

    def __iter__(self) -> Iterator[Draw]:
        return ((row, None) for row in range(self._num_clips))


class Shuffled(Sampler[Draw]):
    """Every clip once, in a new order each epoch, each with its own augmentation seed.

    The seeds are drawn here and travel with the row, so that the result does not depend on how
    many processes read clips. An epoch's draws follow from its number, not from the epochs before.
    """

    def __init__(self, num_clips: int, *, augment: bool, seed: int, epoch: int = 0) -> None:
        self._num_clips = num_clips
        self._augment = augment
        self._seed = seed
        self._epoch = epoch

    def __len__(self) -> int:
        return self._num_clips

    def set_epoch(self, epoch: int) -> None:
        """Draw for this epoch from now on, counted from 0; Lightning calls it."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[Draw]:
        seed = int(np.random.SeedSequence([self._seed, self._epoch]).generate_state(1)[0])
        generator = torch.Generator().manual_seed(seed)
        rows = self._rows(generator).tolist()
        seeds = torch.randint(2**31, (self._num_clips,), generator=generator).tolist()
        return (
            (row, seed if self._augment else None) for row, seed in zip(rows, seeds, strict=True)
        )

    def _rows(self, generator: torch.Generator) -> Int[Tensor, " clip"]:
        return torch.randperm(self._num_clips, generator=generator)


class Drawn(Shuffled):
    """As many clips as there are, each drawn with a probability of its own, with replacement.

    Args:
        weights: Of every clip; its probability is its share of their sum.
        augment: See `Shuffled`.
        seed: Of the draws.
        epoch: The first one.
    """

    def __init__(
        self, weights: Float[Tensor, " clip"], *, augment: bool, seed: int, epoch: int = 0
    ) -> None:
        super().__init__(len(weights), augment=augment, seed=seed, epoch=epoch)
        self._weights = weights

    def _rows(self, generator: torch.Generator) -> Int[Tensor, " clip"]:
        return torch.multinomial(
            self._weights, self._num_clips, replacement=True, generator=generator
        )
