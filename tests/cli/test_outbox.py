"""``cloudsignal outbox`` and ``relay``, in this process and as the installed command."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from cloudsignal import Client, ItemPacked, ItemShipped, Outbox
from cloudsignal.testing import FakeServer, answering, unavailable
from cloudsignal.testing.fakes import APIKEY
from tests.acceptance.conftest import COMMAND
from tests.cli.conftest import Run
from tests.cli.test_look import quiet
from tests.partner.outbox.test_claim import NO_OVERRIDE

PACKED = ItemPacked(order="7", item="1", datetime="2026-01-01T00:00:00Z")
SHIPPED = ItemShipped(
    order="7", item="2", datetime="2026-01-02T00:00:00Z", tracking="1A", shipping_option="GLS"
)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    with FakeServer() as server:
        monkeypatch.setenv("CLOUDSIGNAL_BASE_URL", server.url)
        monkeypatch.setenv("CLOUDSIGNAL_APIKEY", APIKEY)
        yield server


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An outbox in which two signals wait."""
    path = tmp_path / "outbox.db"
    with Outbox(path) as outbox:
        outbox.put(PACKED)
        outbox.put(SHIPPED)
    return path


@pytest.fixture
def outbox(run: Run, path: Path) -> Callable[..., Any]:
    """Run a command of the outbox on that file."""
    return lambda command, *words: run("outbox", command, *words, "--outbox", str(path))


def test_what_waits_is_listed_and_shown(outbox: Callable[..., Any]) -> None:
    assert [each["item"] for each in outbox("list", "--json").json] == ["1", "2"]
    for words in ([], ["--json"]):
        told = outbox("list", "--limit", "1", *words).err
        assert told == "cloudsignal: there may be more: --after 1\n"
    assert [each["id"] for each in outbox("list", "--after", "1", "--json").json] == [2]
    assert outbox("list", "--state", "sent").out.endswith(": none\n")
    listed = outbox("list").out
    assert "ItemShipped" in listed
    assert "why" not in listed
    shown = outbox("show", "2")
    assert '"tracking":"1A"' in shown.out
    assert outbox("show", "2", "--json").json["signal"]["shipping_option"] == "GLS"
    assert outbox("show", "9").sentence == "there is no signal 9 in the outbox, or no more"
    [first, _] = outbox("list", "--json").json
    assert (first["put"][:3], first["put"][-6:], first["settled"]) == ("202", "+00:00", None)
    status = outbox("status", "--json").json
    assert (status["waiting"], status["oldest"]) == (2, first["put"])
    assert outbox("status").out.startswith("waiting  2, the oldest since 20")


def test_everything_is_sent_at_once(outbox: Callable[..., Any], server: FakeServer) -> None:
    assert outbox("flush").out == "everything is sent\n"
    assert server.received() == [PACKED, SHIPPED]
    assert outbox("flush", "--json").json["waiting"] == 0


def test_what_is_not_sent_in_time_is_said(outbox: Callable[..., Any], server: FakeServer) -> None:
    server.fail_always(unavailable())
    ran = outbox("flush", "--within", "0.5")
    assert ran.code == 4
    assert "2 signals wait: the store cannot be used just now" in ran.err
    assert "trouble  the store cannot be used just now" in outbox("status").out
    ran = outbox("flush", "--within", "0.5", "--json")
    assert (ran.code, json.loads(ran.out)["waiting"]) == (4, 2)


def test_who_breaks_it_off_is_told_what_was_sent_and_what_waits(
    outbox: Callable[..., Any],
    server: FakeServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "profiles.toml").write_text("[default]\nbundle_max = 1\n")
    monkeypatch.setenv("CLOUDSIGNAL_PROFILES", "profiles.toml")
    answer, drain = server.answer, Outbox.drain
    awaited = threading.Event()

    def draining(*words: Any) -> Any:
        awaited.set()
        return drain(*words)

    def interrupting(*request: Any) -> Any:
        awaited.wait()  # The sender is a thread of its own, and begins before anybody waits for it.
        if server.signals:
            server.fail_always(unavailable())
            signal.raise_signal(signal.SIGINT)
        return answer(*request)

    monkeypatch.setattr(server, "answer", interrupting)
    monkeypatch.setattr(Outbox, "drain", draining)
    ran = outbox("flush")
    assert (ran.code, ran.out) == (130, "")
    assert (
        "cloudsignal: interrupted: 1 signals are sent; 1 wait still, and cloudsignal outbox flush or run sends them\n"
    ) in ran.err
    assert server.received() == [PACKED]


