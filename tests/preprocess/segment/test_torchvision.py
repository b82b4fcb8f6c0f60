from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.models.segmentation import lraspp_mobilenet_v3_large

from preprocess.method import MethodError, WeightsSource
from preprocess.segment import segmenter_method
from preprocess.segment.torchvision import LrAspp
from tests.preprocess.films import ellipse
from tests.preprocess.truth import intersection_over_union

PERSON, NUM_CLASSES = 15, 21
METHOD = segmenter_method("torchvision")


class DarkIsAPerson(nn.Module):
    """Says `person` where its input, normalised as for ImageNet, is dark; else `background`."""

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        self.shape = tuple(images.shape)
        scores = torch.zeros(len(images), NUM_CLASSES, *images.shape[2:])
        scores[:, PERSON] = torch.where(images.mean(dim=1) < -1, 3.0, -3.0)
        return {"out": scores}


def dark_body(size: int) -> tuple[np.ndarray, np.ndarray]:
    mask = ellipse(size, size, size / 2)
    return np.where(mask[..., None] > 0, 20, 200).astype(np.uint8).repeat(3, axis=2), mask


def test_masks_are_on_the_crops_grid_whatever_the_networks() -> None:
    network = DarkIsAPerson()
    crop, truth = dark_body(64)
    whole = slice(0, 64), slice(0, 64)
    masks = LrAspp(network).segment_crops(np.stack([crop] * 5), [whole] * 5)
    assert network.shape == (1, 3, 520, 520)  # the last of batches of 4
    assert min(intersection_over_union(mask, truth) for mask in masks) > 0.95


def test_people_beside_the_patient_are_left_out() -> None:
    crop, truth = dark_body(64)
    crop[:, 54:] = 20
    masks = LrAspp(DarkIsAPerson()).segment_crops(crop[None], [(slice(0, 64), slice(16, 48))])
    assert intersection_over_union(masks[0], truth) > 0.95


def test_no_body_gives_no_mask() -> None:
    crop = np.full((2, 32, 32, 3), 200, np.uint8)
    nothing, everything = (slice(4, 4), slice(0, 0)), (slice(0, 32), slice(0, 32))
    assert not LrAspp(DarkIsAPerson()).segment_crops(crop, [nothing, everything]).any()


def test_weights_of_a_file_make_the_network(tmp_path: Path) -> None:
    network = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None)
    torch.save(network.state_dict(), tmp_path / "lraspp.pth")
    content = METHOD.load_weights(WeightsSource(tmp_path / "lraspp.pth"))
    assert content == METHOD.load_weights(WeightsSource(tmp_path / "lraspp.pth"))
    built = METHOD.build(content)._network.state_dict()
    assert all(torch.equal(built[name], t) for name, t in network.state_dict().items())


def test_wrong_weights_are_refused(tmp_path: Path) -> None:
    torch.save({"fc.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(
        MethodError,
        match=r"segment_weights does not hold .* lraspp_mobilenet_v3_large; take .*http",
    ):
        METHOD.load_weights(WeightsSource(tmp_path / "other.pth"))
    with pytest.raises(MethodError, match="segment=torchvision has no config"):
        METHOD.load_weights(WeightsSource(None, "x"))
