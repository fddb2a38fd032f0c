"""Links lead somewhere, the code map is complete, and nothing tells of one machine only."""

import re
import subprocess

import pytest

from tests.docs.pages import HAND_WRITTEN, PAGES, ROOT, anchors, blocks, links, name, prose, text

SOURCE = ROOT / "src" / "cloudsignal"
PICTURE = re.compile(r"\.(?:svg|png)$")
# Split, so that this file is not the one that is found.
MACHINE_PATHS = re.compile(
    "|".join(["/" + word for word in ("work/", "root/", "home/", r"tmp/\w", "Users/")])
)
LENGTH_MAX = 100_000
"""Lock files and the like hold no sentences."""


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page):
    broken = []
    for link in links(page):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_every_page_is_linked_from_another():
    linked = {
        (page.parent / link.partition("#")[0]).resolve()
        for page in PAGES
        for link in links(page)
        if "://" not in link
    }
    entries = {ROOT / "README.md", ROOT / "benchmarks" / "README.md"}
    assert set(PAGES) - linked - entries == set()


def test_pictures_are_drawn_by_hand_and_need_nothing():
    pictures = [each for each in (ROOT / "docs").iterdir() if PICTURE.search(each.name)]
    assert pictures
    for picture in pictures:
        content = text(picture)
        assert "prefers-color-scheme" in content
        assert "<script" not in content
        assert "href" not in content


def modules():
    found = (path.relative_to(SOURCE) for path in SOURCE.rglob("*.py"))
    return sorted(str(path) for path in found if path.name not in ("__init__.py", "__main__.py"))


def test_every_module_has_a_line_in_the_code_map():
    lines = re.findall(r"^\| `([^`]+\.py)` \| \S", text(ROOT / "ARCHITECTURE.md"), re.MULTILINE)
    assert sorted(lines) == modules()


def test_every_decision_is_in_the_list():
    folder = ROOT / "docs" / "decisions"
    decisions = {page.name for page in folder.glob("0*.md")}
    assert decisions == {link for link in links(folder / "README.md") if link.startswith("0")}


@pytest.mark.parametrize(
    "page", [p for p in HAND_WRITTEN if p.name.startswith("0") and "0001" not in p.name], ids=name
)
def test_a_decision_tells_context_decision_and_consequences(page):
    assert re.findall(r"^## (.+)$", prose(page), re.MULTILINE) == [
        "Context",
        "Decision",
        "Consequences",
    ]


def test_every_block_has_a_language():
    assert [block.name for page in PAGES for block in blocks(page) if not block.language] == []


def files():
    """Every file of the repository, as git or, without it, the folders tell."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True
        ).stdout.decode()
        return [ROOT / each for each in listed.split("\0") if each]
    except (OSError, subprocess.CalledProcessError):
        folders = ("src", "tests", "docs", "benchmarks")
        found = [path for folder in folders for path in (ROOT / folder).rglob("*")]
        return [*ROOT.glob("*.md"), *(path for path in found if "__pycache__" not in path.parts)]


def test_no_file_tells_of_one_machine():
    found = []
    for path in files():
        # A file that was removed may still be listed, and a lock file names packages only.
        if not path.is_file() or path.name.endswith(".lock.txt"):
            continue
        content = path.read_bytes()[:LENGTH_MAX].decode("utf-8", errors="replace")
        if match := MACHINE_PATHS.search(content):
            found.append((str(path.relative_to(ROOT)), match[0]))
    assert found == []
