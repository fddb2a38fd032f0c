"""The long commands on a store, killed at random moments, and run again."""

import random
import subprocess
from collections.abc import Callable
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest

from cloudsignal.server.store.errors import StoreUnusable
from cloudsignal.server.store.store import open_store
from tests.acceptance.conftest import eventually, run
from tests.cli.test_look import COMMAND, quiet
from tests.server.arrivals import MINUTE, NOON, arrival, report, whole_log
from tests.server.store.contract import furnish
from tests.server.store.copying_contract import content
from tests.server.store.pruning_contract import archived
from tests.server.store.rebuilding_contract import whole

SIGNALS, GROUP = 16_000, 500
KILLS = 10


@pytest.fixture
def url(tmp_path: Path) -> str:
    """The URL of a store with some signals, in a folder of its own."""
    url = f"sqlite:///{tmp_path}/store.db"
    with closing(open_store(url)) as store:
        furnish(store)
        for start in range(0, SIGNALS, GROUP):
            own = [
                report(order=str(number % 3000), minute=number // 3000)
                for number in range(start, start + GROUP)
            ]
            store.append([arrival(*own, received=NOON)])
        store.append([arrival(report(order="newest"), received=NOON + MINUTE)])
    return url


def killed_now_and_then(
    words: list[object], written: list[Path], within_s: float, between: Callable[[], None]
) -> None:
    """Run a command until it ends by itself, after it was killed a number of times.

    The moments are counted from that at which it begins to write, however long it takes to start.
    """
    command = [COMMAND, *map(str, words)]
    for _ in range(KILLS):
        before = [stamp(path) for path in written]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=quiet()) as process:
            eventually(
                lambda process=process, before=before: (
                    [stamp(path) for path in written] != before or process.poll() is not None
                )
            )
            try:
                process.wait(random.uniform(0, within_s))
            except subprocess.TimeoutExpired:
                process.kill()
            else:
                assert process.returncode == 0
        between()
    run(*map(str, words))
    between()


def stamp(path: Path) -> tuple[int, int]:
    """What changes when a file or a folder is written to."""
    found = path.stat() if path.exists() else None
    return (found.st_size, found.st_mtime_ns) if found else (0, 0)


@pytest.mark.slow
def test_a_prune_neither_loses_nor_doubles_anything(url: str, tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    with closing(open_store(url)) as store:
        before, items = whole_log(store), whole(store)

        def check() -> None:
            kept = whole_log(store)
            assert kept == before[len(before) - len(kept) :]
            if len(kept) < len(before):
                assert len(list(archived(folder))) == SIGNALS

        words = ["store", "prune", "--before", "2016-01-20T12:00:01Z", "--archive", folder]
        killed_now_and_then(
            [*words, "--database", url], [folder, tmp_path / "store.db-wal"], 0.5, check
        )

        assert [each["position"] for each in archived(folder)] == list(range(1, SIGNALS + 1))
        assert whole_log(store) == before[SIGNALS:]
        assert whole(store) == items


@pytest.mark.slow
def test_a_copy_goes_on_and_is_opened_by_nothing_else_before_it_is_complete(
    url: str, tmp_path: Path
) -> None:
    target = f"sqlite:///{tmp_path}/target.db"
    with closing(open_store(url)) as store:
        sent = count()

        def append_and_check() -> None:
            """Where the copy is no store it is marked; where it is one, it is whole."""
            store.append([arrival(report(order="meanwhile", minute=next(sent)))])
            if not (tmp_path / "target.db").exists():
                return
            try:
                copy = open_store(target)
            except StoreUnusable as error:
                assert_unfinished(error)
                return
            with closing(copy):
                copied = whole_log(copy)
                assert copied == whole_log(store)[: len(copied)]
                assert copy.rebuild(mend=False).differed == 0

        killed_now_and_then(
            ["store", "copy", url, target], [tmp_path / "target.db-wal"], 0.15, append_and_check
        )
        run("store", "copy", url, target)  # With what came after the last one.

        assert content(target) == content(url)


def assert_unfinished(error: StoreUnusable) -> None:
    assert "is an unfinished copy of" in str(error)
