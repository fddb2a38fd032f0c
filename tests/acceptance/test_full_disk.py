"""A print partner's disk that is full: what was taken before arrives, and there is no lie about the rest."""

import json
import os
import resource
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, Self

import httpx2
import pytest

from cloudsignal.protocol.http import ENDPOINT
from tests.acceptance.conftest import COMMAND, DEADLINE_S, Server, eventually, fresh
from tests.server.arrivals import whole_log

PUTS_MAX = 3_000
"""So many fill any of these disks."""
PROGRAM = textwrap.dedent(
    """
    import json, sys
    from cloudsignal import ItemPacked, Outbox, OutboxError

    with Outbox("outbox.db", sys.argv[1]) as outbox:
        print("{}", flush=True)
        for item in map(str.strip, sys.stdin):
            try:
                told = outbox.put(ItemPacked(order="7", item=item, datetime="2026-01-01T00:00:00Z"))
            except OutboxError as error:
                told = f"{type(error).__name__}: {error}"
            print(json.dumps(told), flush=True)
        left = outbox.drain(60)
    print(left, flush=True)
    """
)


class Disk(Protocol):
    """A disk that a process writes to, and whoever fills it."""

    folder: Path
    sentence: str

    def fill(self, process: int) -> None: ...
    def free(self, process: int) -> None: ...


class SmallDisk:
    """A disk of its own, which another file fills to the last byte."""

    sentence = "is full, or its disk is: nothing was taken"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self, process: int) -> None:
        with (self.folder / "others").open("wb", buffering=0) as others:
            try:
                while True:
                    others.write(bytes(4096))
            except OSError:
                pass

    def free(self, process: int) -> None:
        (self.folder / "others").unlink()

    def __enter__(self) -> Self:
        mounting = ["mount", "-t", "tmpfs", "-o", "size=2m", "cloudsignal-test", str(self.folder)]
        try:
            subprocess.run(mounting, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("only who may mount can have a small disk")
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)


class FilesThatMayNotGrow:
    """To a process, files that may not grow are a full disk, as those of a quota are; it needs no rights."""

    sentence = "look whether its disk is full"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self, process: int) -> None:
        largest = max(path.stat().st_size for path in self.folder.iterdir())
        self._limit(process, largest)

    def free(self, process: int) -> None:
        self._limit(process, resource.prlimit(process, resource.RLIMIT_FSIZE)[1])

    def _limit(self, process: int, soft: int) -> None:
        hard = resource.prlimit(process, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(process, resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(params=["small disk", "files that may not grow"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    if request.param == "small disk":
        with SmallDisk(folder) as disk:
            yield disk
    else:
        yield FilesThatMayNotGrow(folder)


@contextmanager
def running(*words: str, disk: Disk, key: str) -> Iterator[subprocess.Popen[str]]:
    """A program at work on the disk. It has to end by itself, unless the test fails."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        words,
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        text=True,
        cwd=disk.folder,
        env=os.environ | {"CLOUDSIGNAL_APIKEY": key},
    ) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


def stored(server: Server) -> list[str]:
    with server.store() as store:
        return [each.item for each in whole_log(store)]


def test_what_was_put_arrives_and_what_was_not_is_said(
    disk: Disk, server: Server, key: str
) -> None:
    command = [sys.executable, "-c", PROGRAM, server.address]
    with running(*command, disk=disk, key=key) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        taken: list[str] = []

        def put() -> str:
            """What the program is told: nothing when it was taken."""
            item = fresh("item")
            print(item, file=program.stdin, flush=True)
            told = json.loads(program.stdout.readline())  # type: ignore[union-attr]
            if isinstance(told, str):
                return told
            taken.append(item)
            return ""

        assert program.stdout.readline() == "{}\n"
        for _ in range(3):
            assert put() == ""
        disk.fill(program.pid)
        told = next(filter(None, (put() for _ in range(PUTS_MAX))))
        assert told.startswith("Outbox")
        assert disk.sentence in told
        # What was taken is sent, although that cannot be written down.
        eventually(lambda: set(taken) <= set(stored(server)))

        disk.free(program.pid)
        for _ in range(3):
            assert put() == ""
        program.stdin.close()
        assert program.stdout.read() == "0\n"
    assert program.returncode == 0
    arrived = [item for item in stored(server) if item in taken]
    assert sorted(arrived) == sorted(taken)


def test_a_relay_answers_503_and_loses_nothing_it_has_taken(
    disk: Disk, server: Server, key: str
) -> None:
    command = [COMMAND, "relay", "--upstream", server.address, "--port", "0"]
    with running(*command, "--outbox", "outbox.db", disk=disk, key=key) as relay:
        assert relay.stderr is not None
        line = next(line for line in relay.stderr if "listening on" in line)
        address = line.split("listening on ")[1].split(",")[0]
        taken: list[str] = []
        with httpx2.Client(base_url=address, timeout=DEADLINE_S) as client:

            def post() -> httpx2.Response:
                signal = {"type": "ItemPacked", "order": "7", "item": fresh("item")}
                signal |= {"apikey": key, "datetime": "2026-01-01T00:00:00Z"}
                answer = client.post(ENDPOINT, json=signal)
                if answer.status_code == 200:
                    taken.append(signal["item"])
                return answer

            for _ in range(3):
                assert post().status_code == 200
            disk.fill(relay.pid)
            answer = next(
                answer for answer in (post() for _ in range(PUTS_MAX)) if answer.status_code != 200
            )
            assert answer.status_code == 503
            assert "Retry-After" in answer.headers
            assert "outbox" in answer.json()["error"]["info"]
            assert client.get("/healthz").status_code == 200

            disk.free(relay.pid)
            for _ in range(3):
                assert post().status_code == 200

            def waiting() -> int:
                return int(client.get("/healthz").json()["outbox"]["waiting"])

            eventually(lambda: waiting() == 0)
        relay.terminate()
        relay.stderr.read()
    assert relay.returncode == 0
    arrived = [item for item in stored(server) if item in taken]
    assert sorted(arrived) == sorted(taken)
