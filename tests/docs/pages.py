"""The documentation as data: its pages, headings, links and code blocks."""

import importlib.util
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *ROOT.glob("benchmarks/*.md")])
HAND_WRITTEN = [page for page in PAGES if page.parent.name != "reference"]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"^(?: {4}.*\n)+", re.MULTILINE)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_REMARK = re.compile(r"<!-- (.*?) -->\n\Z")
SHELLS = {"sh", "bash"}


class Block(NamedTuple):
    """A fenced block, the line it begins at, and the remark in front of it, if there is one."""

    page: str
    line: int
    language: str
    text: str
    remark: str

    @property
    def runs(self) -> bool:
        return not self.remark.startswith("not run: ")

    @property
    def name(self) -> str:
        return f"{self.page}:{self.line}"


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    return list(_blocks(name(page), text(page)))


def _blocks(page: str, content: str) -> Iterator[Block]:
    for found in _FENCE.finditer(content):
        before = content[: found.start()]
        remark = _REMARK.search(before)
        yield Block(page, before.count("\n") + 1, found[1], found[2], remark[1] if remark else "")


def prose(page: Path) -> str:
    """A page without its code blocks."""
    return _INDENTED.sub("", _FENCE.sub("", text(page)))


def anchors(page: Path) -> set[str]:
    """What a link can point to within a page."""
    return {_anchor(heading) for heading in _HEADING.findall(prose(page))}


def _anchor(heading: str) -> str:
    heading = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
    return re.sub(r"[^\w\- ]", "", heading).replace(" ", "-")


def links(page: Path) -> list[str]:
    return _LINK.findall(prose(page))


@cache
def generator() -> ModuleType:
    """docs/generate.py, imported."""
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
