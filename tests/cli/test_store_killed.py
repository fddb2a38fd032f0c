"""The long commands on a store, killed at random moments, and run again."""

import random
import subprocess
from collections.abc import Callable
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest

from cloudsignal.server.store.errors import StoreUnusable
from cloudsignal.server.store.reading import LoggedSignal
from cloudsignal.server.store.store import Store, open_store
from tests.acceptance.conftest import run
from tests.cli.test_look import COMMAND, quiet
from tests.server.arrivals import MINUTE, NOON, arrival, report
from tests.server.store.contract import furnish
from tests.server.store.copying_contract import content
from tests.server.store.pruning_contract import archived
from tests.server.store.rebuilding_contract import whole

SIGNALS, GROUP = 12_000, 500
KILLS = 8
RUN_S = 60


@pytest.fixture
def url(tmp_path: Path) -> str:
    """The URL of a store with some signals, in folder of its own."""
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


def log(store: Store) -> list[LoggedSignal]:
    return store.reading.signals(after=0, limit=100_000, bytes_max=1 << 40)


def killed_now_and_then(words: list[object], between: Callable[[], None]) -> None:
    """Run a command until it ends by itself, after it was killed a number of times."""
    command = [COMMAND, *map(str, words)]
    chance = random.Random()
    longest = 0.2
    for kills in range(KILLS + 1):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=quiet()) as process:
            try:
                process.wait(RUN_S if kills == KILLS else chance.uniform(0.1, longest))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            else:
                assert process.returncode == 0
        between()
        # It begins with tenths of a second of imports; the moments are spread over what follows.
        longest = min(longest + 0.2, 1.6)


@pytest.mark.slow
def test_a_prune_neither_loses_nor_doubles_anything(url: str, tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    with closing(open_store(url)) as store:
        before, items = log(store), whole(store)

        def check() -> None:
            kept = log(store)
            assert kept == before[len(before) - len(kept) :]
            if len(kept) < len(before):
                assert len(list(archived(folder))) == SIGNALS

        words = ["store", "prune", "--before", "2016-01-20T12:00:01Z", "--archive", folder]
        killed_now_and_then([*words, "--database", url], check)

        assert [each["position"] for each in archived(folder)] == list(range(1, SIGNALS + 1))
        assert log(store) == before[SIGNALS:]
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
                copied = log(copy)
                assert copied == log(store)[: len(copied)]
                assert copy.rebuild(mend=False).differed == 0

        killed_now_and_then(["store", "copy", url, target], append_and_check)
        run("store", "copy", url, target)

        assert content(target) == content(url)


def assert_unfinished(error: StoreUnusable) -> None:
    assert "is an unfinished copy of" in str(error)
