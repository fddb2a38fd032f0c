"""The process that writes: it takes groups of posts from the server, appends them, and answers.

A process of its own, because the interpreter lock is what a busy server lacks most: the driver gives
it up for every row, and wins it back each time from an event loop that decodes the next posts.
Measured in docs/decisions/0002-writer-process.md.

Both ends talk over a socket in frames: the length in four bytes, then MessagePack. The first frame
says what to do, every other one holds posts. All that wait in the socket are written as one group;
the answers come in the order of the posts.
"""

import gc
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import chain
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from cloudsignal.protocol.wire import Receipt
from cloudsignal.server.store.backends import backend_of
from cloudsignal.server.store.errors import StoreUnavailable
from cloudsignal.server.store.log import Answer, Arrival, Problems, Writer, append

if TYPE_CHECKING:
    from cloudsignal.server.settings import Settings

LENGTH_BYTES: Final = 4
READ_BYTES: Final = 1 << 20
GC_ALLOCATIONS: Final = 50_000
"""How many new objects it takes to look for cycles: posts make thousands, and no cycle."""

encode: Final = msgspec.msgpack.Encoder().encode


class Task(Struct, array_like=True):
    """Which store to write to, how many signals in one transaction at most, and what not to write."""

    url: str
    group_max: int
    refuse_unregistered: bool = False


class Answers(Struct, array_like=True):
    """What became of a group: the receipt of each post, or its problems, or why none was written.

    ``seconds`` is how long it took.
    """

    receipts: list[Receipt | None]
    problems: dict[int, Problems]
    failure: str = ""
    seconds: float = 0.0


def task_of(settings: "Settings") -> Task:
    """What these settings say."""
    return Task(settings.database, settings.group_max, settings.unregistered_orders == "refuse")


decode_task: Final = msgspec.msgpack.Decoder(Task).decode
decode_posts: Final = msgspec.msgpack.Decoder(list[Arrival]).decode
decode_answers: Final = msgspec.msgpack.Decoder(Answers).decode


def frame(payload: bytes) -> bytes:
    """The payload with its length before it."""
    return len(payload).to_bytes(LENGTH_BYTES, "big") + payload


class Frames:
    """Puts frames together again from the pieces in which they come."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads that are complete now."""
        self._buffer += data
        payloads: list[bytes] = []
        while len(self._buffer) >= LENGTH_BYTES:
            end = LENGTH_BYTES + int.from_bytes(self._buffer[:LENGTH_BYTES], "big")
            if len(self._buffer) < end:
                break
            payloads.append(bytes(self._buffer[LENGTH_BYTES:end]))
            del self._buffer[:end]
        return payloads


Started = tuple["subprocess.Popen[bytes]", socket.socket]
"""A writer's process, and the socket over which to talk to it."""


def start(task: Task) -> Started:
    """Start the process for a task. It opens the store when the first posts come."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
        )
    # Not as an argument: those are there for every user of the machine to read.
    ours.sendall(frame(encode(task)))
    return process, ours


def run(connection: socket.socket) -> None:
    """Write what comes until the server hangs up."""
    arriving = _arriving(connection)
    first = next(arriving, None)
    if first is None:
        return
    task = decode_task(first.pop(0))
    with closing(backend_of(task.url).writer()) as writer:
        for payloads in chain([first], arriving):
            posts = [post for payload in payloads for post in decode_posts(payload)]
            for group in groups(posts, task.group_max):
                started = time.perf_counter()
                answers = _write(writer, group, task.refuse_unregistered)
                answers.seconds = time.perf_counter() - started
                connection.sendall(frame(encode(answers)))


def _arriving(connection: socket.socket) -> Iterator[list[bytes]]:
    """The payloads that wait in the socket, time after time, until the other end hangs up."""
    frames = Frames()
    while data := connection.recv(READ_BYTES):
        if payloads := frames.feed(data):
            yield payloads


def groups(posts: list[Arrival], most: int) -> Iterator[list[Arrival]]:
    """The posts in their order, cut into groups of so many signals; a larger post stands alone."""
    group: list[Arrival] = []
    signals = 0
    for post in posts:
        if group and signals + len(post.reports) > most:
            yield group
            group, signals = [], 0
        group.append(post)
        signals += len(post.reports)
    if group:
        yield group


def _write(writer: Writer, arrivals: list[Arrival], refuse_unregistered: bool = False) -> Answers:
    try:
        return _sorted(append(writer, arrivals, refuse_unregistered=refuse_unregistered))
    except StoreUnavailable as error:
        return Answers([None] * len(arrivals), {}, str(error))
    except Exception as error:
        # A defect, and one post may be the cause of it: the others must not suffer.
        if len(arrivals) > 1:
            return _one_by_one(writer, arrivals, refuse_unregistered)
        return Answers([None], {}, f"a defect: {error!r}")


def _sorted(answers: list[Answer]) -> Answers:
    return Answers(
        [answer if isinstance(answer, Receipt) else None for answer in answers],
        {index: answer for index, answer in enumerate(answers) if isinstance(answer, list)},
    )


def _one_by_one(writer: Writer, arrivals: list[Arrival], refuse_unregistered: bool) -> Answers:
    done = Answers([], {})
    for index, arrival in enumerate(arrivals):
        one = _write(writer, [arrival], refuse_unregistered)
        done.receipts += one.receipts
        if one.problems:
            done.problems[index] = one.problems[0]
        done.failure = done.failure or one.failure
    return done


def main() -> None:
    """Run as the process that ``start`` started."""
    # Whoever stops the server stops all of its processes at once; this one has to outlive it until
    # the last group is answered, and ends when the server hangs up.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    gc.set_threshold(GC_ALLOCATIONS)
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        run(connection)


if __name__ == "__main__":
    main()
