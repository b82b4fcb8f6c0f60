"""Mask R-CNN of detectron2: boxes and silhouettes, on a GPU when there is one.

detectron2 is in no package index, so it is imported when it is used and not before.
"""

import importlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
import yaml
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

from asd_experiments.hub import fetch
from asd_experiments.weights import read_state
from preprocess.method import Method, MethodError, WeightsSource
from preprocess.network import best_device, fit, metadata_of, to_bytes
from preprocess.people.detected import LEAST_SCORE, Body, find_detected_person, scale_to_edges
from preprocess.people.finder import PersonFinder
from preprocess.people.zoo_file import read_zoo_file

_DEFAULT_CONFIG = "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml"
_ZOO = "https://github.com/facebookresearch/detectron2/blob/main/MODEL_ZOO.md"
_INSTALL = (
    'uv pip install setuptools wheel ninja && uv pip install --no-build-isolation ".[detectron2]"'
)
_GPU_BATCH = 8


class MaskRcnn:
    """Mask R-CNN of any size, as a `Detector`.

    The silhouettes stay on the network's grid over the box; detectron2 would spread every one of
    them over the whole picture.

    Args:
        network: The network.
        config: Its configuration.

    References:
        He et al. 2017, https://arxiv.org/abs/1703.06870; Wu et al. 2019,
        https://github.com/facebookresearch/detectron2.
    """

    def __init__(self, network: nn.Module, config: Any) -> None:
        self._device = best_device()
        self._network: Any = network.to(self._device)
        self._person = _person_class(config)
        self._edges = config.INPUT.MIN_SIZE_TEST, config.INPUT.MAX_SIZE_TEST
        self._backwards = config.INPUT.FORMAT == "BGR"
        self.batch_size = 1 if self._device.type == "cpu" else _GPU_BATCH

    def scale(self, height: int, width: int) -> float:
        """Factor by which pictures of a size are enlarged or shrunk for the network."""
        shortest, longest = self._edges
        if shortest == 0:  # detectron2's way to say: as it is
            return 1.0
        return scale_to_edges(height, width, shortest=shortest, longest=longest)

    @torch.inference_mode()
    def __call__(self, pictures: UInt8[np.ndarray, "picture height width 3"]) -> list[list[Body]]:
        """People in every picture."""
        batch = self._to_network(pictures)
        found = self._network.inference([{"image": image} for image in batch], do_postprocess=False)
        ratio = np.divide(pictures.shape[1:3], batch.shape[2:])[::-1]
        return [self._bodies(seen, np.tile(ratio, 2)) for seen in found]

    def _to_network(
        self, pictures: UInt8[np.ndarray, "picture height width 3"]
    ) -> Float[Tensor, "picture 3 network_height network_width"]:
        """Pictures in the network's size and order of colours, 0 to 255."""
        scale = self.scale(*pictures.shape[1:3])
        size = [int(side * scale + 0.5) for side in pictures.shape[1:3]]
        batch = torch.from_numpy(pictures).to(self._device).permute(0, 3, 1, 2).float()
        batch = functional.interpolate(batch, size=size, mode="bilinear", antialias=True)
        return batch.flip(1) if self._backwards else batch

    def _bodies(self, seen: Any, ratio: Float[np.ndarray, " 4"]) -> list[Body]:
        """The people among what the network saw, on the picture's own grid."""
        people = seen[seen.pred_classes == self._person]
        boxes = people.pred_boxes.tensor.cpu().numpy() * ratio
        grids = (people.pred_masks[:, 0] * 255).round().byte().cpu().numpy()
        return list(map(Body, boxes.astype(np.float32), people.scores.tolist(), grids))


def load_weights(source: WeightsSource) -> bytes:
    """Read or download the weights of a Mask R-CNN.

    Args:
        source: Its config is a name in detectron2's model zoo or a YAML file; none: a ResNet-50
            with a feature pyramid. Its file is a checkpoint of torch, safetensors, or a `.pkl` of
            the zoo; none: the zoo's weights, from the local cache once they have been downloaded.

    Returns:
        The weights as safetensors, with the whole configuration beside them.

    Raises:
        InputError: If the file of weights cannot be read or downloaded.
        MethodError: If detectron2 is not installed, or the weights do not belong to the
            configuration.
    """
    _import("detectron2")
    name = source.config or _DEFAULT_CONFIG
    config = _read_config(name)
    network = _network(config)
    weights = _read_weights(source.file or _download(name))
    if fit(network, weights) is None:
        raise MethodError(
            "people_weights does not hold the weights of people_config; "
            f"take both from the same line of {_ZOO}"
        )
    return to_bytes(network.state_dict(), {"config": config.dump()})