def test_a_refused_key_pauses_until_it_is_mended(
    outbox: Callable[..., Any], server: FakeServer
) -> None:
    disabled = answering(403, {"error": {"type": "key_disabled", "info": "it is disabled"}})
    server.fail_always(disabled)
    ran = outbox("flush")
    assert ran.code == 5
    assert "2 signals wait, and the outbox is PAUSED: it is disabled" in ran.err
    assert "PAUSED   it is disabled" in outbox("status").out
    assert "PAUSED: it is disabled" in outbox("list").err
    server.recover()
    assert outbox("resume").out == "sent again\n"
    assert outbox("resume").out == "it was not paused\n"
    assert outbox("flush").code == 0


def test_refused_signals_are_tried_again_or_given_up(
    outbox: Callable[..., Any], server: FakeServer
) -> None:
    server.body_bytes_max = 10
    ran = outbox("flush")
    assert (ran.code, ran.out) == (3, "everything else is sent\n")
    assert ran.err.startswith("cloudsignal: 2 signals were refused: see cloudsignal outbox list")
    assert "refused  2: cloudsignal outbox list --state refused" in outbox("status").out
    assert "larger than 10 bytes" in " ".join(outbox("list").out.split())
    ran = outbox("discard", "1", "9")
    assert (ran.code, ran.out) == (0, "1 discarded\n")
    assert "1 of these signals are not there to do that with" in ran.err
    assert "none of these signals" in outbox("retry", "1").sentence
    ran = outbox("retry", "1", "--json")
    assert (ran.code, json.loads(ran.out)) == (1, {"count": 0})
    assert outbox("retry", "--all", "--json").json == {"count": 1}
    server.recover()
    server.body_bytes_max = 1000
    assert outbox("flush").out == "everything is sent\n"
    assert server.received() == [SHIPPED]
    assert outbox("retry").code == 2
    assert outbox("discard", "1", "--all").code == 2


def test_what_is_missing_is_said(run: Run, tmp_path: Path) -> None:
    ran = run("outbox", "list")
    assert (ran.code, ran.err) == (
        6,
        "cloudsignal: say which --outbox, or name it in a profile\n",
    )
    ran = run("outbox", "list", "--outbox", "nowhere.db")
    assert (ran.code, ran.err) == (6, "cloudsignal: there is no outbox nowhere.db\n")
    (tmp_path / "text.db").write_text("text " * 1000)
    assert "is no outbox" in run("outbox", "list", "--outbox", "text.db").failed(6)
    words = ["--base-url", "http://127.0.0.1:1", "--apikey-file", "text.db"]
    (tmp_path / "text.db").write_text("text")
    assert "cannot be opened" in run("outbox", "flush", "--outbox", "no/where", *words).failed(6)


