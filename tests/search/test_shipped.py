"""The spaces in search_spaces/ hold what their names promise."""

import re
from itertools import product
from pathlib import Path

import pytest

from asd_experiments.config import TrainConfig, close_defaults
from asd_experiments.demo import DEMO_DEFAULTS
from asd_experiments.models.backbones import BACKBONES
from asd_experiments.models.fusion import FUSIONS
from asd_experiments.search.reader import load_space
from tests.search.files import problems_of, space_of

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "search_spaces"
FILES = sorted(FOLDER.glob("*.yaml"))


def load(name, **options):
    return load_space(FOLDER / f"{name}.yaml", **options)


def test_all_spaces_are_there():
    names = [file.stem for file in FILES]
    assert names == ["ablation", "fusion", "quick", "table1", "table2", "tuning"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_space_can_be_tried_with_and_without_a_store(file):
    for defaults in ({}, DEMO_DEFAULTS):
        space = load_space(file, defaults=defaults)
        assert space.name == file.stem and space.description and space.num_trials
        assert all(objective.metric.startswith("val/patient/") for objective in space.objectives)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_guide_has_every_space_with_its_number_of_trials(file):
    space = load_space(file)
    guide = (FOLDER / "README.md").read_text()
    rows = re.findall(r"^\| `(\w+)\.yaml` \| (\d+) \| (\d+) \|", guide, re.MULTILINE)
    folds = TrainConfig(**space.fixed).folds
    assert (space.name, str(space.num_trials), str(space.num_trials * folds)) in rows


def test_the_documentation_shows_a_space_and_what_is_said_without_its_exclusion(tmp_path):
    text = (ROOT / "docs" / "search.md").read_text()
    example = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)[0]
    space = space_of(tmp_path, example)
    assert (space.name, space.num_trials) == ("streams", 40)
    (problem,) = problems_of(tmp_path, example[: example.index("exclude:")])
    assert f"streams.yaml:{problem}" in " ".join(text.split())


def test_the_ablation_is_the_full_grid_of_its_factors():
    space = load("ablation")
    factors = {parameter.name: parameter.domain.values for parameter in space.parameters}
    assert list(factors) == ["fusion", "backbone", "clip_length", "segmentation"]
    assert space.sampler.name == "grid" and not space.exclude
    assert len(space.grid()) == len(list(product(*factors.values()))) == 144
    assert {"appearance_only", "motion_only"} <= set(factors["fusion"]) <= set(FUSIONS)
    assert set(factors["backbone"]) <= set(BACKBONES)


def test_all_fusions_are_compared():
    assert [c["fusion"] for c in load("fusion").grid()] == list(FUSIONS)


def test_quick_is_small():
    space = load("quick")
    trials = [close_defaults(TrainConfig(**space.fixed))]
    assert all((t.size, t.width) == (48, 0.125) and t.folds * t.epochs <= 8 for t in trials)
    assert space.num_trials <= 8 and space.pruner.name == "asha"


def test_tuning_leaves_network_and_data_alone():
    space = load("tuning")
    assert space.sampler.name == "tpe" and space.pruner.name == "asha"
    varied = {parameter.name for parameter in space.parameters}
    assert {"learning_rate", "weight_decay", "batch_size"} <= varied
    untouched = {"backbone", "motion_backbone", "fusion", "clip_length", "size", "segmentation"}
    assert not varied & {*untouched, "width", "folds", "seed", "epochs"}


def test_table2_has_the_rows_of_the_published_ablation():
    rows = {row.name: row.parameters for row in load("table2").rows}
    published = [  # model, segmentation, optical flow; as the design has them
        ("2D two-stream", False, True),
        ("2D two-stream", True, True),
        ("3D CNN", False, False),
        ("3D CNN", False, True),
        ("3D CNN", True, False),
        ("3D CNN", True, True),
    ]
    names = []
    for model, segmentation, flow in published:
        parts = [model, *["segmentation"] * segmentation, *["optical flow"] * flow]
        names.append(", ".join(parts))
        row = rows[names[-1]]
        assert row["segmentation"] is segmentation
        assert ("motion" in FUSIONS[row["fusion"]].inputs) is flow
        assert "appearance" in FUSIONS[row["fusion"]].inputs
        assert BACKBONES[row["backbone"]].per_frame is model.startswith("2D")
    assert list(rows) == names


def test_both_tables_are_made_with_the_same_settings():
    first, second = load("table1"), load("table2")
    assert first.fixed == second.fixed and first.objectives == second.objectives
    same = {row.name: row.parameters for row in second.rows}
    rows = {row.name: row.parameters for row in first.rows}
    assert list(rows) == ["2D two-stream", "CNN + LSTM", "3D CNN + optical flow"]
    assert rows["2D two-stream"] == same["2D two-stream, segmentation, optical flow"]
    assert rows["3D CNN + optical flow"] == same["3D CNN, segmentation, optical flow"]
    assert rows["CNN + LSTM"]["backbone"] == "cnn_lstm"
