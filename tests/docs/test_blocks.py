"""The examples are run: what is printed in the documentation is what happens."""

import json
import os
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from cloudsignal.server import clock
from tests.acceptance.conftest import ENDPOINT, Server
from tests.docs.pages import DOCS, SHELLS, blocks, name

KEY = "13b37bb1ed6d3403e158abe719b4f6d0"
"""The key of the documentation's examples."""
ADDRESS = "http://127.0.0.1:8000"
QUICK_START = DOCS / "quickstart.md"
PAGES = [
    DOCS / f"{page}.md"
    for page in ("print-partners", "operating", "api", "simulator", "cloudcore", "panel")
]
PAGE_S = 300.0
"""How long the blocks of a page may take together: only what hangs is broken off."""
INTERPRETERS = {
    "python": [sys.executable, "-"],
    "js": ["node", "--input-type=module", "-"],
    "php": ["php"],
}
SAID = "prints"
"""The remark before a block that shows what the block before it prints."""
MARK = "---- what the block at line {} prints ----"
PROGRAMS = [
    block
    for page in [QUICK_START, *PAGES]
    for block in blocks(page)
    if block.language in INTERPRETERS and block.runs
]


@pytest.fixture(scope="module")
def home(server):
    """A server in the folder in which a reader of the documentation would be."""
    return furnished(server)


def furnished(server: Server) -> Server:
    (server.folder / ".venv").symlink_to(sys.prefix)
    with server.access() as (access, keyring):
        access.create_interface(
            access.create_partner("My print partner", now=clock.now()),
            keyring.digest(KEY),
            timezone="UTC",
            allow=(),
            test=False,
            now=clock.now(),
        )
    return server


def environment(server):
    return server.environment | {
        "APIKEY": KEY,
        "ENDPOINT": server.address + ENDPOINT,
        "TOKEN": server.token(),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }


def run(server, command, text):
    """Give a program to an interpreter, and return what it prints."""
    text = text.replace(ADDRESS, server.address)
    done = subprocess.run(
        [*command, text] if command[-1] == "-c" else command,
        input=text,
        capture_output=True,
        text=True,
        cwd=server.folder,
        env=environment(server),
        timeout=PAGE_S,
        check=False,
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout


def run_shell(server, page):
    """Run the shell blocks of a page in one shell, and return what each prints by its line."""
    chosen = [block for block in blocks(page) if block.language in SHELLS and block.runs]
    script = "".join(f"echo; echo '{MARK.format(block.line)}'\n{block.text}" for block in chosen)
    printed = run(server, ["bash", "-euo", "pipefail", "-c"], script)
    outputs = {}
    for block in reversed(chosen):
        printed, _, outputs[block.line] = printed.partition(MARK.format(block.line))
    return outputs


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_shell_blocks_do_what_the_page_says(page, home):
    check_shell_blocks(page, home)


def test_quick_start_begins_with_an_empty_store(make_server):
    check_shell_blocks(QUICK_START, furnished(make_server().start()))


def check_shell_blocks(page, server):
    outputs = run_shell(server, page)
    for block, shown in pairwise(blocks(page)):
        if shown.remark == SAID:
            assert json.loads(outputs[block.line]) == json.loads(shown.text), shown.name


@pytest.mark.parametrize("block", PROGRAMS, ids=lambda block: f"{block.name}-{block.language}")
def test_programs_send_what_they_say(block, home):
    command = INTERPRETERS[block.language]
    if shutil.which(command[0]) is None:
        pytest.skip(f"there is no {command[0]} on this machine")
    before = position(home)
    run(home, command, block.text)
    signals = home.get(f"/api/v1/signals?after={before}").json["signals"]
    assert signals, "nothing has come in"
    assert all(signal["type"] in block.text for signal in signals)


def position(server):
    return server.get("/readyz").json["position"]


def test_what_is_not_run_says_why():
    assert [
        block.name
        for page in [QUICK_START, *PAGES]
        for block in blocks(page)
        if not block.runs and len(block.remark) <= len("not run: ")
    ] == []


def test_examples_are_json():
    for page in DOCS.glob("*.md"):
        for block in blocks(page):
            if block.language == "json":
                json.loads(block.text)
