"""Everything that waits, in one transaction; each answered after it.

Every post is sent on to the writer's process at once. While that is busy with a commit they gather
before its door; when it is free it takes all that wait as one group. A single post waits for one
commit, a thousand share it.
"""

import asyncio
import logging
import subprocess
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, Protocol, cast

from cloudsignal.protocol import http
from cloudsignal.protocol.refusals import Refusal, not_now
from cloudsignal.protocol.wire import Receipt
from cloudsignal.server import writer
from cloudsignal.server.store.log import Arrival, Problems

_log: Final = logging.getLogger(__name__)

RESTART_S: Final = 1.0
"""How long to wait before a writer that ended is started again."""
END_S: Final = 3.0
"""How long the writer may take to end. What it has not written by then is answered 503."""

Outcome = Receipt | Refusal
"""What becomes of a post."""
Waiting = tuple[Arrival, int, Callable[[Outcome], None]]
"""A post, its size in bytes, and who waits for its outcome."""


class Watcher(Protocol):
    """Who is told of every group: its posts, their answers, and the seconds it took."""

    def __call__(
        self, arrivals: Sequence[Arrival], receipts: Sequence[Receipt | None], seconds: float
    ) -> None: ...


class GroupCommit:
    """The only one that appends to the log."""

    def __init__(
        self,
        task: writer.Task,
        *,
        queue_max: int,
        queue_bytes_max: int,
        watch: Watcher,
        failed: Callable[[str], None],
        first: writer.Started | None = None,
    ) -> None:
        """``first`` is a writer that was started already, to be ready the sooner."""
        self._first = first
        self._task = task
        self._queue_max = queue_max
        self._queue_bytes_max = queue_bytes_max
        self._watch = watch
        self._failed = failed
        self._gathering: list[Arrival] = []
        self._under_way: deque[Waiting] = deque()
        self._process: subprocess.Popen[bytes] | None = None
        self._link: _Link | None = None
        self._stopping = False
        self._idle = asyncio.Event()
        self.waiting = 0
        """How many signals are on their way to the disk."""
        self._waiting_bytes = 0

    async def start(self) -> None:
        """Start the writer, on the event loop whose coroutines append."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._loop = asyncio.get_running_loop()
        started, self._first = self._first or writer.start(self._task), None
        self._process, connection = started
        _, self._link = await self._loop.create_connection(lambda: _Link(self), sock=connection)

    async def stop(self) -> None:
        """Write what waits, then end the writer; one that cannot write just now is ended anyhow."""
        self._stopping = True
        if self._process is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(END_S):
                while self.waiting:
                    self._idle.clear()
                    await self._idle.wait()
                if self._link is not None:  # It may have ended meanwhile.
                    self._link.close()
                await asyncio.to_thread(self._process.wait)
        # No harm to what was acknowledged: a transaction is on disk as a whole, or not at all.
        self._process.kill()
        await asyncio.to_thread(self._process.wait)
        if self._under_way:
            self.hung_up()  # Now rather than when its end is noticed, which may be too late.

    @property
    def is_up(self) -> bool:
        """Whether there is a writer to give posts to."""
        return self._link is not None

    def append(self, arrival: Arrival) -> "asyncio.Future[Receipt]":
        """Put a post on its way to the disk, for those who can wait.

        The future's result is its receipt, once it is there, or a Refusal as its exception.
        Raises Refusal as ``hand_in`` does.
        """
        future: asyncio.Future[Receipt] = self._loop.create_future()

        def answered(outcome: Outcome) -> None:
            if future.done():
                # Its sender hung up. What it sent is in the log all the same.
                return
            if isinstance(outcome, Receipt):
                future.set_result(outcome)
            else:
                future.set_exception(outcome)

        self.hand_in(arrival, answered)
        return future

    def hand_in(self, arrival: Arrival, answered: Callable[[Outcome], None]) -> None:
        """Put a post on its way to the disk; ``answered`` is told what became of it.

        Raises Refusal at once when too much is waiting (``overloaded``) or nothing can be written
        just now (``unavailable``).
        """
        if self._link is None:
            raise _unavailable()
        signals = len(arrival.reports)
        size = sum([len(report.body) for report in arrival.reports])
        if (
            self.waiting + signals > self._queue_max
            or self._waiting_bytes + size > self._queue_bytes_max
        ):
            raise http.overloaded()
        if not self._gathering:
            # Not one by one: the posts that came in the same moment go in one message.
            self._loop.call_soon(self._hand_over)
        self.waiting += signals
        self._waiting_bytes += size
        self._gathering.append(arrival)
        self._under_way.append((arrival, size, answered))

    def _hand_over(self) -> None:
        if self._link is not None:
            self._link.send(writer.encode(self._gathering))
        self._gathering = []

    def written(self, answers: writer.Answers) -> None:
        """Answer the oldest posts under way: the writer took them as a group."""
        if answers.failure:
            self._failed(answers.failure)
        group = [self._under_way.popleft() for _ in answers.receipts]
        arrivals = [arrival for arrival, _, _ in group]
        self.waiting -= sum([len(arrival.reports) for arrival in arrivals])
        self._waiting_bytes -= sum([size for _, size, _ in group])
        for index, (receipt, (_, _, answered)) in enumerate(
            zip(answers.receipts, group, strict=True)
        ):
            try:
                answered(receipt or _refusal(answers.problems.get(index)))
            except Exception:  # One client's answer must not cost the others theirs.
                _log.exception("defect: an answer could not be given")
        self._watch(arrivals, answers.receipts, answers.seconds)
        if not self.waiting:
            self._idle.set()

    def hung_up(self) -> None:
        """The writer ended. What it had is answered 503, and a retry will show what was written."""
        self._link = None
        self.written(writer.Answers([None] * len(self._under_way), {}))
        if not self._stopping:
            self._failed("the writer's process ended; it is started again")
            self._loop.call_later(RESTART_S, self._restart)

    def _restart(self) -> None:
        if not self._stopping:
            self._restarting = self._loop.create_task(self._start_again())

    async def _start_again(self) -> None:
        try:
            await self.start()
        except OSError as error:
            # No more processes or files just now: that passes, and then posts have to flow again.
            self._failed(f"the writer's process cannot be started: {error}")
            self._loop.call_later(RESTART_S, self._restart)


class _Link(asyncio.Protocol):
    """Our end of the socket to the writer."""

    def __init__(self, owner: GroupCommit) -> None:
        self._owner = owner
        self._frames = writer.Frames()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        for payload in self._frames.feed(data):
            self._owner.written(writer.decode_answers(payload))

    def connection_lost(self, exc: Exception | None) -> None:
        self._owner.hung_up()

    def send(self, payload: bytes) -> None:
        self._transport.write(writer.frame(payload))

    def close(self) -> None:
        self._transport.close()


def _refusal(problems: Problems | None) -> Refusal:
    return Refusal(problems) if problems else _unavailable()


def _unavailable() -> Refusal:
    return not_now(
        "unavailable",
        "this could not be written just now: send it again, a repeat is recognised",
    )
