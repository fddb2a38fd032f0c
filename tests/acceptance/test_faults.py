"""Clients that misbehave, a store that is away, and an end in order."""

import concurrent.futures
import contextlib
import http.client
import json
import os
import resource
import shutil
import signal as signals
import socket
import sqlite3
import struct
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import (
    ENDPOINT,
    JSON,
    Answer,
    MakeServer,
    Server,
    ask,
    eventually,
    fresh,
    read_answer,
    signal,
)

READ_TIMEOUT_S = 0.3
FLAGS = ("--read-timeout-s", str(READ_TIMEOUT_S), "--refused-lines-per-minute", "100000")
CONNECTIONS = 10_000
ENDLESS_PARTS = 3_000
"""How many large parts an endless request is made of."""
MEMORY_KIB_MAX = 32 * 1024
"""By how much the server's memory may grow meanwhile."""
OTHER_FILES = 500
"""How many files besides its connections a process may want to have open."""
END_S = 10.0
"""Within how many seconds the server has to end after SIGTERM."""

FEW_FILES = """
import os, resource, sys
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
os.execv(sys.argv[1], sys.argv[1:])
"""
NO_OVERRIDE = """
import ctypes, os, sys
for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH: even root has to obey
    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP
os.execv(sys.argv[1], sys.argv[1:])
"""


def head(length: int, *more: str) -> bytes:
    lines = [f"POST {ENDPOINT} HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
    return "\r\n".join([*lines, f"Content-Length: {length}", *more, "", ""]).encode()


CHUNKED = (
    f"POST {ENDPOINT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    "Transfer-Encoding: chunked\r\n\r\n"
).encode()


def body_of(key: str, **fields: Any) -> bytes:
    return json.dumps({"apikey": key} | signal(**fields)).encode()


def position(server: Server) -> int:
    with server.store() as store:
        return store.reading.last_position()


def notes(server: Server) -> list[str]:
    """The notes of all signals in the log."""
    found: list[str] = []
    after = 0
    with server.store() as store:
        while page := store.reading.signals(after=after, limit=1000):
            found += [json.loads(each.body).get("note", "") for each in page]
            after = page[-1].position
    return found


def mistakes(server: Server) -> list[dict[str, Any]]:
    """What the log says that somebody would have to mend."""
    return [line for line in server.lines() if line["level"] == "error" or "exception" in line]


# ---- clients that misbehave ----------------------------------------------------------------------


def hang_up(connection: socket.socket) -> None:
    connection.close()


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest.mark.parametrize("leave", [hang_up, reset])
@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"POST /clou", id="half a line"),
        pytest.param(head(1000)[:80], id="half a head"),
        pytest.param(head(1000), id="only a head"),
        pytest.param(head(1000) + b'{"apikey": "', id="half a body"),
        pytest.param(head(1000, "Expect: 100-continue"), id="no body after 100-continue"),
    ],
)
def test_a_client_that_hangs_up_in_the_middle_harms_nobody(
    server: Server, key: str, leave: Callable[[socket.socket], None], sent: bytes
) -> None:
    before = position(server)
    for _ in range(20):
        connection = server.connect()
        connection.sendall(sent)
        leave(connection)
    assert server.post(body_of(key)).status == 200
    assert position(server) == before + 1
    assert mistakes(server) == []


@pytest.mark.parametrize("leave", [hang_up, reset])
def test_a_client_that_hangs_up_before_the_answer_has_its_signal_stored_at_most_once(
    server: Server, key: str, leave: Callable[[socket.socket], None]
) -> None:
    bodies = [body_of(key, note=fresh("note")) for _ in range(20)]
    for body in bodies:
        connection = server.connect()
        connection.sendall(head(len(body)) + body)
        leave(connection)
    repeats = sum(server.post(body).json["duplicates"] for body in bodies)
    assert repeats <= len(bodies)
    found = notes(server)
    assert [found.count(json.loads(body)["note"]) for body in bodies] == [1] * len(bodies)
    assert mistakes(server) == []


def is_hung_up(connection: socket.socket) -> bool:
    """Whether the server has closed a connection, without having said anything."""
    connection.setblocking(False)
    try:
        assert connection.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"P", id="a letter"),
        pytest.param(head(1000)[:80], id="half a head"),
        pytest.param(head(1000), id="only a head"),
        pytest.param(head(1000) + b'{"apikey": "', id="half a body"),
    ],
)
def test_a_client_that_stalls_is_hung_up_on(server: Server, sent: bytes) -> None:
    with server.connect() as connection:
        connection.sendall(sent)
        eventually(lambda: is_hung_up(connection), "a stalled client is still connected")


