"""What made a run: the package, the state of its code, the machine and its GPUs.

Nothing here imports more than the standard library: MLflow asks for it at the start of every run.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path

from asd_experiments import __version__

PACKAGE_VERSION = "asd.package_version"
"""Tag of a run: version of this package."""

CODE = "asd.code"
"""Tag of a run: whether the code is what a commit holds: clean, dirty, or unversioned."""

COMMIT = "asd.commit"
"""Tag of a run whose code is in a Git repository: the commit."""

NODE = "asd.node"
"""Tag of a run: name of the machine that works on it, or did last."""

GPU = "asd.gpu"
"""Tag of a run: the GPUs that its process sees, or `none`."""

DATA_DIGEST = "asd.data_digest"
"""Tag of a run: digest of the clip store that it read or made."""

UNVERSIONED = "unversioned"
"""Code in no Git repository: an installed package, or a folder that was sent without `.git`."""

_ROOT = Path(__file__).resolve().parents[1]
_OURS = ("asd_experiments", "preprocess")
_PROJECT = re.compile(r"""^name:\s*(["']?)asd_experiments\1\s*$""", re.MULTILINE)
_COMMAND = "asd_experiments.__main__"
_SECONDS = 10.0  # more than Git or the driver takes for an answer


def context_tags() -> dict[str, str]:
    """Tags of a run that this process makes or works on."""
    gpus = visible_gpus()
    return {
        PACKAGE_VERSION: __version__,
        **code_tags(_ROOT),
        NODE: socket.gethostname(),
        GPU: ", ".join(gpus) or "none",
    }


def is_of_project() -> bool:
    """Whether this process runs a command of the project, or its folder is the project's.

    The folder is the project's if its MLproject, or that of the nearest folder above that has one,
    has our name.
    """
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    if spec is not None and spec.name == _COMMAND:
        return True
    try:
        folder = Path.cwd()
    except OSError:  # it is gone
        return False
    places = (folder, *folder.parents)
    return next((is_project(place) for place in places if (place / "MLproject").is_file()), False)


def is_project(folder: Path) -> bool:
    """Whether a folder is this project, by the name in its MLproject."""
    try:
        return _PROJECT.search((folder / "MLproject").read_text(encoding="utf-8")) is not None
    except (OSError, UnicodeDecodeError):
        return False


@cache
def code_tags(root: Path) -> dict[str, str]:
    """Commit of a folder with our code, and whether the code is what the commit holds.

    It is dirty if any file of the repository differs from the commit, or our packages have a
    Python file that it lacks. The state is that of the first call: what was imported by then.

    Args:
        root: The folder that holds `asd_experiments`.
    """
    # An environment below a repository is in it, but no part of it.
    if _git(root, "ls-files", "--error-unmatch", "asd_experiments/__init__.py") is None:
        return {CODE: UNVERSIONED}
    commit = _git(root, "rev-parse", "HEAD")
    changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    added = _git(root, "ls-files", "--others", "--exclude-standard", *_OURS)
    if commit is None or changed is None or added is None:
        return {CODE: UNVERSIONED}
    is_dirty = bool(changed) or any(name.endswith(".py") for name in added.splitlines())
    return {CODE: "dirty" if is_dirty else "clean", COMMIT: commit}


def visible_gpus() -> list[str]:
    """Names of the NVIDIA GPUs that `CUDA_VISIBLE_DEVICES` leaves to this process.

    The driver's own program is asked: PyTorch takes seconds to import, and would begin to use the
    GPU.
    """
    known = _gpus()
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None:
        return [name for _, _, name in known]
    visible = []
    for word in (part.strip() for part in chosen.split(",")):
        if word.startswith("MIG-"):
            visible.append("slice of a GPU (MIG)")
            continue
        found = [n for index, uuid, n in known if word == index or (word and uuid.startswith(word))]
        if len(found) != 1:  # what stands behind a word that names no GPU is not seen either
            break
        visible += found
    return visible


@cache
def _gpus() -> list[tuple[str, str, str]]:
    """Index, UUID and name of every GPU of this machine."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    asked = [program, "--query-gpu=index,uuid,name", "--format=csv,noheader"]
    told = _output(asked) or ""
    rows = [[cell.strip() for cell in line.split(",", 2)] for line in told.splitlines()]
    return [(row[0], row[1], row[2]) for row in rows if len(row) == 3]


def _git(folder: Path, *words: str) -> str | None:
    """What Git says; None if it is not there, or refuses."""
    # `git status` would otherwise lock the index that a user's own command may want.
    return _output(["git", "-C", str(folder), "--no-optional-locks", *words])


def _output(command: list[str]) -> str | None:
    # Below a Git hook they name the repository that is committed to.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS, env=environment, check=True
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return done.stdout.strip()
