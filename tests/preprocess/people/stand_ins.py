"""Networks that see dark bodies: the real ones around them are shown to keep boxes and masks true.

They stand in for the trained parts of Mask R-CNN and find in the network's own input what a trained
one would: so everything before (decoding, shrinking, resizing, colours) and after (boxes and
silhouettes on their way to the stored crops) is the real thing.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection import maskrcnn_resnet50_fpn_v2

from preprocess.crop import cut, oversampling_of, smooth_windows
from preprocess.decode import Video
from preprocess.people.detected import Detector
from preprocess.people.detectron2 import MaskRcnn as Detectron2
from preprocess.people.finder import Person
from preprocess.people.torchvision import MaskRcnn
from tests.preprocess.films import film, walk, wall, write_video
from tests.preprocess.truth import in_crop, intersection_over_union

CELLS = 28
CROP = 96


def dark_body(image: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Box and 28 x 28 silhouette of what is darker than a threshold in [channel, height, width]."""
    dark = image.mean(dim=0) < threshold
    rows, columns = dark.any(dim=1).nonzero()[:, 0], dark.any(dim=0).nonzero()[:, 0]
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    inside = dark[top:bottom, left:right].float()[None, None]
    grid = functional.interpolate(inside, size=(CELLS, CELLS), mode="area")
    return torch.stack([left, top, right, bottom]).float(), grid[0]


class _AsItIs(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images


class _NoProposals(nn.Module):
    def forward(self, *_: object) -> tuple[None, dict[str, Tensor]]:
        return None, {}


class _DarkHeads(nn.Module):
    """A dark person, and a bicycle that is surer but no person."""

    def forward(
        self, images: Tensor, _: object, sizes: Sequence[tuple[int, int]]
    ) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        found = []
        for image, (height, width) in zip(images, sizes, strict=True):
            box, grid = dark_body(image[:, :height, :width], -0.95)
            bicycle = torch.tensor([0.0, 0.0, 9.0, 9.0])
            found.append(
                {
                    "boxes": torch.stack([bicycle, box]),
                    "labels": torch.tensor([2, 1]),
                    "scores": torch.tensor([0.99, 0.9]),
                    "masks": torch.stack([torch.ones_like(grid), grid]),
                }
            )
        return found, {}


def torchvision_network(side: int) -> Any:
    """Torchvision's Mask R-CNN with random weights that takes small pictures."""
    torch.manual_seed(0)
    return maskrcnn_resnet50_fpn_v2(
        weights=None,
        weights_backbone=None,
        min_size=side,
        max_size=4 * side,
        rpn_post_nms_top_n_test=20,
        box_detections_per_img=3,
        box_score_thresh=0.5,
    ).eval()


def dark_torchvision(side: int) -> MaskRcnn:
    network = torchvision_network(side)
    network.backbone, network.rpn, network.roi_heads = _AsItIs(), _NoProposals(), _DarkHeads()
    return MaskRcnn(network)


def write_walk(path: Path, height: int, width: int, num_frames: int = 24) -> list[np.ndarray]:
    """Film a dark walker; the masks."""
    masks = walk(height, width, num_frames)
    write_video(path, film(masks, wall(height, width)))
    return masks


def overlaps_in_crops(person: Person, video: Video, truth: Sequence[np.ndarray]) -> list[float]:
    """Intersection over union of mask and truth in every crop, cut as the pipeline cuts."""
    track = person.track
    windows = smooth_windows(
        track.boxes, frame_rate_hz=video.frame_rate_hz, margin=0.15, smoothing_seconds=1.0
    )
    oversampling = oversampling_of(windows, CROP)
    pictures = list(video.pictures())
    crops = np.stack(
        [
            cut(pictures[number], window, CROP, oversampling)
            for number, window in zip(track.frames, windows, strict=True)
        ]
    )
    masks = person.masks(0, crops, windows)
    return [
        intersection_over_union(mask, in_crop(truth[number], window, CROP))
        for mask, number, window in zip(masks, track.frames, windows, strict=True)
    ]


def box_of(mask: np.ndarray) -> np.ndarray:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])


class _DarkInstances(nn.Module):
    """As `_DarkHeads`, in detectron2's form; pixels are grey levels minus the mean of ImageNet."""

    def forward(
        self, images: Any, features: Tensor, _: object, __: object
    ) -> tuple[list[Any], dict[str, Tensor]]:
        from detectron2.structures import Boxes, Instances

        found = []
        for image, (height, width) in zip(features, images.image_sizes, strict=True):
            box, grid = dark_body(image[:, :height, :width], -40)
            bicycle = torch.tensor([0.0, 0.0, 9.0, 9.0])
            seen = Instances((height, width))
            seen.pred_boxes = Boxes(torch.stack([bicycle, box]))
            seen.scores = torch.tensor([0.99, 0.9])
            seen.pred_classes = torch.tensor([1, 0])
            seen.pred_masks = torch.stack([torch.ones_like(grid), grid])
            found.append(seen)
        return found, {}


class _Backbone(_AsItIs):
    size_divisibility = 32
    padding_constraints: ClassVar[dict[str, int]] = {}


def detectron2_config(side: int) -> Any:
    """The default network's configuration, for small pictures."""
    model_zoo = pytest.importorskip("detectron2.model_zoo")
    config = model_zoo.get_config("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml")
    config.MODEL.DEVICE, config.MODEL.WEIGHTS = "cpu", ""
    config.INPUT.MIN_SIZE_TEST, config.INPUT.MAX_SIZE_TEST = side, 4 * side
    return config


def dark_detectron2(side: int) -> Detector:
    config = detectron2_config(side)
    from detectron2.modeling import build_model

    network = build_model(config).eval()
    network.backbone, network.proposal_generator = _Backbone(), _NoProposals()
    network.roi_heads = _DarkInstances()
    return Detectron2(network, config)
