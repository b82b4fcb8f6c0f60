"""Published and other files of weights, in networks of this project."""

import hashlib
import pkgutil
import urllib.error
from collections import Counter
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from asd_experiments.errors import InputError
from asd_experiments.models.backbones import BACKBONES, build_backbone
from asd_experiments.models.pretrained import (
    WeightsFile,
    check_published,
    fit_backbone,
    fit_pretrained,
    load_pretrained,
)
from asd_experiments.models.two_stream import build_two_stream

LIBRARY = {
    "slow_50": ("slow_r50", {}),
    "slowfast_50": ("slowfast_r50", {"head_pool_kernel_sizes": ((1, 2, 2), (4, 2, 2))}),
    "r2plus1d_18": ("r2plus1d_18", {}),
}


def library_network(backbone: str) -> nn.Module:
    """The library's network with its head, for clips of 4 x 64 x 64, and statistics of its own."""
    name, options = LIBRARY[backbone]
    if backbone == "r2plus1d_18":
        from torchvision.models import video as library
    else:
        from pytorchvideo.models import hub as library
    torch.manual_seed(3)
    network = getattr(library, name)(**options)
    if backbone == "slow_50":
        network.blocks[5].pool = nn.AvgPool3d((4, 2, 2))
    for buffer_name, buffer in network.named_buffers():
        if "running" in buffer_name:
            buffer.uniform_(0.5, 1.5)
    return network.eval()


def in_library(backbone: str, network: nn.Module, clips: torch.Tensor) -> torch.Tensor:
    """Features before the library's last layer."""
    if backbone == "r2plus1d_18":
        network.fc = nn.Identity()
        return network(clips)
    network.blocks[-1].proj = nn.Identity()
    return network([clips[:, :, ::4], clips] if backbone == "slowfast_50" else clips)


def two_stream(backbone="slow_50", fusion="late_average", device="cpu", motion_backbone=None):
    with torch.device(device):
        return build_two_stream(
            backbone=backbone,
            motion_backbone=motion_backbone,
            fusion=fusion,
            num_classes=2,
            clip_length=16 if backbone == "c3d" else 4,
            size=112 if backbone == "c3d" else 64,
            width=1.0,
            dropout=0.0,
        )


def loaded(file: Path, backbone="slow_50", fusion="late_average"):
    network = two_stream(backbone, fusion)
    weights = fit_pretrained(str(file), network)
    load_pretrained(network, weights)
    return network.eval(), weights


@pytest.fixture(scope="module")
def slow():
    return library_network("slow_50").state_dict()


@pytest.mark.slow
@pytest.mark.parametrize("backbone", list(LIBRARY))
def test_a_published_file_gives_the_features_of_the_library(backbone, tmp_path):
    published = library_network(backbone)
    state = published.state_dict()
    if backbone == "r2plus1d_18":
        torch.save(state, tmp_path / "weights.pth")
    else:
        torch.save({"model_state": state, "epoch": 3}, tmp_path / "weights.pth")
    network, weights = loaded(tmp_path / "weights.pth", backbone)
    clips = torch.randn(2, 3, 4, 64, 64)
    with torch.no_grad():
        ours = network.backbones["appearance"](clips)
        torch.testing.assert_close(ours, in_library(backbone, published, clips))
    appearance, motion = weights["appearance"], weights["motion"]
    assert (appearance.num_skipped, appearance.num_fresh, appearance.num_reshaped) == (2, 0, 0)
    assert appearance.num_loaded == len(state) - 2
    stems = 2 if backbone == "slowfast_50" else 1
    assert (motion.num_loaded, motion.num_reshaped) == (len(state) - 2 - stems, stems)
    content = (tmp_path / "weights.pth").read_bytes()
    assert appearance.sha256 == hashlib.sha256(content).hexdigest()
    assert "2 skipped, 0 fresh; weights.pth" in str(appearance)


