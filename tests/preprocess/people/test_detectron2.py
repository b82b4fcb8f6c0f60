"""detectron2 itself, wherever it is installed."""

import pickle
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr

from asd_experiments.config import PreprocessConfig
from asd_experiments.data.store_writer import StoreWriter
from asd_experiments.errors import InputError
from preprocess.decode import probe
from preprocess.method import MethodError, WeightsSource
from preprocess.network import metadata_of
from preprocess.people import person_finder_method
from preprocess.people.detected import find_detected_person
from preprocess.people.detectron2 import MaskRcnn
from preprocess.pipeline import Preprocessor
from tests.preprocess.films import write_video
from tests.preprocess.people.stand_ins import (
    box_of,
    dark_detectron2,
    detectron2_config,
    overlaps_in_crops,
    write_walk,
)

pytest.importorskip("detectron2")

METHOD = person_finder_method("detectron2")
SIDE = 64

pytestmark = [
    pytest.mark.detectron2,
    pytest.mark.filterwarnings(
        # detectron2 0.6 on PyTorch 2.14.
        "ignore:`torch.jit.script` is deprecated:FutureWarning",
        "ignore:torch.meshgrid. in an upcoming release:UserWarning",
    ),
]


def build_network(config: Any) -> Any:
    from detectron2.modeling import build_model

    torch.manual_seed(0)
    return build_model(config).eval()