def _import(module: str) -> Any:
    """A module of detectron2, or what to do to have it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MethodError(f"people=detectron2 needs detectron2 ({error}): {_INSTALL}") from error


def _read_config(name: str) -> Any:
    """The whole configuration of a Mask R-CNN, without the addresses of weights."""
    file = Path(name) if Path(name).is_file() else _zoo_config(name)
    config = _import("detectron2.config").get_cfg()
    try:
        # YAML that makes objects of Python could run any code.
        config.merge_from_file(str(file), allow_unsafe=False)
    except (KeyError, ValueError, TypeError, AttributeError, AssertionError, yaml.YAMLError) as e:
        reason = (str(e).splitlines() or [type(e).__name__])[0]
        raise MethodError(
            f"people_config: {file.name!r} is not a configuration of detectron2 ({reason})"
        ) from None
    kind = config.MODEL.META_ARCHITECTURE
    if kind != "GeneralizedRCNN" or not config.MODEL.MASK_ON:
        raise MethodError(
            f"people_config must describe a Mask R-CNN, got {kind} "
            f"{'with' if config.MODEL.MASK_ON else 'without'} masks; choose one from {_ZOO}"
        )
    config.MODEL.WEIGHTS, config.MODEL.DEVICE = "", "cpu"
    return config


def _zoo_config(name: str) -> Path:
    try:
        return Path(_import("detectron2.model_zoo").get_config_file(name))
    except RuntimeError:
        raise MethodError(
            f"people_config: {Path(name).name!r} is neither a file nor a configuration of "
            f"detectron2's model zoo, such as {_DEFAULT_CONFIG}"
        ) from None


def _download(name: str) -> Path:
    """The zoo's weights of a configuration, in the local cache."""
    try:
        url = _import("detectron2.model_zoo").get_checkpoint_url(name)
    except RuntimeError:
        raise MethodError(
            f"there are no weights to download for people_config {Path(name).name!r}; "
            "pass people_weights=FILE"
        ) from None
    return fetch(url, f"the weights of {name}", "people_weights")


def _read_weights(file: Path) -> object:
    """State dictionary of a checkpoint, without what the configuration says as well."""
    if file.suffix == ".pkl":
        weights = read_zoo_file(file, "people_weights")
    else:
        weights = read_state(file, "people_weights")
    if isinstance(weights, dict) and isinstance(weights.get("model"), dict):
        weights = weights["model"]
    if not isinstance(weights, dict):
        return weights
    return {name: tensor for name, tensor in weights.items() if not _is_repeated(str(name))}


def _is_repeated(name: str) -> bool:
    return name in ("pixel_mean", "pixel_std") or "anchor_generator.cell_anchors" in name


def _network(config: Any) -> nn.Module:
    """The network of a configuration, with any weights."""
    config = config.clone()
    config.MODEL.ROI_HEADS.SCORE_THRESH_TEST = LEAST_SCORE
    network: nn.Module = _import("detectron2.modeling").build_model(config)
    return network.eval()


def _person_class(config: Any) -> int:
    """Place of people among the network's classes."""
    catalog = _import("detectron2.data").MetadataCatalog
    for name in config.DATASETS.TRAIN:
        classes = list(catalog.get(name).get("thing_classes", []))
        if "person" in classes:
            return classes.index("person")
    if config.MODEL.ROI_HEADS.NUM_CLASSES == 1:
        return 0
    raise MethodError(
        "people_config must name a data set in DATASETS.TRAIN that detectron2 knows and that has "
        "the class person, such as coco_2017_train"
    )


def _build(weights: bytes | None) -> PersonFinder:
    if weights is None:
        raise MethodError("people=detectron2 needs its weights; see load_weights")
    config = _import("detectron2.config").get_cfg()
    config.merge_from_other_cfg(config.load_cfg(metadata_of(weights)["config"]))
    network = _network(config)
    network.load_state_dict(safetensors.torch.load(weights), strict=True)
    return partial(find_detected_person, detector=MaskRcnn(network, config))


DETECTRON2: Method[PersonFinder] = Method(
    _build, load_weights, libraries=("torch", "detectron2"), on_gpu=True
)