PUBLISHED = {
    "r3d_18": "torchvision.models.video.r3d_18",
    "mc3_18": "torchvision.models.video.mc3_18",
    "r2plus1d_18": "torchvision.models.video.r2plus1d_18",
    "mvit_v2_s": "torchvision.models.video.mvit_v2_s",
    "resnet2d_50": "torchvision.models.resnet50",
    "cnn_lstm": "torchvision.models.resnet50",
    "r2plus1d_50": "pytorchvideo.models.hub.r2plus1d_r50",
    "slow_50": "pytorchvideo.models.hub.slow_r50",
    "slowfast_50": "pytorchvideo.models.hub.slowfast_r50",
    "x3d_s": "pytorchvideo.models.hub.x3d_s",
    "x3d_m": "pytorchvideo.models.hub.x3d_m",
    "i3d_50": "pytorchvideo.models.hub.i3d_r50",
    "csn_101": "pytorchvideo.models.hub.csn_r101",
}


def test_every_network_of_a_hub_is_tested():
    assert set(PUBLISHED) == {name for name, cls in BACKBONES.items() if cls.published.url}


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_tensor_but_the_classifier_of_a_published_network_is_taken(name):
    with torch.device("meta"):
        backbone = build_backbone(
            name, in_channels=2, clip_length=16, size=112, width=1.0, dropout=0.0
        )
        tensors = pkgutil.resolve_name(PUBLISHED[name])().state_dict()
    file = WeightsFile("weights.pth", "pretrained", "0", tensors)
    fitted = fit_backbone(file, backbone, "motion")
    assert fitted.num_reshaped == len(backbone.stem_convolutions)
    assert fitted.num_loaded == len(tensors) - 2 - fitted.num_reshaped
    assert fitted.num_fresh == (4 if name == "cnn_lstm" else 0)


def test_the_motion_network_differs_in_its_stem_alone(slow, tmp_path):
    torch.save(slow, tmp_path / "w.pth")
    network, _ = loaded(tmp_path / "w.pth")
    appearance, motion = (network.backbones[key].state_dict() for key in ("appearance", "motion"))
    stem = "network.blocks.0.conv.weight"
    for name, tensor in appearance.items():
        assert torch.equal(tensor, slow[name.removeprefix("network.")]), name
        assert name == stem or torch.equal(tensor, motion[name]), name
    half = slow["blocks.0.conv.weight"].sum(dim=1) / 2
    torch.testing.assert_close(motion[stem], torch.stack([half, half], dim=1))


@pytest.fixture(scope="module")
def pictures():
    from torchvision.models import resnet50

    return resnet50().state_dict()


@pytest.fixture
def hub(slow, pictures, tmp_path, monkeypatch):
    """A hub that has two files, and says which were asked for."""
    asked = []

    def download(url, path, hash_prefix, progress):
        asked.append(Path(path).name)
        torch.save({"SLOW_8x8_R50.pyth": slow, "resnet50-11ad3fa6.pth": pictures}[asked[-1]], path)

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    return asked


def test_each_stream_starts_from_weights_of_its_own(slow, pictures, hub):
    network = two_stream(motion_backbone="resnet2d_50", device="meta")
    weights = fit_pretrained("kinetics400", network, "imagenet1k")
    assert sorted(hub) == ["SLOW_8x8_R50.pyth", "resnet50-11ad3fa6.pth"]
    appearance, motion = weights["appearance"], weights["motion"]
    name = "blocks.4.res_blocks.0.branch2.conv_a.weight"
    assert torch.equal(appearance.tensors[f"network.{name}"], slow[name])
    name = "layer4.0.conv1.weight"
    assert torch.equal(motion.tensors[f"network.{name}"], pictures[name])
    assert motion.num_reshaped == 1 and (appearance.num_fresh, motion.num_fresh) == (0, 0)


def test_a_stream_may_start_fresh_beside_a_pretrained_one(slow, tmp_path):
    torch.save(slow, tmp_path / "w.pth")
    file, network = str(tmp_path / "w.pth"), two_stream(device="meta")
    assert list(fit_pretrained(file, network, "none")) == ["appearance"]
    assert list(fit_pretrained(None, network, file)) == ["motion"]
    assert list(fit_pretrained(None, network)) == []
    alone = two_stream(fusion="motion_only", device="meta")
    assert list(fit_pretrained(None, alone, file)) == ["motion"]
    assert list(fit_pretrained(file, alone, file)) == ["motion"]