@pytest.mark.parametrize("sent", [head(1000)[:20], head(100_000)])
def test_a_client_that_sends_drop_by_drop_is_hung_up_on(server: Server, sent: bytes) -> None:
    with server.connect() as connection:
        connection.sendall(sent)

        def is_refused() -> bool:
            try:
                connection.sendall(b"a")
            except OSError:
                return True
            return is_hung_up(connection)

        eventually(is_refused, "a slow client is still connected")


def test_a_client_between_its_posts_is_not_taken_for_one_that_stalls(
    server: Server, key: str
) -> None:
    with contextlib.closing(server.http()) as client, server.connect() as stalled:
        client.auto_open = False
        client.connect()
        assert ask(client, "POST", ENDPOINT, body_of(key), JSON).status == 200
        eventually(lambda: is_hung_up(stalled))
        assert ask(client, "POST", ENDPOINT, body_of(key), JSON).status == 200


def memory_kib(server: Server) -> int:
    """The most memory that the server has used."""
    assert server.process is not None
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


@pytest.mark.parametrize(
    ("start", "part"),
    [
        pytest.param(b"POST /", b"x" * 65536, id="address"),
        pytest.param(b"POST / HTTP/1.1\r\nHost: ", b"x" * 65536, id="value of a header"),
        pytest.param(b"POST / HTTP/1.1\r\n", b"x" * 65536, id="name of a header"),
        pytest.param(b"POST / HTTP/1.1\r\n", b"a: b\r\n" * 10_000, id="headers"),
        pytest.param(CHUNKED + b"2\r\n{}\r\n0\r\n", b"a: b\r\n" * 10_000, id="trailers"),
        pytest.param(CHUNKED + b"2;", b"x" * 65536, id="extension of a chunk"),
    ],
)
def test_a_head_without_end_is_hung_up_on_and_not_kept(
    make_server: MakeServer, start: bytes, part: bytes
) -> None:
    server = make_server().start()
    before = memory_kib(server)
    with server.connect() as connection, contextlib.suppress(OSError):
        connection.sendall(start)
        for _ in range(ENDLESS_PARTS):
            connection.sendall(part)
        pytest.fail("the server listens for ever")
    assert memory_kib(server) - before < MEMORY_KIB_MAX
    assert server.post(body_of(server.interface())).status == 200


def test_a_head_is_limited_also_after_a_post_that_was_refused_early(server: Server) -> None:
    size = 2_000_000
    with server.connect() as connection:
        connection.sendall(head(size))
        assert read_answer(connection).status == 413
        connection.sendall(b" " * size)
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert read_answer(connection).status == 200
        connection.sendall(b"GET /healthz HTTP/1.1\r\nX: ")
        with contextlib.suppress(OSError):
            for _ in range(40):
                connection.sendall(b"x" * 50_000)
            connection.sendall(b"\r\n\r\n")
        with contextlib.suppress(http.client.HTTPException, OSError):
            assert read_answer(connection).status == 400


def test_a_head_that_is_too_large_is_told_so(server: Server, key: str) -> None:
    body = body_of(key)
    assert server.post_raw(head(len(body), "X: " + "x" * 32_000) + body).status == 200
    with server.connect() as connection:
        connection.sendall(head(0)[:-2] + b"X: " + b"x" * 66_000)
        answer = read_answer(connection)
    assert (answer.status, answer.error["type"]) == (400, "invalid_http")
    assert "head" in answer.error["info"]


def test_a_body_in_the_smallest_chunks_is_a_body(server: Server, key: str) -> None:
    body = body_of(key, note="x" * 100_000)
    chunks = b"".join(b"1\r\n%c\r\n" % each for each in body)
    assert server.post_raw(CHUNKED + chunks + b"0\r\n\r\n").json["accepted"] == 1


def test_many_refused_posts_in_one_piece_are_answered_one_by_one(server: Server) -> None:
    posts, received = 900, b""
    with server.connect() as connection:
        connection.sendall((head(1) + b"{") * posts)
        while received.count(b"HTTP/1.1 400") < posts:
            received += (piece := connection.recv(1 << 20))
            assert piece, received[-1000:]
    assert b"HTTP/1.1 5" not in received
    assert not mistakes(server)


