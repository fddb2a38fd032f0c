"""The process that writes: it takes groups of posts from the server, appends them, and answers.

A process of its own, because the interpreter lock is what a busy server lacks most: the driver gives
it up for every row, and wins it back each time from an event loop that decodes the next posts.
Measured in docs/decisions/0002-writer-process.md.

Both ends talk over a socket in frames: the length in four bytes, then MessagePack. The first frame
is the store's URL, every other one a group; the answers come in the same order.
"""

import gc
import signal
import socket
import subprocess
import sys
from typing import Final

import msgspec
from msgspec import Struct

from cloudsignal.protocol.refusals import Problem
from cloudsignal.protocol.wire import Receipt
from cloudsignal.server.store.errors import StoreUnavailable
from cloudsignal.server.store.log import Answer, Arrival, append
from cloudsignal.server.store.sqlite import Writer, open_writer

LENGTH_BYTES: Final = 4
READ_BYTES: Final = 1 << 20
GC_ALLOCATIONS: Final = 50_000
"""How many new objects it takes to look for cycles: a group makes thousands, and no cycle."""

encode: Final = msgspec.msgpack.Encoder().encode


class Answers(Struct, array_like=True):
    """What became of a group: the receipt of each post, or its problem, or why none was written."""

    receipts: list[Receipt | None]
    problems: dict[int, Problem]
    failure: str = ""


decode_group: Final = msgspec.msgpack.Decoder(list[Arrival]).decode
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


def start(url: str) -> tuple["subprocess.Popen[bytes]", socket.socket]:
    """Start the process for a store; the socket is how to talk to it."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
        )
    # Not as an argument: those are there for every user of the machine to read.
    ours.sendall(frame(url.encode()))
    return process, ours


def run(connection: socket.socket) -> None:
    """Write groups until the server hangs up."""
    frames = Frames()
    writer: Writer | None = None
    while data := connection.recv(READ_BYTES):
        for payload in frames.feed(data):
            if writer is None:
                writer = open_writer(payload.decode())
            else:
                connection.sendall(frame(encode(_write(writer, decode_group(payload)))))
    if writer is not None:
        writer.close()


def _write(writer: Writer, arrivals: list[Arrival]) -> Answers:
    try:
        return _sorted(append(writer, arrivals))
    except StoreUnavailable as error:
        return Answers([None] * len(arrivals), {}, str(error))
    except Exception as error:
        # A defect, and one post may be the cause of it: the others must not suffer.
        if len(arrivals) > 1:
            return _one_by_one(writer, arrivals)
        return Answers([None], {}, f"a defect: {error!r}")


def _sorted(answers: list[Answer]) -> Answers:
    return Answers(
        [answer if isinstance(answer, Receipt) else None for answer in answers],
        {index: answer for index, answer in enumerate(answers) if isinstance(answer, Problem)},
    )


def _one_by_one(writer: Writer, arrivals: list[Arrival]) -> Answers:
    done = Answers([], {})
    for index, arrival in enumerate(arrivals):
        one = _write(writer, [arrival])
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