def test_errors_name_the_parameter_of_the_stream(tmp_path):
    network = two_stream(motion_backbone="resnet2d_50", device="meta")
    with pytest.raises(InputError, match=r"motion_pretrained=none.pth: there is no such file"):
        fit_pretrained(None, network, "none.pth")
    torch.save({"fc.weight": torch.ones(2)}, tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"motion_pretrained: 'w.pth' does not hold the weights"):
        fit_pretrained(None, network, str(tmp_path / "w.pth"))


def test_a_network_of_another_data_set_is_told_its_own_parameter(hub):
    network = two_stream(motion_backbone="resnet2d_50", device="meta")
    with pytest.raises(
        InputError,
        match="pretrained=kinetics400: no hub has such weights of resnet2d_50; "
        "resnet2d_50 starts from motion_pretrained=imagenet1k or a file",
    ):
        fit_pretrained("kinetics400", network)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"pretrained": "kinetics400"}, None),
        ({"pretrained": "weights/nowhere.pt"}, None),
        ({"pretrained": "kinetics400", "motion_pretrained": "none"}, None),
        (
            {"pretrained": "imagenet1k"},
            "pretrained=imagenet1k: no hub has such weights of slow_50; slow_50 starts from "
            "pretrained=kinetics400",
        ),
        (
            {"pretrained": "kinetics400", "motion_backbone": "c3d"},
            "pretrained=kinetics400: no hub has such weights of c3d",
        ),
        (
            {"motion_pretrained": "kinetics400", "fusion": "early_concat"},
            "motion_pretrained=kinetics400: this fusion has no network for the motion stream alone",
        ),
    ],
)
def test_what_no_hub_has_is_known_without_asking_one(given, message, monkeypatch):
    monkeypatch.setattr(torch.hub, "download_url_to_file", None)
    choice = {"backbone": "slow_50", "fusion": "late_average", "pretrained": None} | given
    if message is None:
        check_published(**choice)
        return
    with pytest.raises(InputError, match=message):
        check_published(**choice)


@pytest.mark.parametrize("fusion", ["early_concat", "appearance_only"])
def test_motion_weights_that_no_network_could_take_are_refused(fusion):
    network = two_stream(fusion=fusion, device="meta")
    with pytest.raises(InputError, match="motion_pretrained=none: this fusion has no network for"):
        fit_pretrained(None, network, "none")


@pytest.mark.parametrize("motion", ["weights.pth", "none"])
def test_weights_that_only_the_missing_stream_could_take_are_refused(motion):
    network = two_stream(fusion="motion_only", device="meta")
    with pytest.raises(
        InputError,
        match="pretrained=kinetics400: this fusion has no other network than that of "
        f"motion_pretrained={motion}; leave one of them out",
    ):
        fit_pretrained("kinetics400", network, motion)


def prefixed(state, prefix):
    return {prefix + name: tensor for name, tensor in state.items()}


@pytest.mark.parametrize(
    ("name", "wrap"),
    [
        ("plain.pt", lambda state: state),
        ("torchvision.pth", lambda state: state),
        ("zoo.pyth", lambda state: {"model_state": state, "cfg": "MODEL: ..."}),
        ("parallel.pth", lambda state: {"model": prefixed(state, "module.")}),
        (
            "lightning.ckpt",
            lambda state: {
                "epoch": 1,
                "state_dict": prefixed(state, "model.encoder.") | {"loss.weight": torch.ones(2)},
                "optimizer_states": [{}],
            },
        ),
    ],
)
def test_every_kind_of_file_gives_the_same_weights(slow, name, wrap, tmp_path):
    torch.save(wrap(slow), tmp_path / name)
    weights = fit_pretrained(str(tmp_path / name), two_stream(device="meta"))["appearance"]
    assert weights.num_fresh == 0 and weights.file == name
    assert all(torch.equal(t, slow[n.removeprefix("network.")]) for n, t in weights.tensors.items())


@pytest.mark.slow
def test_a_model_of_this_project_gives_each_stream_its_own_weights(tmp_path):
    torch.manual_seed(0)
    first = two_stream()
    save_file(first.state_dict(), tmp_path / "fold_0.safetensors")
    network, weights = loaded(tmp_path / "fold_0.safetensors")
    for name, tensor in first.backbones.state_dict().items():
        assert torch.equal(tensor, network.backbones.state_dict()[name])
    assert weights["motion"].num_reshaped == 0
    network, _ = loaded(tmp_path / "fold_0.safetensors", fusion="motion_only")
    assert torch.equal(
        first.backbones["motion"].network.blocks[0].conv.weight,
        network.backbones["motion"].network.blocks[0].conv.weight,
    )


