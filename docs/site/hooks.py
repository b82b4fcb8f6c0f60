"""What MkDocs does not do by itself: pages beside docs/, and pages that are made of the code."""

import logging
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from nbconvert import MarkdownExporter

import asd_experiments
from asd_experiments.__main__ import COMMANDS
from asd_experiments.config import as_text, choices_of, info_of

ROOT = Path(__file__).parents[2]
BESIDE = (
    *("README.md", "CHANGELOG.md", "benchmarks/RESULTS.md", "search_spaces/README.md"),
    *("docs/site/extra.css", "docs/site/favicon.svg"),
)
NOTEBOOK = "docs/tutorial"

_LIST_ITEM = re.compile(
    r"^```.*?^```$|^((?:\d+\.|-) )[^\n]*\n(?:(?: {2,}[^\n]*)?\n)*", re.MULTILINE | re.DOTALL
)
_FROM_ELSEWHERE = re.compile(
    r"<(?:script|link|img|iframe|source|video)\b[^>]*?\s(?:src|href)=[\"']?(?:https?:)?//[^>]*>"
)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Give every page of the API its place in the navigation."""
    config.nav.append({"API": [{name: f"api/{name}.md"} for name in api_pages()]})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Give every page its place in the repository, and add those that are made of something."""

    def in_repository(path: str) -> File:
        return File(path, str(ROOT), config.site_dir, config.use_directory_urls)

    found = [file for file in files if not file.inclusion.is_excluded()]
    of_theme = [file for file in found if file.src_dir != config.docs_dir]
    own = [f"docs/{file.src_uri}" for file in found if file.src_dir == config.docs_dir]
    made = [
        File.generated(config, path, content=content)
        for path, content in [*notebook_files(), *api_files()]
    ]
    return Files([*of_theme, *map(in_repository, [*own, *BESIDE]), *made])


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Fill in what is made of the code; of the notebook, show the page rather than the file."""
    if page.file.src_uri != f"{NOTEBOOK}.md":
        markdown = markdown.replace("tutorial.ipynb)", "tutorial.md)")
    markdown = markdown.replace("<!-- every entry point -->", "\n".join(entry_points()))
    return indented_lists(markdown)


def on_post_page(output: str, page: Page, **_: object) -> str:
    """Warn of what a browser would load from elsewhere, which ends the build."""
    for found in _FROM_ELSEWHERE.findall(output):
        logging.getLogger("mkdocs").warning("%s loads from elsewhere: %s", page.file.src_uri, found)
    return output


def indented_lists(markdown: str) -> str:
    """Indent what belongs to an item of a list by four, as Python-Markdown wants it.

    Git hosts are content with the width of the bullet or the number, which reads better.
    """

    def indented(found: re.Match[str]) -> str:
        return found[0].replace("\n" + " " * len(found[1]), "\n    ") if found[1] else found[0]

    return _LIST_ITEM.sub(indented, markdown)


def entry_points() -> Iterator[str]:
    """A section per command: what it does and every parameter, as its configuration says."""
    for name, command in COMMANDS.items():
        yield f"## {name}\n\n{(command.config.__doc__ or '').strip()}\n"
        yield "| parameter | default | meaning |\n|---|---|---|"
        for field in fields(command.config):
            info = info_of(command.config, field.name)
            if info.is_required():
                default = "must be given"
            else:
                default = f"`{as_text(info.default)}`" if info.default is not None else "not given"
            meaning = " ".join((info.description or "").split()).replace("|", r"\|")
            choices = ", ".join(f"`{choice}`" for choice in choices_of(info.annotation))
            one_of = f" One of {choices}." if choices else ""
            yield f"| `{field.name}` | {default} | {meaning}{one_of} |"
        yield ""


def notebook_files() -> Iterator[tuple[str, str | bytes]]:
    """The notebook as a page, and its pictures."""
    exporter = MarkdownExporter()
    text, resources = exporter.from_filename(str(ROOT / f"{NOTEBOOK}.ipynb"))
    yield f"{NOTEBOOK}.md", text
    for name, content in resources["outputs"].items():
        yield f"docs/{name}", content


def api_pages() -> dict[str, list[str]]:
    """Pages of the reference, and the modules on each: one page per package."""
    modules = list(pkgutil.iter_modules(asd_experiments.__path__, "asd_experiments."))
    alone = [m.name for m in modules if not m.ispkg and not m.name.endswith("__main__")]
    packages = [m.name for m in modules if m.ispkg]
    return {"asd_experiments": alone} | {name: [name] for name in [*packages, "preprocess"]}


def api_files() -> Iterator[tuple[str, str]]:
    """Sources of the reference: mkdocstrings reads the docstrings without importing the code."""
    for page, modules in api_pages().items():
        if modules == [page]:
            yield f"api/{page}.md", f"::: {page}\n"
        else:
            level = "\n    options:\n      heading_level: 2"
            entries = [f"::: {name}{level}" for name in modules]
            yield f"api/{page}.md", "\n\n".join([f"# {page}", *entries])
