"""Mask R-CNN of torchvision: boxes and silhouettes, on a GPU when there is one."""

from functools import partial

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torchvision.models.detection import (
    MaskRCNN,
    MaskRCNN_ResNet50_FPN_V2_Weights,
    maskrcnn_resnet50_fpn_v2,
)

from preprocess.method import Method
from preprocess.network import HubNetwork, best_device
from preprocess.people.detected import LEAST_SCORE, Body, find_detected_person, scale_to_edges
from preprocess.people.finder import PersonFinder

_PERSON = 1
_GPU_BATCH = 8
_NETWORK = HubNetwork(
    option="people=torchvision",
    name="maskrcnn_resnet50_fpn_v2",
    build=lambda: maskrcnn_resnet50_fpn_v2(
        weights=None, weights_backbone=None, box_score_thresh=LEAST_SCORE
    ),
    hub=MaskRCNN_ResNet50_FPN_V2_Weights.COCO_V1,
)


class MaskRcnn:
    """torchvision's Mask R-CNN with a ResNet-50 and a feature pyramid, as a `Detector`.

    Its parts are called one by one: the last one would spread every silhouette, which the network
    gives on a grid of 28 x 28 cells over the box, over the whole picture.

    References:
        He et al. 2017, https://arxiv.org/abs/1703.06870; Li et al. 2021,
        https://arxiv.org/abs/2111.11429.
    """

    def __init__(self, network: MaskRCNN) -> None:
        self._device = best_device()
        self._network = network.to(self._device)
        self.batch_size = 1 if self._device.type == "cpu" else _GPU_BATCH

    def scale(self, height: int, width: int) -> float:
        """Factor by which pictures of a size are enlarged or shrunk for the network."""
        resize = self._network.transform
        return scale_to_edges(height, width, shortest=resize.min_size[-1], longest=resize.max_size)

    @torch.inference_mode()
    def __call__(self, pictures: UInt8[np.ndarray, "picture height width 3"]) -> list[list[Body]]:
        """People in every picture."""
        batch = torch.from_numpy(pictures).to(self._device).permute(0, 3, 1, 2) / 255
        images, _ = self._network.transform(list(batch))
        features = self._network.backbone(images.tensors)
        proposals, _ = self._network.rpn(images, features)
        found, _ = self._network.roi_heads(features, proposals, images.image_sizes)
        return [
            _bodies(seen, pictures.shape[1:3], size)
            for seen, size in zip(found, images.image_sizes, strict=True)
        ]


def _bodies(
    seen: dict[str, Tensor], picture: tuple[int, ...], network_size: tuple[int, int]
) -> list[Body]:
    """The people among what the network saw, on the picture's own grid."""
    people = seen["labels"] == _PERSON
    ratio = np.divide(picture, network_size)[::-1]
    boxes = seen["boxes"][people].cpu().numpy() * np.tile(ratio, 2)
    grids = (seen["masks"][people, 0] * 255).round().byte().cpu().numpy()
    scores = seen["scores"][people].tolist()
    return list(map(Body, boxes.astype(np.float32), scores, grids))


def _build(weights: bytes | None) -> PersonFinder:
    return partial(find_detected_person, detector=MaskRcnn(_NETWORK.network(weights)))


TORCHVISION: Method[PersonFinder] = Method(
    _build, _NETWORK.load_weights, libraries=("torch", "torchvision"), on_gpu=True
)
