"""The command line, called as its users call it: words in; output, errors and an exit code out."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cloudsignal import cli
from cloudsignal.server.store.store import Store, open_store
from cloudsignal.testing import FakeServer
from cloudsignal.testing.fakes import APIKEY
from tests.server.arrivals import arrival, report


class Ran(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.code == 0, self
        return json.loads(self.out)

    @property
    def sentence(self) -> str:
        """What a command said that failed: one sentence, and nothing else."""
        return self.failed(1)

    def failed(self, code: int) -> str:
        """What a command said that failed with this exit code: one sentence, and nothing else."""
        assert self.code == code, self
        assert self.out == ""
        assert self.err.startswith("cloudsignal: ")
        assert self.err.count("\n") == 1
        return self.err.removeprefix("cloudsignal: ").rstrip("\n")


Run = Callable[..., Ran]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/store.db"


@pytest.fixture
def run(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Run:
    """Runs the installed command's function on a store that CLOUDSIGNAL_DATABASE names."""
    monkeypatch.setenv("CLOUDSIGNAL_DATABASE", url)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["cloudsignal", *words])
        capsys.readouterr()
        try:
            cli.main()
            code = 0
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else int(bool(error.code))
        return Ran(code, *capsys.readouterr())

    return run


@pytest.fixture
def server(run: Run, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    """A server on a port, which the commands of a print partner reach without a flag."""
    with FakeServer() as server:
        monkeypatch.setenv("CLOUDSIGNAL_BASE_URL", server.url)
        monkeypatch.setenv("CLOUDSIGNAL_APIKEY", APIKEY)
        yield server


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with closing(open_store(url)) as store:
        yield store


@pytest.fixture
def filled(store: Store) -> Store:
    """A store that knows of three items of order 7, and one of a test."""
    partner = store.access.create_partner("Print & Söhne", now=1)
    store.access.create_interface(partner, "digest", timezone="UTC", allow=(), test=False, now=2)
    store.append([arrival(report(item="a/b"))])
    store.append([arrival(report("ItemDelay", item="c", minute=1, cause="jam", delay="1.5"))])
    store.append(
        [arrival(report("ItemCanceled", item="c", minute=2, cause="other", message="torn"))]
    )
    store.append([arrival(report("ItemShipped", item="d", minute=3), test=True)])
    return store