@pytest.fixture(scope="session")
def config_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default network for small pictures, few proposals and few people."""
    config = detectron2_config(SIDE)
    config.MODEL.RPN.POST_NMS_TOPK_TEST = 20
    config.TEST.DETECTIONS_PER_IMAGE = 3
    path = tmp_path_factory.mktemp("config") / "small.yaml"
    path.write_text(config.dump())
    return path


@pytest.fixture(scope="session")
def state(config_file: Path) -> dict[str, torch.Tensor]:
    """Weights that know nothing, but that everything is a person."""
    from detectron2.config import get_cfg

    config = get_cfg()
    config.merge_from_file(str(config_file), allow_unsafe=False)
    network = build_network(config)
    with torch.no_grad():
        network.roi_heads.box_predictor.cls_score.weight[:] = 0
        network.roi_heads.box_predictor.cls_score.bias[0] = 9
        network.roi_heads.box_predictor.bbox_pred.weight[:] = 0
    return network.state_dict()


@pytest.fixture(scope="session")
def weights_file(state: dict[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "model_final.pth"
    torch.save({"model": state, "iteration": 9}, path)
    return path


@pytest.fixture(scope="session")
def content(weights_file: Path, config_file: Path) -> bytes:
    weights = METHOD.load_weights(WeightsSource(weights_file, str(config_file)))
    assert weights is not None
    return weights


def test_boxes_and_masks_arrive_in_source_pixels(tmp_path: Path) -> None:
    """240 px high source, 120 px at hand, 96 px in the network; a surer bicycle is no person."""
    masks = write_walk(tmp_path / "a.mp4", 240, 400)
    video = probe(tmp_path / "a.mp4", least_height=120)
    person = partial(find_detected_person, detector=dark_detectron2(96))(video)
    assert len(person.track.frames) == len(masks)
    true_boxes = np.stack([box_of(mask) for mask in masks])
    assert np.abs(person.track.boxes - true_boxes).max() < 4
    overlaps = overlaps_in_crops(person, video, masks)
    print(f"detectron2, known silhouettes: mask IoU mean {np.mean(overlaps):.3f}")
    assert min(overlaps) > 0.88


@pytest.mark.parametrize(("order", "channel"), [("BGR", 2), ("RGB", 0)])
def test_colours_come_in_the_networks_order(order: str, channel: int) -> None:
    config = detectron2_config(32)
    config.INPUT.FORMAT = order
    network, seen = build_network(config), []
    network.inference = lambda inputs, do_postprocess: seen.extend(i["image"] for i in inputs) or []
    red = np.zeros((1, 32, 48, 3), np.uint8)
    red[..., 0] = 200
    assert MaskRcnn(network, config)(red) == []
    assert seen[0].mean(dim=(1, 2)).tolist() == [200.0 if c == channel else 0.0 for c in range(3)]


def test_pictures_are_sized_as_detectron2_sizes_them() -> None:
    from detectron2.data.transforms import ResizeShortestEdge

    for side in (0, 100, 800):
        config = detectron2_config(side)
        config.INPUT.MAX_SIZE_TEST = 1333
        detector = MaskRcnn(torch.nn.Identity(), config)
        for height, width in ((540, 960), (1080, 1920), (1920, 1080), (97, 1201)):
            due = (
                ResizeShortestEdge.get_output_shape(height, width, side, 1333)
                if side
                else (height, width)
            )
            scale = detector.scale(height, width)
            assert (int(height * scale + 0.5), int(width * scale + 0.5)) == due


def test_random_weights_give_people_inside_the_picture(content: bytes) -> None:
    """The whole network, from the bytes of a store to people, several pictures at once."""
    detector = METHOD.build(content).keywords["detector"]
    pictures = np.random.default_rng(0).integers(0, 255, (2, 60, 100, 3), dtype=np.uint8)
    found = detector(pictures)
    assert all(1 <= len(bodies) <= 3 for bodies in found)
    for bodies, again in zip(found, detector(pictures), strict=True):
        for one, other in zip(bodies, again, strict=True):
            assert one.silhouette.shape == (28, 28)
            assert one.score > 0.9
            assert (one.box >= 0).all() and (one.box <= [100, 60, 100, 60]).all()
            np.testing.assert_array_equal(one.box, other.box)
            np.testing.assert_array_equal(one.silhouette, other.silhouette)


@pytest.mark.slow
def test_random_weights_do_not_break_the_pipeline_on_a_real_walk(
    shared_data: Path, content: bytes, tmp_path: Path
) -> None:
    source = probe(shared_data / "gpjatk" / "p1s1_c3_0195.mp4")
    video = write_video(tmp_path / "short.mp4", islice(source.pictures(3), 14))
    recipe = PreprocessConfig("-", "-", people="detectron2", size=32).recipe
    preprocessor = Preprocessor(recipe, {"people": content})
    assert {"torch", "detectron2"} <= preprocessor.backends.keys()
    writer = StoreWriter(
        zarr.storage.MemoryStore(), preprocessor.recipe, preprocessor.backends, preprocessor.weights
    )
    facts = preprocessor.store_video(video, writer)
    assert 12 <= facts.num_frames <= 14


def test_one_string_of_bytes_holds_weights_and_configuration(
    content: bytes, state: dict[str, torch.Tensor], weights_file: Path, config_file: Path
) -> None:
    assert content == METHOD.load_weights(WeightsSource(weights_file, str(config_file)))
    assert "_BASE_" not in metadata_of(content)["config"]
    built = METHOD.build(content).keywords["detector"]._network.state_dict()
    assert built.keys() == state.keys()
    assert all(torch.equal(built[name], tensor) for name, tensor in state.items())


@pytest.mark.parametrize("form", ["plain.pth", "zoo.pkl", "old.pkl"])
def test_checkpoints_of_every_form_give_the_same_bytes(
    form: str, content: bytes, state: dict[str, torch.Tensor], config_file: Path, tmp_path: Path
) -> None:
    """Older checkpoints repeat what the configuration says."""
    if form == "plain.pth":
        torch.save(state, tmp_path / form)
    else:
        arrays = {name: tensor.numpy() for name, tensor in state.items()}
        if form == "old.pkl":
            arrays["pixel_mean"] = np.zeros((3, 1, 1), np.float32)
            arrays["proposal_generator.anchor_generator.cell_anchors.0"] = np.zeros((3, 4))
        zoo = {"model": arrays, "__author__": "Detectron2 Model Zoo"}
        (tmp_path / form).write_bytes(pickle.dumps(zoo, protocol=2))
    source = WeightsSource(tmp_path / form, str(config_file))
    assert METHOD.load_weights(source) == content


def test_weights_of_another_network_are_refused(
    state: dict[str, torch.Tensor], config_file: Path, tmp_path: Path
) -> None:
    torch.save(dict(list(state.items())[1:]), tmp_path / "less.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    (tmp_path / "imagenet.pkl").write_bytes(pickle.dumps({"blobs": {"w": np.zeros(3)}}))
    for name in ("less.pth", "list.pth", "imagenet.pkl"):
        with pytest.raises(MethodError, match="does not hold the weights of people_config; take"):
            METHOD.load_weights(WeightsSource(tmp_path / name, str(config_file)))
    with pytest.raises(InputError, match=r"there is no file '/.*none\.pkl'"):
        METHOD.load_weights(WeightsSource(tmp_path / "none.pkl"))


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ("nowhere.yaml", "neither a file nor a configuration of detectron2's model zoo, such as"),
        ("COCO-Detection/faster_rcnn_R_50_FPN_1x.yaml", "GeneralizedRCNN without masks; choose"),
        ("COCO-Detection/retinanet_R_50_FPN_1x.yaml", "is not a configuration of detectron2"),
    ],
)
def test_other_configurations_are_refused(config: str, reason: str, weights_file: Path) -> None:
    with pytest.raises(MethodError, match=f"people_config.*{reason}"):
        METHOD.load_weights(WeightsSource(weights_file, config))


@pytest.mark.parametrize(
    "text",
    ["MODEL: {NO_SUCH_KEY: 1}", "{ not yaml", "- a\n- b", "VERSION: 3", "MODEL: {MASK_ON: 'x'}"],
)
def test_files_that_are_no_configuration_are_refused(
    text: str, tmp_path: Path, weights_file: Path
) -> None:
    (tmp_path / "my.yaml").write_text(text)
    with pytest.raises(MethodError, match=r"'my\.yaml' is not a configuration of detectron2 \("):
        METHOD.load_weights(WeightsSource(weights_file, str(tmp_path / "my.yaml")))


def test_a_configuration_runs_no_code(tmp_path: Path, weights_file: Path) -> None:
    folder = tmp_path / "made"
    attack = f"MODEL: !!python/object/apply:os.mkdir ['{folder}']"
    (tmp_path / "my.yaml").write_text(attack)
    with pytest.raises(MethodError, match=r"'my\.yaml' is not a configuration of detectron2"):
        METHOD.load_weights(WeightsSource(weights_file, str(tmp_path / "my.yaml")))
    assert not folder.exists()


def test_the_class_person_must_be_known(tmp_path: Path) -> None:
    for datasets, num_classes, person in (
        (("coco_2017_train",), 80, 0),
        (("cityscapes_fine_instance_seg_train",), 8, 0),
        ((), 1, 0),
        (("no_such_data",), 7, None),
    ):
        config = detectron2_config(SIDE)
        config.DATASETS.TRAIN, config.MODEL.ROI_HEADS.NUM_CLASSES = datasets, num_classes
        if person is None:
            with pytest.raises(MethodError, match=r"a data set in DATASETS.TRAIN .* class person"):
                MaskRcnn(torch.nn.Identity(), config)
        else:
            assert MaskRcnn(torch.nn.Identity(), config)._person == person


def test_no_network_names_the_remedy(no_network: None) -> None:
    with pytest.raises(InputError, match=r"download https://\S+\.pkl on .* pass people_weights=F"):
        METHOD.load_weights(WeightsSource())


def test_a_configuration_without_weights_in_the_zoo_needs_a_file(config_file: Path) -> None:
    with pytest.raises(MethodError, match=r"no weights to download .*small\.yaml.*; pass people_w"):
        METHOD.load_weights(WeightsSource(None, str(config_file)))