def refused(state, tmp_path, message, **kwargs):
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(InputError, match=message):
        fit_pretrained(str(tmp_path / "w.pth"), two_stream(device="meta", **kwargs))


def test_weights_of_another_network_are_refused_with_the_first_names(slow, tmp_path):
    refused(
        slow,
        tmp_path,
        r"'w.pth' does not hold the weights of r2plus1d_18: none of its names is known; it would "
        r"need stem.0.weight, stem.1.weight, stem.1.bias and \d+ more; take them from "
        r"https://\S+r2plus1d_18-91a641e6.pth",
        backbone="r2plus1d_18",
    )
    refused({"fc.weight": torch.ones(2)}, tmp_path, "none of its names is known")


def test_half_a_network_is_refused(slow, tmp_path):
    part = {name: tensor for name, tensor in slow.items() if not name.startswith("blocks.4")}
    refused(part, tmp_path, r"it has \d\d% of the network; missing are blocks.4.res_blocks.0.br")


def test_a_deeper_network_is_refused_although_all_names_are_there(slow, tmp_path):
    deeper = {
        name.replace("res_blocks.0", f"res_blocks.{number}"): tensor
        for number in (10, 11, 12)
        for name, tensor in slow.items()
        if name.startswith("blocks.4.res_blocks.0.branch2")
    }
    refused(slow | deeper, tmp_path, r"the network takes \d\d% of it; left over are blocks.4.res_b")


def test_other_shapes_are_refused_and_named(slow, tmp_path):
    stem = "blocks.0.conv.weight"
    refused(
        slow | {stem: torch.zeros(64, 3, 5, 7, 7)},
        tmp_path,
        r"other shapes have blocks.0.conv.weight \(64x3x5x7x7, not 64x3x1x7x7\); take them from",
    )


def test_several_networks_in_one_file_are_refused(slow, tmp_path):
    both = prefixed(slow, "query.") | prefixed(slow, "key.")
    refused(both, tmp_path, "it holds several such networks, below key., query.")


def test_files_that_hold_no_weights_are_refused(tmp_path):
    network = two_stream(device="meta")
    (tmp_path / "text.pth").write_text("these are no weights")
    torch.save([1, 2], tmp_path / "list.pth")
    for name, message in {
        "text.pth": "pretrained: '.*text.pth' is not a file of weights: it is damaged, or was nev",
        "list.pth": "pretrained: '.*list.pth' holds no tensors by name",
    }.items():
        with pytest.raises(InputError, match=message):
            fit_pretrained(str(tmp_path / name), network)


def test_code_in_a_file_is_not_executed(tmp_path):
    class Evil:
        def __reduce__(self):
            return Path.touch, (tmp_path / "executed",)

    refused({"model_state": Evil()}, tmp_path, "of weights: it holds getattr")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("backbone", [n for n, kind in BACKBONES.items() if kind.published.url])
def test_without_a_network_one_line_says_what_to_download(backbone, tmp_path, monkeypatch):
    def no_network(*_: object, **__: object) -> None:
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    published = BACKBONES[backbone].published
    with pytest.raises(InputError) as caught:
        fit_pretrained(published.dataset, two_stream(backbone, device="meta"))
    text = str(caught.value)
    assert text.startswith(f"the {published.dataset} weights of {backbone} cannot be downloaded")
    assert f"download {published.url} on a machine" in text
    assert text.endswith("pass pretrained=FILE") and "\n" not in text


