"""What of a project's folder travels to a cluster."""

import logging
from pathlib import Path

from ray._private.runtime_env import packaging

from asd_experiments.errors import InputError

EXCLUDED = (
    *(".git", ".venv", "venv", "__pycache__", "*.egg-info"),
    *(".pytest_cache", ".mypy_cache", ".ruff_cache", ".import_linter_cache"),
    *("/outputs", "mlruns", "mlartifacts", "mlflow.db*", "*.zarr"),
    *("*.key", "pseudonyms-*.csv"),  # who is who stays with the user
)
"""What never travels, in the notation of .gitignore; nor does what such a file names."""

MOST_BYTES = packaging.GCS_STORAGE_MAX_SIZE
_LISTED = 5


def check_size(folder: Path, excludes: list[str], most_bytes: int = MOST_BYTES) -> None:
    """Refuse a folder that Ray would pack for long, to find then that it is too large.

    Args:
        folder: The project's folder.
        excludes: What does not travel.
        most_bytes: What Ray takes; packed, so that a little more might just fit.

    Raises:
        InputError: If it is too large; the message names what takes most.
    """
    # Ray names every .gitignore that it reads, each time it does.
    logging.getLogger(packaging.__name__).setLevel(logging.WARNING)
    sizes: dict[str, int] = {}

    def weigh(path: Path) -> None:
        if path.is_file():
            part = path.relative_to(folder).parts[0]
            sizes[part] = sizes.get(part, 0) + path.stat().st_size

    # Ray's own walk: another one would read .gitignore in another way.
    excluded = [packaging._get_excludes(folder, excludes)]
    packaging._dir_travel(folder, excluded, weigh, include_gitignore=True)
    if (total := sum(sizes.values())) > most_bytes:
        largest = sorted(sizes, key=lambda name: -sizes[name])[:_LISTED]
        named = ", ".join(f"{name} ({_mib(sizes[name])})" for name in largest)
        raise InputError(
            f"the project's folder {folder} has {_mib(total)}, and Ray takes {_mib(most_bytes)} at "
            f"most; move data out of it or exclude it, by .gitignore or by runtime_env.excludes in "
            f"cluster.json. Largest: {named}"
        )


def _mib(num_bytes: int) -> str:
    return f"{num_bytes / 2**20:.0f} MiB"