def test_a_profile_names_the_outbox(
    run: Run, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profiles = tmp_path / "profiles.toml"
    profiles.write_text('[plant2]\noutbox = "outbox.db"\n')
    monkeypatch.setenv("CLOUDSIGNAL_PROFILES", str(profiles))
    assert run("outbox", "status", "--profile", "plant2", "--json").json["waiting"] == 2


# ---- the installed command -----------------------------------------------------------------------


def started(*words: str, until: str) -> tuple[subprocess.Popen[str], str]:
    """The command, and the line in which it said this."""
    process = subprocess.Popen(
        [COMMAND, *words], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    assert process.stderr is not None
    for line in process.stderr:
        if until in line:
            return process, line
    raise AssertionError(f"it ended with {process.wait()}")


def ended(process: subprocess.Popen[str], how: int) -> int:
    process.send_signal(how)
    assert process.stderr is not None
    with process.stderr:
        process.stderr.read()
    return process.wait(30)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_sends_until_it_is_told_to_end(server: FakeServer, path: Path, how: int) -> None:
    process, _ = started("outbox", "run", "--outbox", str(path), until="sending from")
    try:
        server.wait_for(2, timeout_s=30)
        with Outbox(path) as outbox:
            outbox.put(ItemPacked(order="8", item="3", datetime="2026-01-01T00:00:00Z"))
        server.wait_for(3, timeout_s=30)
    finally:
        assert ended(process, how) == 0


def test_a_relay_forwards_what_it_was_sent_before_it_was_killed(
    server: FakeServer, tmp_path: Path
) -> None:
    words = ["relay", "--port", "0", "--outbox", str(tmp_path / "outbox.db")]
    server.fail_always(unavailable())
    process, line = started(*words, until="listening on")
    address = line.split("listening on ")[1].split(",")[0]
    with Client(address, apikey=APIKEY) as client:
        client.send(PACKED)
    assert httpx2.get(f"{address}/healthz").json()["outbox"]["waiting"] == 1
    ended(process, signal.SIGKILL)

    server.recover()
    process, _ = started(*words, until="listening on")
    try:
        server.wait_for(1, timeout_s=30)
    finally:
        assert ended(process, signal.SIGTERM) == 0
    assert server.received() == [PACKED]
    assert (tmp_path / "outbox.db").stat().st_mode & 0o077 == 0


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("command", ["relay", "listen"])
def test_what_says_that_it_listens_heeds_who_ends_it_at_once(command: str, tmp_path: Path) -> None:
    outbox = ["--outbox", str(tmp_path / "outbox.db")] if command == "relay" else []
    process, _ = started(command, "--port", "0", *outbox, until="listening on")
    assert ended(process, signal.SIGTERM) == 0


# ---- without the right to write ----


def looked_at(path: Path, command: str) -> tuple[int, str, str]:
    """What a user is told of an outbox who has no rights but those that the files give, be it root."""
    ran = subprocess.run(
        [sys.executable, "-c", NO_OVERRIDE, COMMAND, "outbox", command, "--outbox", str(path)],
        capture_output=True, text=True, check=False, timeout=60, env=quiet(),
    )  # fmt: skip
    return ran.returncode, ran.stdout, ran.stderr


@contextmanager
def closed_to_writers(path: Path, *, folder: bool) -> Iterator[None]:
    """Take away the right to write the outbox's files and, if it is told to, their folder."""
    closed = [*path.parent.glob(f"{path.name}*"), *([path.parent] if folder else [])]
    modes = [each.stat().st_mode for each in closed]
    for each, mode in zip(closed, modes, strict=True):
        each.chmod(mode & ~0o222)
    yield
    for each, mode in zip(closed, modes, strict=True):
        each.chmod(mode)


@pytest.mark.parametrize("folder", [False, True])
def test_who_may_only_read_sees_what_waits_while_somebody_has_it_open(
    path: Path, folder: bool
) -> None:
    with Outbox(path) as outbox:
        with closed_to_writers(path, folder=folder):
            for command in ("list", "status"):
                code, told, _ = looked_at(path, command)
                assert (code, "2" in told) == (0, True)
        outbox.put(PACKED)


@pytest.mark.parametrize("folder", [False, True])
def test_who_may_only_read_never_locks_out_who_writes(path: Path, folder: bool) -> None:
    with closed_to_writers(path, folder=folder):
        code, _, told = looked_at(path, "list")
        assert list(path.parent.glob(f"{path.name}*")) == [path]
    assert code == 6
    assert told.startswith(
        f"cloudsignal: the outbox {path} cannot be written to by this user, who can look at it only while"
    )
    assert told.count("\n") == 1
    with Outbox(path) as outbox:
        outbox.put(PACKED)
