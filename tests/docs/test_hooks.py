"""What the site makes of the code and of the pages; `make docs` builds it, as `make test` does."""

import importlib.util
import logging
from types import ModuleType
from unittest.mock import Mock

import pytest

from asd_experiments.__main__ import COMMANDS
from tests.docs.commands import ROOT


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs" / "site" / "hooks.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_parameter_of_every_entry_point_is_told(hooks):
    text = "\n".join(hooks.entry_points())
    for name, command in COMMANDS.items():
        section = text.split(f"## {name}\n")[1].split("\n## ")[0]
        rows = [line for line in section.splitlines() if line.startswith("| `")]
        assert len(rows) == len(command.config.__pydantic_fields__)
    assert "| `folds` | `5` | Outer folds; each patient is tested once. |" in text
    assert "| `videos` | must be given | Folder that the paths" in text
    assert "| `augment` | `true` |" in text
    assert "| `resume` | not given | Id of the run" in text
    assert "How optical flow" not in text and "One of `dis`, `raft_small`, `raft_large`. |" in text


def test_every_package_has_a_page_in_the_reference(hooks):
    pages = hooks.api_pages()
    assert pages["asd_experiments.models"] == ["asd_experiments.models"]
    assert "asd_experiments.config" in pages["asd_experiments"] and "preprocess" in pages
    packages = {path.parent.name for path in ROOT.glob("asd_experiments/*/__init__.py")}
    assert packages <= {name.rpartition(".")[2] for name in pages}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1. one\n\n   ```bash\n   a\n     b\n   ```\n\n2. two\n", None),
        ("- one\n\n  two\n\nthree\n", "- one\n\n    two\n\nthree\n"),
        ("- one\n  - below\n", "- one\n    - below\n"),
        ("```yaml\n- a: 1\n  b: 2\n```\n", "```yaml\n- a: 1\n  b: 2\n```\n"),
        ("text\n   more\n", "text\n   more\n"),
    ],
)
def test_what_belongs_to_an_item_is_indented_by_four(hooks, text, expected):
    numbered = "1. one\n\n    ```bash\n    a\n      b\n    ```\n\n2. two\n"
    assert hooks.indented_lists(text) == (numbered if expected is None else expected)


@pytest.mark.parametrize(
    "element",
    [
        '<script src="https://cdn.example.org/x.js">',
        '<link rel="stylesheet" href="//fonts.example.org/css">',
        "<img alt=a src=http://example.org/a.png>",
    ],
)
def test_what_a_browser_would_load_from_elsewhere_ends_the_build(hooks, caplog, element):
    page = Mock()
    page.file.src_uri = "docs/page.md"
    with caplog.at_level(logging.WARNING, logger="mkdocs"):
        hooks.on_post_page('<a href="https://example.org"><img src="a.png"></a>', page)
        assert caplog.messages == []
        hooks.on_post_page(f"<p>{element}</p>", page)
    assert caplog.messages == [f"docs/page.md loads from elsewhere: {element}"]
