"""When the one who sends cannot be alone, or cannot open what it needs: that is said, and mended it goes on."""

import errno
import os
import resource
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cloudsignal import ItemPacked, Outbox
from cloudsignal.cli.output import Exit
from cloudsignal.partner import claim as claiming
from cloudsignal.partner.outbox import outbox as opened
from cloudsignal.partner.outbox.file import File
from cloudsignal.partner.outbox.sender import sender_path
from cloudsignal.testing import FakeServer, hanging_up
from cloudsignal.testing.fakes import APIKEY
from tests.acceptance.conftest import COMMAND, DEADLINE_S, eventually

NO_OVERRIDE = """
import ctypes, os, sys
for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH: even root has to obey
    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP
os.execv(sys.argv[1], sys.argv[1:])
"""
PROGRAM = textwrap.dedent(
    """
    import sys
    from cloudsignal import ItemPacked, Outbox, OutboxError

    path, base_url = sys.argv[1:]
    with Outbox(path, base_url) as outbox:
        for item in map(str.strip, sys.stdin):
            if item == "open another":
                try:
                    Outbox(path + "-another")
                except OutboxError as error:
                    print(error, flush=True)
            else:
                outbox.put(ItemPacked(order="7", item=item, datetime="2026-01-01T00:00:00Z"))
                print("put", flush=True)
        print(outbox.drain(60), flush=True)
    """
)
PACKED = ItemPacked(order="7", item="1", datetime="2026-01-01T00:00:00Z")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db"


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server


def no_locks(_: int) -> None:
    """As flock answers on some network drives."""
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


def a_folder(path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    sender_path(path).mkdir()
    return sender_path(path).rmdir


def a_drive_without_locks(path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    real = claiming._lock
    monkeypatch.setattr(claiming, "_lock", no_locks)
    return lambda: monkeypatch.setattr(claiming, "_lock", real)


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (a_folder, "outbox.db-sender cannot be opened: Is a directory"),
        (a_drive_without_locks, "outbox.db-sender cannot be locked: No locks available"),
    ],
)
def test_a_lock_that_cannot_be_had_is_said_and_mended_it_goes_on(
    path: Path,
    server: FakeServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    harm: Callable[[Path, pytest.MonkeyPatch], Callable[[], None]],
    told: str,
) -> None:
    monkeypatch.setattr(opened, "AGAIN_S", 0.05)
    mend = harm(path, monkeypatch)
    with Outbox(path, server.url, apikey=APIKEY) as outbox:
        outbox.put(PACKED)
        trouble = eventually(lambda: outbox.health().trouble)
        assert trouble.info.endswith(told)
        assert "sending broke off, and begins again" in caplog.text
        assert server.posts == 0
        mend()
        assert outbox.drain(DEADLINE_S) == 0
        eventually(lambda: outbox.health().trouble is None)
    assert server.received() == [PACKED]


def test_a_lock_that_is_anothers_is_said_until_it_is_mended(path: Path, server: FakeServer) -> None:
    with Outbox(path) as outbox:
        outbox.put(PACKED)
    sender_path(path).touch()
    sender_path(path).chmod(0o000)

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", NO_OVERRIDE, COMMAND, *words, "--outbox", str(path)],
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE_S,
            env=os.environ | {"CLOUDSIGNAL_BASE_URL": server.url, "CLOUDSIGNAL_APIKEY": APIKEY},
        )

    def tried() -> str:
        ran = run("outbox", "flush", "--within", "0.5")
        assert ran.returncode == Exit.NOT_SENT, ran
        return "" if "not sent yet" in ran.stderr else ran.stderr

    told = eventually(tried).splitlines()[-1]
    assert told.endswith("outbox.db-sender cannot be opened: Permission denied")
    ran = run("doctor")
    assert ran.returncode == Exit.FAILED
    assert "outbox.db-sender cannot be opened: Permission denied" in ran.stdout
    assert "not as it should be: outbox, sender" in ran.stderr
    assert server.signals == []

    sender_path(path).chmod(0o600)
    assert run("outbox", "flush").returncode == 0
    assert server.received() == [PACKED]


def test_without_a_file_left_to_open_it_says_so_and_goes_on_later(
    path: Path, server: FakeServer
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, path, server.url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"CLOUDSIGNAL_APIKEY": APIKEY},
    ) as program:
        try:
            assert program.stdin is not None
            assert program.stdout is not None

            def say(word: str) -> str:
                print(word, file=program.stdin, flush=True)
                return str(program.stdout.readline())  # type: ignore[union-attr]

            # Everything is loaded and connected by then.
            assert say("1") == "put\n"
            server.wait_for(1, timeout_s=DEADLINE_S)
            soft, hard = resource.prlimit(program.pid, resource.RLIMIT_NOFILE)
            resource.prlimit(program.pid, resource.RLIMIT_NOFILE, (1, hard))
            server.fail(hanging_up())
            assert say("2") == "put\n"
            file = File(path)
            eventually(lambda: "Too many open files" in trouble_of(file))
            assert trouble_of(file).startswith("no answer came: it cannot be reached")
            assert say("open another").endswith("cannot be opened: Too many open files\n")
            assert len(server.signals) == 1

            resource.prlimit(program.pid, resource.RLIMIT_NOFILE, (soft, hard))
            file.hurry()
            server.wait_for(2, timeout_s=DEADLINE_S)
            file.close()
            program.stdin.close()
            assert program.stdout.read() == "0\n"
        except BaseException:
            program.kill()
            raise
    assert [each.item for each in server.received()] == ["1", "2"]


def trouble_of(file: File) -> str:
    """Why nothing gets through, after another try."""
    file.hurry()
    trouble: Any = file.trouble()
    return "" if trouble is None else str(trouble.info)
