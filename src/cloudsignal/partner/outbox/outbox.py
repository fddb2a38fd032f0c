"""An outbox, opened: puts signals, and sends them in the background."""

import asyncio
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final, Self, Unpack

from cloudsignal.partner.client import AsyncClient, Options
from cloudsignal.partner.errors import OutboxError
from cloudsignal.partner.keys import read_apikey
from cloudsignal.partner.outbox.file import BYTES_MAX, File, Given, Health
from cloudsignal.partner.outbox.sender import POLL_S, Sender
from cloudsignal.partner.posts import checked
from cloudsignal.protocol.signals import Signal

KEEP_DAYS: Final = 7.0
"""How long it can be looked up what became of a signal."""
CLOSE_S: Final = 15.0
"""How long closing waits for what is under way."""

_log: Final = logging.getLogger("cloudsignal.outbox")
# Connections that a fork has left in a process that did not open them: not even closing them is allowed there.
_left: Final[list[Any]] = []


class Outbox:
    """Takes signals and loses none: they are in a file when ``put`` returns. For any number of threads.

    ``path`` is the file, made if it is not there; any number of processes may share it. With a ``base_url`` what waits is
    sent in the background, else whoever runs ``cloudsignal outbox run`` sends it. Signals of an item are
    sent in the order in which they were put. What fails is tried again for as long as it takes, less and less often;
    what the server refuses is kept as *refused*, for a person to look at; a key that it refuses pauses everything
    until it is resumed.

    ``keep_days`` is how long it can be looked up what became of a signal, ``bytes_max`` how large the file may
    become; for the rest see client.Options, of which ``tries`` has no meaning here.

    Raises SetupError and OutboxUnusable when one of them cannot be used.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        base_url: str | None = None,
        *,
        keep_days: float = KEEP_DAYS,
        bytes_max: int = BYTES_MAX,
        **options: Unpack[Options],
    ) -> None:
        self.path = Path(path)
        self._bytes_max = bytes_max
        self._keep_us = round(keep_days * 86_400 * 1_000_000)
        self._new_client: Callable[[], AsyncClient] | None = None
        if base_url is not None:
            options["apikey"] = read_apikey(options.get("apikey"), file=options.get("apikey_file"))
            self._new_client = partial(AsyncClient, base_url, **options)
        self._open()

    def _open(self) -> None:
        self._process = os.getpid()
        self._handed_in: deque[_Putting] = deque()
        self._writing = threading.Lock()
        self._progress = threading.Event()
        self._file = File(self.path, bytes_max=self._bytes_max)
        self._sending: _Background | None = None
        if self._new_client is not None:
            # Who starts it has perhaps mended what it was paused for: one post will show.
            self._file.resume()
            file = File(self.path, bytes_max=self._bytes_max, durable=False)
            self._sending = _Background(file, self._new_client(), self._keep_us, self._progress)

    def put(self, *signals: Signal) -> tuple[int, ...]:
        """Write signals down, all of them or none, and return once they are on disk: their ids.

        Raises InvalidSignals when a server would not take them, OutboxError when they cannot be written: then
        none of them was taken.
        """
        bodies = checked(signals)
        return self.take(
            [
                Given(signal.order, signal.item, type(signal).__name__, body)
                for signal, body in zip(signals, bodies, strict=True)
            ]
        )

    def take(self, given: Sequence[Given]) -> tuple[int, ...]:
        """Write down signals that were checked already, as ``put`` does. Raises OutboxError."""
        self._notice_a_fork()
        putting = _Putting(given)
        # Whoever comes first writes for all that wait behind: one commit, however many threads put.
        self._handed_in.append(putting)
        with self._writing:
            if not putting.is_done:
                self._write_what_is_handed_in()
        ids = putting.outcome()
        if self._sending is not None:
            self._sending.wake()
        return ids

    def _write_what_is_handed_in(self) -> None:
        group = [self._handed_in.popleft() for _ in range(len(self._handed_in))]
        try:
            self._write(group)
        except OutboxError:
            for each in group:
                # Each by itself: the one that there is no room for must not cost the others theirs.
                try:
                    self._write([each])
                except OutboxError as error:
                    each.error = error

    def _write(self, group: Sequence["_Putting"]) -> None:
        ids = iter(self._file.put([given for each in group for given in each.given], _now()))
        for each in group:
            each.ids = tuple(islice(ids, len(each.given)))

    def _notice_a_fork(self) -> None:
        if os.getpid() != self._process:
            # Nothing that was opened before may be used here, and no thread has come along.
            _left.append((self._file, self._sending))
            self._open()

    def drain(self, timeout_s: float) -> int:
        """Wait until everything is sent or refused, at most so long: how many signals wait still.

        An outbox that is paused is not waited for.
        """
        self._notice_a_fork()
        end = time.monotonic() + timeout_s
        while True:
            self._progress.clear()
            if self._file.is_empty():
                return 0
            left_s = end - time.monotonic()
            if left_s <= 0 or self._file.paused() is not None:
                return self._file.health().waiting
            self._progress.wait(min(left_s, POLL_S))

    def hurry(self) -> None:
        """Have everything that waits for another try be tried at once. Raises OutboxError."""
        self._notice_a_fork()
        self._file.hurry()

    def health(self) -> Health:
        """How many signals wait, and whether they get through. Raises OutboxError."""
        self._notice_a_fork()
        return self._file.health()

    def close(self) -> None:
        """Finish what is under way, and close the file. What waits is sent another time."""
        if self._process != os.getpid():
            return
        if self._sending is not None:
            self._sending.close()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Outbox({str(self.path)!r})"


class _Putting:
    """Signals that somebody waits to see written."""

    __slots__ = ("error", "given", "ids")

    def __init__(self, given: Sequence[Given]) -> None:
        self.given = given
        self.ids: tuple[int, ...] | None = None
        self.error: OutboxError | None = None

    @property
    def is_done(self) -> bool:
        return self.ids is not None or self.error is not None

    def outcome(self) -> tuple[int, ...]:
        if self.ids is None:
            assert self.error is not None
            raise self.error
        return self.ids


class _Background:
    """A sender in a thread of its own."""

    def __init__(
        self, file: File, client: AsyncClient, keep_us: int, progress: threading.Event
    ) -> None:
        self._file = file
        self._client = client
        self._keep_us = keep_us
        self._progress = progress
        self._started = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(
            target=asyncio.run, args=(self._run(),), daemon=True, name="cloudsignal-outbox"
        )
        self._thread.start()
        self._started.wait()

    async def _run(self) -> None:
        self._sender = Sender(
            self._file,
            self._client,
            keep_us=self._keep_us,
            now=_now,
            progress=self._progress.set,
        )
        self._loop = asyncio.get_running_loop()
        self._started.set()
        try:
            async with self._client:
                await self._sender.run()
        except OutboxError:
            _log.exception("nothing is sent any more")
        finally:
            self._loop = None
            self._file.close()

    def wake(self) -> None:
        self._call("wake")

    def close(self) -> None:
        self._call("stop")
        self._thread.join(CLOSE_S)

    def _call(self, name: str) -> None:
        loop = self._loop
        if loop is not None:
            with suppress(RuntimeError):  # It has just been closed.
                loop.call_soon_threadsafe(getattr(self._sender, name))


def _now() -> int:
    return time.time_ns() // 1000