@contextlib.contextmanager
def many_files() -> Iterator[int]:
    """As many open files as this process can have: how many of them may be connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield CONNECTIONS if hard == resource.RLIM_INFINITY else hard - OTHER_FILES
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_ten_thousand_idle_and_slow_connections_do_not_stop_a_good_client(
    make_server: MakeServer,
) -> None:
    # The server is started as most are: with a low soft limit, which it has to raise by itself.
    server = make_server("--shutdown-s", "1", before=(sys.executable, "-c", FEW_FILES)).start()
    key = server.interface()
    kinds = [b"", head(1000)[:80], head(1000) + b'{"apikey": "']
    with many_files() as most, contextlib.ExitStack() as closing:
        count = min(CONNECTIONS, most)
        for number in range(count):
            connection = closing.enter_context(server.connect())
            connection.sendall(kinds[number % len(kinds)])
        assert server.process is not None
        files = Path(f"/proc/{server.process.pid}/fd")
        eventually(lambda: len(list(files.iterdir())) > count, "the server does not take them all")
        client = closing.enter_context(contextlib.closing(server.http()))
        for _ in range(50):
            assert ask(client, "POST", ENDPOINT, body_of(key), JSON).status == 200
            assert server.post(body_of(key)).status == 200
        assert mistakes(server) == []
        assert server.terminate(END_S) == 0


# ---- a store that is away ------------------------------------------------------------------------


@contextlib.contextmanager
def locked(server: Server) -> Iterator[sqlite3.Connection]:
    """Another program holds the store."""
    with contextlib.closing(sqlite3.connect(server.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield other
        if other.in_transaction:
            other.execute("ROLLBACK")


def is_unavailable(answer: Answer, type: str = "unavailable") -> bool:
    """Whether a post was answered 503 of this type, as it must be."""
    if answer.status == 200:
        return False
    assert (answer.status, answer.error["type"]) == (503, type), answer
    assert int(answer.headers["retry-after"]) >= 1
    return True


def heals(server: Server, key: str) -> None:
    """The server takes posts again, by itself."""
    eventually(lambda: server.post(body_of(key)).status == 200, "posts don't flow again")


def keeps(server: Server, acknowledged: list[str]) -> None:
    """Everything that was acknowledged is in the log once, and the items follow from the log."""
    found = notes(server)
    assert [found.count(note) for note in acknowledged] == [1] * len(acknowledged)
    with server.store() as store:
        assert store.rebuild().differed == 0


def test_a_full_queue_is_answered_503_overloaded(make_server: MakeServer) -> None:
    server = make_server("--queue-max", "5", "--bundle-max", "5").start()
    key = server.interface()
    heals(server, key)
    with concurrent.futures.ThreadPoolExecutor() as pool, locked(server) as other:
        bundle = {"apikey": key, "items": [signal() for _ in range(5)]}
        waiting = pool.submit(server.post, bundle)
        eventually(lambda: server.queue() == 5, "the bundle does not wait")
        assert is_unavailable(server.post(body_of(key)), "overloaded")
        other.execute("ROLLBACK")
        assert waiting.result().json["accepted"] == 5
    assert server.post(body_of(key)).status == 200
    assert server.queue() == 0


def test_a_store_that_is_locked_for_a_moment_only_delays_the_answer(server: Server) -> None:
    key = server.interface()
    heals(server, key)
    with concurrent.futures.ThreadPoolExecutor() as pool, locked(server) as other:
        waiting = [pool.submit(server.post, body_of(key)) for _ in range(3)]
        eventually(lambda: server.queue() == 3)
        other.execute("ROLLBACK")
        assert [each.result().status for each in waiting] == [200] * 3


def test_a_store_that_stays_locked_is_answered_503_for_the_whole_group(server: Server) -> None:
    key = server.interface()
    acknowledged = fresh("note")
    assert server.post(body_of(key, note=acknowledged)).status == 200
    bodies = [body_of(key) for _ in range(3)]
    with concurrent.futures.ThreadPoolExecutor() as pool, locked(server):
        waiting = [pool.submit(server.post, body) for body in bodies]
        assert all(is_unavailable(each.result()) for each in waiting)
    assert server.lines("a group could not be written")
    heals(server, key)
    assert [server.post(body).json["accepted"] for body in bodies] == [1] * 3
    keeps(server, [acknowledged])


def files_of(server: Server) -> list[Path]:
    return [path for path in server.folder.glob("cloudsignal.db*") if path.suffix != ".secret"]


def test_a_store_that_is_read_only_is_answered_503_until_it_is_not(make_server: MakeServer) -> None:
    server = make_server(before=(sys.executable, "-c", NO_OVERRIDE)).start()
    key = server.interface()
    told = signal(note="before")
    assert server.post({"apikey": key} | told).status == 200
    for path in files_of(server):
        path.chmod(0o444)
    # What is open stays open to it: a new process of the writer opens the files anew.
    os.kill(server.writer(), signals.SIGKILL)

    def is_noticed() -> bool:
        return is_unavailable(server.post(body_of(key))) and "readonly" in server.stderr

    eventually(is_noticed, "a read-only store is written to")
    assert server.item(told["order"], told["item"])["state"] == "registered", "it can be read"
    for path in files_of(server):
        path.chmod(0o644)
    heals(server, key)
    keeps(server, ["before"])


def test_a_full_disk_is_answered_503_until_there_is_room_again(make_server: MakeServer) -> None:
    server = make_server().start()
    key = server.interface()
    assert server.post(body_of(key, note="before")).status == 200
    acknowledged = ["before"]
    hard = resource.prlimit(server.writer(), resource.RLIMIT_FSIZE)[1]
    # To a process, a file that may not grow is a disk that is full.
    largest = max(path.stat().st_size for path in files_of(server))
    resource.prlimit(server.writer(), resource.RLIMIT_FSIZE, (largest, hard))

    def is_full() -> bool:
        told = [signal(note=fresh("note"), filling="x" * 1000) for _ in range(100)]
        answer = server.post({"apikey": key, "items": told})
        if is_unavailable(answer):
            return True
        acknowledged.extend(each["note"] for each in told)
        return False

    eventually(is_full, "the disk does not get full")
    assert is_unavailable(server.post(body_of(key, filling="x" * 100_000)))
    keeps_reading = server.get("/api/v1/signals?limit=1")
    assert keeps_reading.status == 200
    resource.prlimit(server.writer(), resource.RLIMIT_FSIZE, (hard, hard))
    heals(server, key)
    keeps(server, acknowledged)


def test_a_store_that_is_gone_is_answered_503_until_it_is_back(make_server: MakeServer) -> None:
    server = make_server().start()
    key = server.interface()
    assert server.post(body_of(key, note="before")).status == 200
    away = server.folder / "away"
    away.mkdir()
    names = [path.name for path in files_of(server)]
    for name in names:
        (server.folder / name).rename(away / name)
    assert is_unavailable(server.post(body_of(key)))
    ready = server.request("GET", "/readyz")
    assert ready.status == 503, ready
    assert server.request("GET", "/healthz").status == 200
    answer = server.post(body_of("0" * 32))
    assert answer.status in (401, 503)
    assert not server.path.exists(), "a store that went away must not come back empty"
    for name in names:
        shutil.move(away / name, server.folder / name)
    heals(server, key)
    assert server.request("GET", "/readyz").status == 200
    keeps(server, ["before"])


def test_a_store_that_is_damaged_is_answered_503_and_is_no_defect(make_server: MakeServer) -> None:
    server = make_server().start()
    key, token = server.interface(), server.token()
    assert server.post(body_of(key)).status == 200
    for path in files_of(server):
        path.write_bytes(b"\xff" * path.stat().st_size)
    for _ in range(2):
        assert is_unavailable(server.post(body_of(key)))
        assert is_unavailable(server.post(body_of("0" * 32)))
        assert server.request("GET", "/readyz").status == 503
        assert server.request("GET", "/healthz").status == 200
        headers = {"Authorization": f"Bearer {token}"}
        assert server.request("GET", "/api/v1/items", headers=headers).status == 503
    assert "Traceback" not in server.stderr
    assert server.terminate(END_S) == 0


# ---- an end in order -----------------------------------------------------------------------------


def post_until_refused(server: Server, key: str, prefix: str) -> tuple[list[str], list[int]]:
    """Post until the server is gone: the notes of what was acknowledged, the other answers."""
    acknowledged: list[str] = []
    others: list[int] = []
    with contextlib.closing(server.http()) as client:
        for number in range(1_000_000):
            note = f"{prefix} {number}"
            try:
                answer = ask(client, "POST", ENDPOINT, body_of(key, note=note), JSON)
            except (OSError, http.client.HTTPException):
                break
            acknowledged += [note] if answer.status == 200 else []
            others += [answer.status] if answer.status != 200 else []
    return acknowledged, others


def test_at_sigterm_under_load_everything_accepted_is_answered(make_server: MakeServer) -> None:
    server = make_server().start()
    key = server.interface()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        clients = [pool.submit(post_until_refused, server, key, str(each)) for each in range(8)]
        eventually(lambda: position(server) > 50, "there is no load")
        assert server.terminate(END_S) == 0
        results = [client.result() for client in clients]
    acknowledged = [note for each, _ in results for note in each]
    assert {status for _, others in results for status in others} <= {503}
    assert sorted(notes(server)) == sorted(acknowledged), "stored and not answered, or vice versa"
    assert mistakes(server) == []


def test_after_sigterm_nobody_is_let_in(make_server: MakeServer) -> None:
    server = make_server("--shutdown-s", "2").start()
    with server.connect() as slow:
        slow.sendall(head(1000))
        assert server.process is not None
        server.process.send_signal(signals.SIGTERM)

        def is_refused() -> bool:
            try:
                server.connect().close()
            except ConnectionRefusedError:
                return True
            return False

        eventually(is_refused, "the server still listens")
        assert server.wait(END_S) == 0


def test_sigterm_is_not_held_up_by_those_who_do_not_go(make_server: MakeServer) -> None:
    server = make_server().start()
    key, token = server.interface(), server.token()
    body = body_of(key)
    live = b"GET /api/v1/signals/live HTTP/1.1\r\nHost: localhost\r\n"
    live += f"Authorization: Bearer {token}\r\n\r\n".encode()
    with contextlib.ExitStack() as closing:
        connections = [closing.enter_context(server.connect()) for _ in range(6)]
        idle, silent, half_head, half_body, stream, other_stream = connections
        idle.sendall(head(len(body)) + body)
        assert read_answer(idle).status == 200
        half_head.sendall(head(1000)[:80])
        half_body.sendall(head(1000) + b'{"apikey": "')
        for each in (stream, other_stream):
            each.sendall(live)
            assert each.recv(15) == b"HTTP/1.1 200 OK"
        assert server.terminate(END_S) == 0
        for each in (idle, silent, half_head, stream, other_stream):
            each.settimeout(END_S)
            rest = b"".join(iter(lambda each=each: each.recv(65536), b""))
            assert b" 500 " not in rest
        assert is_unavailable(read_answer(half_body))
    assert "Traceback" not in server.stderr


def test_sigterm_is_not_held_up_by_a_store_that_is_locked(make_server: MakeServer) -> None:
    server = make_server().start()
    key = server.interface()
    heals(server, key)
    with concurrent.futures.ThreadPoolExecutor() as pool, locked(server):
        waiting = [pool.submit(server.post, body_of(key)) for _ in range(3)]
        eventually(lambda: server.queue() == 3)
        children = server.children()
        assert server.terminate(END_S) == 0
        assert all(is_unavailable(each.result()) for each in waiting)
        assert children
        eventually(lambda: not any(Path(f"/proc/{child}").exists() for child in children))
    assert "Traceback" not in server.stderr


def test_a_post_that_waits_for_the_store_at_sigterm_is_answered_200_when_it_is_free(
    make_server: MakeServer,
) -> None:
    server = make_server().start()
    key = server.interface()
    heals(server, key)
    with concurrent.futures.ThreadPoolExecutor() as pool, locked(server) as other:
        waiting = pool.submit(server.post, body_of(key, note="waits"))
        eventually(lambda: server.queue() == 1)
        assert server.process is not None
        server.process.send_signal(signals.SIGTERM)
        time.sleep(0.3)  # The server is told, and has to wait.
        other.execute("ROLLBACK")
        assert waiting.result().status == 200
        assert server.wait(END_S) == 0
    keeps(server, ["waits"])


def test_ctrl_c_in_a_terminal_ends_all_processes_in_order(make_server: MakeServer) -> None:
    server = make_server().start()
    key = server.interface()
    heals(server, key)
    with concurrent.futures.ThreadPoolExecutor() as pool, locked(server) as other:
        waiting = pool.submit(server.post, body_of(key))
        eventually(lambda: server.queue() == 1)
        assert server.process is not None
        os.killpg(server.process.pid, signals.SIGINT)
        other.execute("ROLLBACK")
        assert waiting.result().status == 200, "the writer outlives the last answer"
        assert server.wait(END_S) == 0
    assert "Traceback" not in server.stderr
