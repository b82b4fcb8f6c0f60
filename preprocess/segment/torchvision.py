"""Silhouettes by torchvision's LR-ASPP MobileNetV3, on a GPU when there is one."""

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.segmentation import (
    LRASPP_MobileNet_V3_Large_Weights,
    lraspp_mobilenet_v3_large,
)

from preprocess.decode import Video
from preprocess.method import Method
from preprocess.network import HubNetwork, best_device
from preprocess.people.track import Track
from preprocess.scene import main_parts
from preprocess.segment.cropped import CroppedPerson, Reach
from preprocess.segment.segmenter import Segmenter

_HUB = LRASPP_MobileNet_V3_Large_Weights.COCO_WITH_VOC_LABELS_V1
_PERSON = _HUB.meta["categories"].index("person")
_BOX_ROOM = 0.08  # of the body's height, between the track's box and where its mask may reach
_CPU_BATCH, _GPU_BATCH = 4, 16
_NETWORK = HubNetwork(
    option="segment=torchvision",
    name="lraspp_mobilenet_v3_large",
    build=lambda: lraspp_mobilenet_v3_large(weights=None, weights_backbone=None),
    hub=_HUB,
)


class LrAspp:
    """Segments people in crops; others than the patient are left out by the track's box.

    References:
        Howard et al. 2019, section 6.4, https://arxiv.org/abs/1905.02244.
    """

    def __init__(self, network: nn.Module) -> None:
        self._device = best_device()
        self._network = network.to(self._device)
        self._preset = _HUB.transforms(antialias=True)
        self._batch_size = _CPU_BATCH if self._device.type == "cpu" else _GPU_BATCH

    def __call__(self, video: Video, track: Track) -> CroppedPerson:
        """The same track with this network's silhouettes; see `Segmenter`."""
        return CroppedPerson(video, track, self.segment_crops, _BOX_ROOM)

    def segment_crops(
        self, crops: UInt8[np.ndarray, "time size size 3"], reaches: list[Reach]
    ) -> UInt8[np.ndarray, "time size size"]:
        """Body (1) and surroundings (0) of crops.

        Args:
            crops: Pictures.
            reaches: Rows and columns of each that the body may cover.
        """
        batches = [
            self._person(crops[start : start + self._batch_size])
            for start in range(0, len(crops), self._batch_size)
        ]
        masks = np.zeros(crops.shape[:3], np.uint8)
        for mask, person, reach in zip(masks, np.concatenate(batches), reaches, strict=True):
            if person[reach].size:
                mask[reach] = main_parts(person[reach])
        return masks

    @torch.inference_mode()
    def _person(
        self, crops: UInt8[np.ndarray, "time size size 3"]
    ) -> Float[np.ndarray, "time size size"]:
        """How much likelier a person is than anything else, where it is; elsewhere zero."""
        batch = torch.from_numpy(np.ascontiguousarray(crops)).to(self._device)
        scores = self._network(self._preset(batch.permute(0, 3, 1, 2)))["out"]
        lead = _lead(scores)
        size = crops.shape[1]
        resized = functional.interpolate(
            lead, size=(size, size), mode="bilinear", antialias=True, align_corners=False
        )
        return resized[:, 0].clamp(min=0).cpu().numpy()


def _lead(
    scores: Float[Tensor, "time category height width"],
) -> Float[Tensor, "time 1 height width"]:
    """Score of a person above the best of the other categories."""
    others = torch.cat([scores[:, :_PERSON], scores[:, _PERSON + 1 :]], dim=1)
    return scores[:, _PERSON : _PERSON + 1] - others.amax(dim=1, keepdim=True)


def _build(weights: bytes | None) -> Segmenter:
    return LrAspp(_NETWORK.network(weights))


TORCHVISION: Method[Segmenter] = Method(
    _build, _NETWORK.load_weights, libraries=("torch", "torchvision"), on_gpu=True
)
