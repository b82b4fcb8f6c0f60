import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader

from asd_experiments.data.clips import ClipDataset, InOrder, Shuffled, list_clips


def videos(*num_frames: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "video": [f"v{n}" for n in range(len(num_frames))],
            "num_frames": num_frames,
            "stretches": [[[10, n]] for n in num_frames],
            "frame_rate_hz": 25.0,
        }
    )


@pytest.mark.parametrize(
    ("num_frames", "stride", "starts"),
    [
        (48, 16, [0, 16, 32]),
        (47, 16, [0, 16]),
        (32, 8, [0, 8, 16]),
        (16, 16, [0]),
        (5, 16, [0]),
    ],
)
def test_clips_lie_wholly_in_their_video_and_no_video_is_lost(num_frames, stride, starts):
    clips = list_clips(videos(num_frames), clip_length=16, clip_stride=stride)
    assert clips["clip_start"].tolist() == starts
    assert clips["clip_start_seconds"].tolist() == [(10 + start) / 25 for start in starts]


def test_no_clip_reaches_across_the_end_of_a_stretch():
    video = videos(60).assign(stretches=[[[0, 20], [50, 35], [200, 5]]])
    clips = list_clips(video, clip_length=16, clip_stride=16)
    assert clips["clip_start"].tolist() == [0, 20, 36]
    assert clips["clip_stop"].tolist() == [16, 36, 52]
    assert clips["clip_start_seconds"].tolist() == [0, 50 / 25, 66 / 25]
    short = list_clips(video, clip_length=40, clip_stride=40)
    assert short[["clip_start", "clip_stop"]].to_numpy().tolist() == [[20, 55]]


def test_clips_keep_what_is_known_of_their_video():
    clips = list_clips(videos(32, 5, 16), clip_length=16, clip_stride=16)
    assert clips["video"].tolist() == ["v0", "v0", "v1", "v2"]


def dataset(store, clip_length: int = 8) -> ClipDataset:
    clips = list_clips(store.videos, clip_length=clip_length, clip_stride=clip_length)
    return ClipDataset(
        store,
        clips,
        classes=["ASD", "non_ASD"],
        clip_length=clip_length,
        size=24,
        segmentation=True,
    )


def test_a_batch_has_both_streams_and_the_label(small_store):
    data = dataset(small_store)
    batch = next(iter(DataLoader(data, batch_size=4, sampler=InOrder(len(data)))))
    assert batch["appearance"].shape == (4, 3, 8, 24, 24)
    assert batch["motion"].shape == (4, 2, 8, 24, 24)
    assert batch["row"].tolist() == [0, 1, 2, 3]
    assert batch["label"].tolist() == [0, 0, 1, 1]  # two clips a video, labels alternate


def test_a_clip_longer_than_the_video_is_read(small_store):
    sample = dataset(small_store, clip_length=32)[(0, None)]
    assert sample["appearance"].shape == (3, 32, 24, 24)


def test_augmentation_does_not_depend_on_the_number_of_processes(small_store):
    data = dataset(small_store)

    def epoch(num_workers: int) -> torch.Tensor:
        sampler = Shuffled(len(data), augment=True, seed=3)
        loader = DataLoader(data, batch_size=8, sampler=sampler, num_workers=num_workers)
        return torch.cat([batch["appearance"] for batch in loader])

    assert torch.equal(epoch(0), epoch(2))


def test_every_epoch_shows_each_clip_once_in_a_new_order_and_with_new_seeds():
    sampler = Shuffled(50, augment=True, seed=0)
    first = list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    assert sorted(row for row, _ in first) == list(range(50))
    assert first != second
    assert list(Shuffled(50, augment=True, seed=0)) == first
    assert list(Shuffled(50, augment=True, seed=0, epoch=1)) == second


def test_only_training_clips_are_changed():
    assert all(seed is None for _, seed in InOrder(5))
    assert all(seed is None for _, seed in Shuffled(5, augment=False, seed=0))
    assert all(seed is not None for _, seed in Shuffled(5, augment=True, seed=0))
