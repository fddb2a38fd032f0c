"""A print partner's program or the server is killed at any instant: what was put arrives, and is stored once."""

import os
import random
import signal as signals
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from cloudsignal import ItemPacked, Outbox
from tests.acceptance.conftest import MakeServer, Server, eventually, make_server
from tests.server.arrivals import whole_log

__all__ = ["make_server"]

ROUNDS = 30
SEED = 20260101
PROGRAM = textwrap.dedent(
    """
    import itertools, sys
    from cloudsignal import ItemPacked, Outbox

    path, base_url, name = sys.argv[1:]
    with Outbox(path, base_url, timeout_s=5) as outbox:
        for number in itertools.count():
            item = f"{name}-{number}"
            outbox.put(ItemPacked(order=str(number % 3), item=item, datetime="2026-01-01T00:00:00Z"))
            print(item, flush=True)
    """
)


def stored_by(server: Server, prefix: str) -> list[str]:
    with server.store() as store:
        return [each.item for each in whole_log(store) if each.item.startswith(prefix)]


def killed(path: Path, server: Server, key: str, name: str, chance: random.Random) -> list[str]:
    """What a program was told that it has put, until it was killed."""
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, path, server.address, name],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"CLOUDSIGNAL_APIKEY": key},
    )
    assert program.stdout is not None
    with program.stdout:
        # Some are killed while nothing was put yet, others after hundreds; most between a put and its answer.
        put = [
            program.stdout.readline().strip() for _ in range(chance.choice([0, 1, 1, 2, 20, 200]))
        ]
        program.send_signal(signals.SIGKILL)
        put += [line.strip() for line in program.stdout if line.endswith("\n")]
    program.wait()
    return [item for item in put if item]


@pytest.mark.slow
def test_everything_that_was_put_is_stored_exactly_once(
    server: Server, key: str, tmp_path: Path
) -> None:
    chance = random.Random(SEED)
    path = tmp_path / "outbox.db"
    put: list[str] = []
    for number in range(ROUNDS):
        put += killed(path, server, key, f"round-{number}", chance)

    with Outbox(path, server.address, apikey=key) as outbox:
        assert outbox.drain(60) == 0
        assert outbox.health().refused == 0
    stored = stored_by(server, "round-")
    assert len(stored) == len(set(stored))
    assert set(put) <= set(stored)
    # What was written just before the end without the program being told is one signal a round at most.
    assert len(stored) <= len(put) + ROUNDS
    assert len(put) > ROUNDS


@pytest.mark.slow
def test_two_programs_on_one_outbox_lose_nothing(tmp_path: Path, server: Server, key: str) -> None:
    path = tmp_path / "outbox.db"
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, path, server.address, f"program-{number}"],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"CLOUDSIGNAL_APIKEY": key},
        )
        for number in range(2)
    ]
    put: list[str] = []
    for program in programs:
        assert program.stdout is not None
        put += [program.stdout.readline().strip() for _ in range(300)]
    for program in programs:
        assert program.stdout is not None
        with program.stdout:
            program.kill()
            put += [line.strip() for line in program.stdout if line.endswith("\n")]
        program.wait()
    with Outbox(path, server.address, apikey=key) as outbox:
        assert outbox.drain(60) == 0
    stored = stored_by(server, "program-")
    assert set(put) <= set(stored)
    assert len(stored) == len(set(stored))


def test_what_is_put_while_the_server_is_away_arrives_once_it_is_back(
    make_server: MakeServer, tmp_path: Path
) -> None:
    server = make_server("--port", "0").start()
    server.flags = ("--port", str(server.port))  # It comes back where it was.
    path, key = tmp_path / "outbox.db", server.interface()
    put = [f"away-{number}" for number in range(60)]
    with Outbox(path, server.address, apikey=key) as outbox:
        for number, item in enumerate(put):
            if number in (10, 35):
                server.kill()  # Perhaps in the middle of a post.
            if number == 25:
                eventually(lambda: outbox.health().trouble)
                server.start()
            outbox.put(ItemPacked(order=str(number % 3), item=item, datetime="2026-01-01T00:00Z"))
        waiting = outbox.health().waiting
    assert waiting >= 25
    server.start()
    with Outbox(path, server.address, apikey=key) as outbox:
        assert outbox.drain(60) == 0
        assert outbox.health().refused == 0
    assert sorted(stored_by(server, "away-")) == sorted(put)