def test_what_was_downloaded_once_is_taken_from_the_cache(slow, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    downloads = Counter()

    def download(url, path, hash_prefix, progress):
        downloads[url] += 1
        torch.save({"model_state": slow}, path)

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    for _ in range(2):
        weights = fit_pretrained("kinetics400", two_stream(device="meta"))
        assert weights["appearance"].file == "SLOW_8x8_R50.pyth"
    assert list(downloads.values()) == [1]


def test_what_no_hub_has_is_refused_with_a_remedy():
    c3d = r"download the sports1m weights of c3d from .*mmaction2.* and pass pretrained=FILE"
    with pytest.raises(InputError, match=f"kinetics400: no hub has such weights of c3d; {c3d}"):
        fit_pretrained("kinetics400", two_stream("c3d", device="meta"))
    with pytest.raises(InputError, match=f"sports1m: there is no such file; {c3d}"):
        fit_pretrained("sports1m", two_stream("c3d", device="meta"))
    slow = "slow_50 starts from pretrained=kinetics400 or a file of weights"
    with pytest.raises(InputError, match=f"imagenet1k: no hub has such weights of .*; {slow}$"):
        fit_pretrained("imagenet1k", two_stream(device="meta"))
    with pytest.raises(InputError, match=f"sports1m: there is no such file; {slow}$"):
        fit_pretrained("sports1m", two_stream(device="meta"))


def test_a_data_set_that_is_nearly_right_is_proposed():
    with pytest.raises(InputError, match=r"no such file; .*; did you mean 'kinetics400'\?"):
        fit_pretrained("Kinetics-400", two_stream(device="meta"))


def as_mmaction2(name: str) -> str:
    layer, kind = name.removeprefix("convolutions.").split(".")
    return f"backbone.{layer}.conv.{kind}" if "conv" in layer else f"backbone.{layer}.{kind}"


def as_pickle(name: str) -> str:
    layer, kind = name.removeprefix("convolutions.").split(".")
    return f"{layer.removesuffix('a') if layer[-2] in '12' else layer}.{kind}"


@pytest.mark.parametrize("port", [as_mmaction2, as_pickle])
def test_both_ports_of_c3d_load(port, tmp_path):
    network = two_stream("c3d", "appearance_only")
    own = network.backbones["appearance"].state_dict()
    state = {port(name): tensor for name, tensor in own.items()}
    torch.save({"state_dict": state | {"fc8.weight": torch.ones(1)}}, tmp_path / "c3d.pth")
    weights = fit_pretrained(str(tmp_path / "c3d.pth"), network)["appearance"]
    assert (weights.num_loaded, weights.num_skipped, weights.num_fresh) == (len(own), 1, 0)
    assert all(torch.equal(weights.tensors[name], own[name]) for name in own)


@pytest.mark.parametrize("backbone", list(BACKBONES))
def test_every_backbone_names_the_convolutions_that_see_the_clip(backbone):
    def shapes(channels):
        frames, size = (16, 112) if backbone == "c3d" else (8, 32)
        with torch.device("meta"):
            network = build_backbone(
                backbone,
                in_channels=channels,
                clip_length=frames,
                size=size,
                width=1.0,
                dropout=0.0,
            )
        return {name: tensor.shape for name, tensor in network.state_dict().items()}

    rgb, flow = shapes(3), shapes(2)
    differing = {name for name in rgb if rgb[name] != flow[name]}
    assert differing == {f"{name}.weight" for name in BACKBONES[backbone].stem_convolutions}


@pytest.mark.parametrize("backbone", [n for n, kind in BACKBONES.items() if kind.published.url])
def test_normalisation_is_the_librarys(backbone):
    published = BACKBONES[backbone].published
    image = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    video = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)
    pytorchvideo = (0.45, 0.45, 0.45), (0.225, 0.225, 0.225)
    resnets = {"r2plus1d_18": video, "r3d_18": video, "mc3_18": video}
    expected = {**resnets, "resnet2d_50": image, "cnn_lstm": image}.get(backbone, pytorchvideo)
    assert (published.normalisation.mean, published.normalisation.std) == expected


def test_the_guide_names_the_weights_of_every_network():
    guide = (Path(__file__).parents[2] / "docs/pretraining.md").read_text()
    rows = [line for line in guide.splitlines() if line.startswith("| `")]
    for backbone, kind in BACKBONES.items():
        (row,) = [row for row in rows if f"`{backbone}`" in row.split("|")[1]]
        name = getattr(kind.published, "name", "in no hub")
        assert name in row, backbone
        assert kind.published.dataset in row or kind.published.url is None, backbone
