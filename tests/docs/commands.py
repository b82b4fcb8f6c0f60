"""Commands of the pages: every fenced block of a shell or of Python, and commands in the text."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PLUGINS = "docs/plugins/"
"""Pages whose examples tests/plugins/test_docs.py runs, each in a process of its own."""

PAGES = sorted(
    page
    for path in (ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("search_spaces/*.md"))
    if not (page := path.relative_to(ROOT).as_posix()).startswith(PLUGINS)
)
SHELLS = ("bash", "sh", "shell", "console")

_FENCE = re.compile(r"^\s*```(\w*)\s*$")
_EXCUSE = re.compile(r"^\s*<!-- not run: (.*\S) -->\s*$")
_IN_TEXT = re.compile(r"`((?:mlflow run \. -e|python -m asd_experiments) [^`]+|-P [^`]+)`")

_OTHERS = re.compile(r"`((?:mlflow|ray|make|python|pytest) [^`]+)`")


class Command(NamedTuple):
    """One command, where it stands, and why it is not run (None: it is)."""

    page: str
    line: int
    language: str
    text: str
    excuse: str | None

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def fenced(page: str, text: str) -> Iterator[Command]:
    """Commands of the fenced blocks; an excuse stands in the line above its block."""
    lines = text.splitlines()
    number, excuse = 0, None
    while number < len(lines):
        if opening := _FENCE.match(lines[number]):
            end = next(n for n in range(number + 1, len(lines)) if _FENCE.match(lines[n]))
            body = lines[number + 1 : end]
            if opening[1] in SHELLS:
                for offset, command in _shell_commands(body):
                    yield Command(page, number + 2 + offset, "shell", command, excuse)
            elif opening[1] == "python":
                indent = min(len(line) - len(line.lstrip()) for line in body if line.strip())
                code = "\n".join(line[indent:] for line in body)
                yield Command(page, number + 2, "python", code, excuse)
            number, excuse = end + 1, None
            continue
        if lines[number].strip():
            found = _EXCUSE.match(lines[number])
            excuse = found[1] if found else None
        number += 1


def in_text(page: str, text: str) -> Iterator[Command]:
    """Commands, and parameters of commands, in the middle of a sentence."""
    for found in _IN_TEXT.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        yield Command(page, line, "shell", " ".join(found[1].split()), None)


def others_in_text(page: str, text: str) -> Iterator[Command]:
    """Commands of other programs in the middle of a sentence."""
    for found in _OTHERS.finditer(text):
        if not _IN_TEXT.fullmatch(found[0]):
            line = text.count("\n", 0, found.start()) + 1
            yield Command(page, line, "shell", " ".join(found[1].split()), None)


def _shell_commands(body: list[str]) -> Iterator[tuple[int, str]]:
    start, gathered = 0, ""
    for offset, line in enumerate(body):
        if not gathered and (not line.strip() or line.strip().startswith("#")):
            continue
        start = start if gathered else offset
        gathered += ("\n" if gathered else "") + line.strip()
        if not gathered.endswith("\\") and _is_whole(gathered):
            yield start, gathered.replace("\\\n", " ")
            gathered = ""
    if gathered:
        yield start, gathered


def _is_whole(command: str) -> bool:
    if document := re.search(r"<<-?\s*['\"]?(\w+)", command):
        return command.rstrip().endswith("\n" + document[1])
    try:
        shlex.split(command, comments=True)
    except ValueError:  # a quotation goes on in the next line
        return False
    return True


def parameters(words: list[str]) -> tuple[str, dict[str, str]] | None:
    """Entry point and parameters of `mlflow run . -e` or `python -m asd_experiments`.

    Returns:
        None where it is neither, names no entry point, only asks for help, or runs on another
        machine (`--backend`).
    """
    if "--help" in words:
        return None
    if words[:2] == ["mlflow", "run"] and "--backend" not in words:
        pairs = [words[n + 1].partition("=") for n, word in enumerate(words) if word == "-P"]
        return words[words.index("-e") + 1], {name: value for name, _, value in pairs}
    if words[:3] == ["python", "-m", "asd_experiments"] and len(words) > 3:
        names, values = words[4::2], words[5::2]
        return words[3], dict(zip((name.removeprefix("--") for name in names), values, strict=True))
    return None
