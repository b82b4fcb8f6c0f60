"""Search spaces as files, and what is said of wrong ones."""

from pathlib import Path

from asd_experiments.errors import InputError
from asd_experiments.search.reader import load_space

OBJECTIVE = "objective: {metric: val/patient/auroc, direction: maximize}\n"
TRAINED = """
objective: {{metric: val/patient/loss, direction: minimize}}
sampler: {{name: random, seed: 1}}
budget: {{trials: {trials}}}
fixed:
  {{backbone: c3d_gap, size: 32, width: 0.125, clip_length: 8, folds: 2, inner_folds: 2,
    epochs: {epochs}}}
parameters:
  fusion: [late_average, feature_concat]
  learning_rate: {{low: 1e-3, high: 1e-2, log: true}}
"""
"""A space for whole sweeps on the small store; to be formatted."""

SMALL = "fixed: {size: 48, width: 0.125}\n"


def space_of(tmp_path: Path, text: str, **options):
    file = tmp_path / "space.yaml"
    file.write_text(text)
    return load_space(file, **options)


def problems_of(tmp_path: Path, text: str, **options) -> list[str]:
    """The problems as `line: message`; nothing if the space is right."""
    try:
        space_of(tmp_path, text, **options)
    except InputError as error:
        count, *lines = str(error).splitlines()
        assert count.startswith(f"{len(lines)} problem")
        start = f"  {tmp_path / 'space.yaml'}:"
        assert all(line.startswith(start) for line in lines)
        return [line.removeprefix(start) for line in lines]
    return []
