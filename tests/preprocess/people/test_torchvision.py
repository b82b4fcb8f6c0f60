from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from asd_experiments.errors import InputError
from preprocess.decode import probe
from preprocess.method import MethodError, WeightsSource
from preprocess.people import person_finder_method
from preprocess.people.detected import find_detected_person
from preprocess.people.torchvision import MaskRcnn
from tests.preprocess.people.stand_ins import (
    box_of,
    dark_torchvision,
    overlaps_in_crops,
    torchvision_network,
    write_walk,
)

METHOD = person_finder_method("torchvision")


def test_boxes_and_masks_arrive_in_source_pixels(tmp_path: Path) -> None:
    """240 px high source, 120 px at hand, 96 px in the network."""
    masks = write_walk(tmp_path / "a.mp4", 240, 400)
    video = probe(tmp_path / "a.mp4", least_height=120)
    person = partial(find_detected_person, detector=dark_torchvision(96))(video)
    assert len(person.track.frames) == len(masks)
    true_boxes = np.stack([box_of(mask) for mask in masks])
    assert np.abs(person.track.boxes - true_boxes).max() < 4
    overlaps = overlaps_in_crops(person, video, masks)
    print(f"torchvision, known silhouettes: mask IoU mean {np.mean(overlaps):.3f}")
    assert min(overlaps) > 0.88


def test_random_weights_give_people_inside_the_picture() -> None:
    network = torchvision_network(96)
    with torch.no_grad():
        network.roi_heads.box_predictor.cls_score.weight[:] = 0
        network.roi_heads.box_predictor.cls_score.bias[1] = 9  # everything is a person
    detector = MaskRcnn(network)
    pictures = np.random.default_rng(0).integers(0, 255, (2, 60, 100, 3), dtype=np.uint8)
    found = detector(pictures)
    for bodies, again in zip(found, detector(pictures), strict=True):
        assert bodies
        for one, other in zip(bodies, again, strict=True):
            assert one.silhouette.shape == (28, 28)
            assert (one.box >= 0).all() and (one.box <= [100, 60, 100, 60]).all()
            assert one.score >= 0.5
            np.testing.assert_array_equal(one.box, other.box)
            np.testing.assert_array_equal(one.silhouette, other.silhouette)


@pytest.mark.slow
def test_weights_of_a_file_make_the_network(tmp_path: Path) -> None:
    network = torchvision_network(800)
    torch.save(network.state_dict(), tmp_path / "mask_rcnn.pth")
    content = METHOD.load_weights(WeightsSource(tmp_path / "mask_rcnn.pth"))
    built = METHOD.build(content).keywords["detector"]._network.state_dict()
    assert built.keys() == network.state_dict().keys()
    for name, tensor in network.state_dict().items():
        assert torch.equal(built[name], tensor), name


def test_wrong_weights_are_refused(tmp_path: Path) -> None:
    torch.save({"fc.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(
        MethodError, match=r"people_weights does not hold .* maskrcnn_resnet50_fpn_v2; take .*http"
    ):
        METHOD.load_weights(WeightsSource(tmp_path / "other.pth"))
    with pytest.raises(InputError, match=r"people_weights: there is no file '/.*none\.pth'"):
        METHOD.load_weights(WeightsSource(tmp_path / "none.pth"))
