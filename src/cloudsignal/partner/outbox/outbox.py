"""An outbox, opened: puts signals, and sends them in the background."""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, Self, Unpack

from cloudsignal.partner.client import AsyncClient, Options, seal
from cloudsignal.partner.errors import OutboxError
from cloudsignal.partner.outbox.file import BYTES_MAX, File, Given, Health, Trouble
from cloudsignal.partner.outbox.group_commit import GroupCommit
from cloudsignal.partner.outbox.sender import POLL_S, Sender
from cloudsignal.partner.posts import checked
from cloudsignal.protocol.signals import Signal
from cloudsignal.protocol.units import DAY_US

KEEP_DAYS: Final = 7.0
"""How long it can be looked up what became of a signal."""
CLOSE_S: Final = 15.0
"""How long closing waits for what is under way."""

_log: Final = logging.getLogger("cloudsignal.outbox")
AGAIN_S: Final = 5.0
"""How long sending rests after it broke off."""

# What a fork has brought along: the parent's event loops, which must not be closed here.
_left: Final[list[Any]] = []
_reopening = threading.Lock()


def _renew() -> None:
    global _reopening
    _reopening = threading.Lock()  # Another thread may have held it when this process was forked.


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)


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
        self.path = Path(path).resolve()
        seal(options)
        self._bytes_max = bytes_max
        self._keep_us = round(keep_days * DAY_US)
        self._new_client: Callable[[], AsyncClient] | None = None
        if base_url is not None:
            self._new_client = partial(AsyncClient, base_url, **options)
        self._open(starts=True)

    def _open(self, *, starts: bool = False) -> None:
        self._commit = GroupCommit(self._write)
        self._progress = threading.Event()
        client = None if self._new_client is None else self._new_client()
        self._file = File(self.path, bytes_max=self._bytes_max)
        self._sending: _Background | None = None
        if client is not None:
            if starts:
                # Who starts it has perhaps mended what it was paused for: one post will show.
                self._file.resume()
            file = File(self.path, durable=False)
            self._sending = _Background(file, client, self._keep_us, self._progress)
        self._process = os.getpid()  # Last: from now on, other threads take it for open.

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
        ids = self._commit.put(given)
        if self._sending is not None:
            self._sending.wake()
        return ids

    def _write(self, given: Sequence[Given]) -> range:
        return self._file.put(given, _now())

    def _notice_a_fork(self) -> None:
        if os.getpid() != self._process:
            with _reopening:
                if os.getpid() != self._process:
                    _left.append(self._sending)  # Its thread has not come along.
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


class _Background:
    """A sender in a thread of its own. What breaks it off is noted, and it begins again."""

    def __init__(
        self, file: File, client: AsyncClient, keep_us: int, progress: threading.Event
    ) -> None:
        self._file = file
        self._client = client
        self._keep_us = keep_us
        self._progress = progress
        # Made here, so that what there is no room for is said to who asked for it.
        self._loop = asyncio.new_event_loop()
        self._stopped = asyncio.Event()
        self._sender: Sender | None = None
        self._thread = threading.Thread(target=self._run, daemon=True, name="cloudsignal-outbox")
        self._thread.start()

    def wake(self) -> None:
        """Have a look at what was put."""
        self._call(self._wake)

    def close(self) -> None:
        """Finish what is under way, and end."""
        self._call(self._stop)
        self._thread.join(CLOSE_S)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._send())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
        finally:
            self._loop.close()
            self._file.close()

    async def _send(self) -> None:
        async with self._client:
            while not self._stopped.is_set():
                self._sender = Sender(
                    self._file,
                    self._client,
                    keep_us=self._keep_us,
                    now=_now,
                    progress=self._progress.set,
                )
                try:
                    await self._sender.run()
                except Exception as error:
                    self._note_broken_off(error)
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._stopped.wait(), AGAIN_S)

    def _note_broken_off(self, error: Exception) -> None:
        _log.error("sending broke off, and begins again", exc_info=error)
        with suppress(OutboxError):
            self._file.note_trouble(Trouble(str(error) or type(error).__name__, _now(), 1))

    def _wake(self) -> None:
        if self._sender is not None:
            self._sender.wake()

    def _stop(self) -> None:
        self._stopped.set()
        if self._sender is not None:
            self._sender.stop()

    def _call(self, what: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # The loop is closed.
            self._loop.call_soon_threadsafe(what)


def _now() -> int:
    return time.time_ns() // 1000
