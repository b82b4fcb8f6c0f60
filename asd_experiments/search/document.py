"""A YAML file as its author sees it: text with line numbers, every problem kept until the end.

YAML 1.1, which PyYAML reads, takes `1e-4` for a text, `no` and `off` for false, `010` for eight and
`1:30` for ninety. Here a value stays the text that was written, and whoever knows what it is for
reads it as the command line would read it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from asd_experiments.errors import InputError, all_problems, did_you_mean

_NULLS = ("", "~", "null", "Null", "NULL")
_PLAIN_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map")}


@dataclass(frozen=True)
class Scalar:
    """A single value, as it was written."""

    text: str
    line: int
    plain: bool = True
    """Whether it stands without quotes; `null` in quotes is a text."""

    @property
    def is_null(self) -> bool:
        """Whether it says that there is no value."""
        return self.plain and self.text in _NULLS

    def __str__(self) -> str:
        return "null" if self.is_null else repr(self.text)


@dataclass(frozen=True)
class Listing:
    """Values one after the other."""

    items: tuple["Node", ...]
    line: int

    def __str__(self) -> str:
        return "a list"


@dataclass(frozen=True)
class Table:
    """Values by name, in the order of the file."""

    entries: Mapping[str, "Node"]
    line: int
    lines: Mapping[str, int] = field(default_factory=dict)
    """Line of each name."""

    def __str__(self) -> str:
        return "names with values"


Node = Scalar | Listing | Table


class Problems:
    """What is wrong with a file, by line.

    Args:
        file: The file, as the messages name it.
    """

    def __init__(self, file: str) -> None:
        self.file = file
        self._found: dict[tuple[int, str], None] = {}

    def add(self, line: int, message: str) -> None:
        """Keep a problem; the same one is kept once."""
        self._found[line, message] = None

    def unknown(
        self,
        line: int,
        word: str,
        known: Iterable[str],
        *,
        what: str = "setting",
        where: str | None = None,
    ) -> None:
        """Keep the problem of a name that is none of the known ones.

        Args:
            line: Where it stands.
            word: The name.
            known: What it could have been.
            what: What the known ones are.
            where: Words before the message. None: nothing.
        """
        names = list(known)
        hint = did_you_mean(word, names) or f"; choose from: {', '.join(names)}"
        start = "" if where is None else f"{where}: "
        self.add(line, f"{start}{word}: no such {what}{hint}")

    def __len__(self) -> int:
        return len(self._found)

    def raise_if_any(self) -> None:
        """Refuse the file if it has a problem.

        Raises:
            InputError: With all problems in the order of their lines.
        """
        if not self._found:
            return
        lines = [f"{self.file}:{line}: {message}" for line, message in sorted(self._found)]
        raise InputError(all_problems("with the search space", lines))


def read_document(content: bytes, problems: Problems) -> Table:
    """Read a file of names with values.

    Args:
        content: What is in the file.
        problems: Where names that stand twice and the like are kept.

    Raises:
        InputError: If the file is no YAML, or holds something else.
    """
    root = _composed(content, problems)
    document = _Converter(problems).convert(root) if root is not None else Table({}, line=1)
    if not isinstance(document, Table):
        problems.add(document.line, f"the file must hold names with values, got {document}")
        problems.raise_if_any()
        return Table({}, line=1)
    return document


def _composed(content: bytes, problems: Problems) -> yaml.Node | None:
    try:
        text = content.decode("utf-8-sig")
        root: yaml.Node | None = yaml.compose(text, Loader=yaml.BaseLoader)
        return root
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        problems.add(line, "the file is not UTF-8 text; save it as UTF-8")
    except yaml.reader.ReaderError as error:
        line = content.decode("utf-8-sig")[: error.position].count("\n") + 1
        problems.add(line, f"a character that YAML does not allow (code {error.character})")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        rule = ", ".join(part for part in (error.problem, error.context) if part)
        problems.add(mark.line + 1 if mark else 1, f"this is not YAML: {rule}")
    except RecursionError:
        problems.add(1, "the file is nested too deeply")
    problems.raise_if_any()
    return None


class _Converter:
    """Turns PyYAML's nodes into ours; a node that aliases share is converted once."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._done: dict[int, Node] = {}
        self._open: set[int] = set()

    def convert(self, node: Any) -> Node:
        line = node.start_mark.line + 1
        if id(node) in self._open:
            self._problems.add(line, "an alias (*) must not stand inside what it repeats")
            return Scalar("", line)
        if id(node) not in self._done:
            self._open.add(id(node))
            self._done[id(node)] = self._converted(node, line)
            self._open.remove(id(node))
        return self._done[id(node)]

    def _converted(self, node: Any, line: int) -> Node:
        if node.tag not in _PLAIN_TAGS:
            self._problems.add(line, f"types are not written out here; leave {_tag(node)} away")
        if isinstance(node, yaml.ScalarNode):
            return Scalar(node.value, line, plain=node.style is None)
        if isinstance(node, yaml.SequenceNode):
            return Listing(tuple(self.convert(item) for item in node.value), line)
        return self._table(node, line)

    def _table(self, node: Any, line: int) -> Table:
        entries: dict[str, Node] = {}
        lines: dict[str, int] = {}
        for key, value in node.value:
            key_line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                self._problems.add(key_line, "a name must be a word")
            elif key.value in entries:
                self._problems.add(
                    key_line, f"{key.value}: stands twice, first in line {lines[key.value]}"
                )
            else:
                entries[key.value], lines[key.value] = self.convert(value), key_line
        return Table(entries, line, lines)


def _tag(node: Any) -> str:
    return str(node.tag).replace("tag:yaml.org,2002:", "!!")
