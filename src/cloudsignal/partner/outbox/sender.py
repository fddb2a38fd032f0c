"""Sends what waits in an outbox, for as long as it takes."""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from cloudsignal.partner.claim import Claim, claim
from cloudsignal.partner.client import AsyncClient
from cloudsignal.partner.errors import (
    InvalidSignals,
    KeyRefused,
    OutboxError,
    SendError,
)
from cloudsignal.partner.outbox.file import PRUNED_AT_ONCE, File, Trouble
from cloudsignal.partner.outbox.pace import Pace, Sent
from cloudsignal.partner.receipts import Receipt

POLL_S: Final = 0.2
"""How often the file is looked at for what other processes put into it, and for what people want."""
TAKE_OVER_S: Final = 1.0
"""How often one of several senders looks whether the one at work has ended."""
PRUNE_S: Final = 60.0
"""How often signals that were settled long ago are removed."""
READ_AT_ONCE: Final = 2_000
"""How many signals are read from the file at once."""

_log: Final = logging.getLogger("cloudsignal.outbox")


class Sender:
    """Sends what waits in one file. Of all senders of a file, in any process, one at a time is at work."""

    def __init__(
        self,
        file: File,
        client: AsyncClient,
        *,
        keep_us: int,
        now: Callable[[], int],
        progress: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Get ready. Nothing happens before ``run``.

        ``now`` is the wall clock in microseconds since 1970, ``clock`` one in seconds that never goes back;
        ``progress`` is called when something became of a signal.
        """
        self._file = file
        self._client = client
        self._keep_us = keep_us
        self._now = now
        self._progress = progress
        self._clock = clock
        self._pace = Pace(chance, bundle_max=client.bundle_max)
        self._last = 0
        """The last signal that was read from the file."""
        self._woken = asyncio.Event()
        self._stopping = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._paused: str | None = None
        self._trouble: Trouble | None = None
        self._hurries = 0
        self._look_at = 0.0
        self._prune_at = 0.0

    def wake(self) -> None:
        """Look for what was put, at once. To be called in the event loop."""
        self._woken.set()

    def stop(self) -> None:
        """Begin nothing more, and end. To be called in the event loop."""
        self._stopping = True
        self._woken.set()

    async def run(self) -> None:
        """Send until stopped; what is under way then is finished."""
        alone = await self._alone()
        if alone is None:
            return
        try:
            while not self._stopping:
                try:
                    self._step()
                except OutboxError as error:
                    _log.warning("%s", error)
                    await self._wait(POLL_S)
                else:
                    await self._rest()
        finally:
            await asyncio.gather(*self._tasks)
            alone.close()

    async def _alone(self) -> Claim | None:
        """What keeps other senders from this file, once there is none; None if stopped before."""
        waited = False
        while not self._stopping:
            found = claim(sender_path(self._file.path), like=self._file.path)
            if found is not None:
                self._trouble = self._file.trouble()
                self._hurries = self._file.hurries()
                return found
            if not waited:
                _log.info("another process sends from %s: waiting for its end", self._file.path)
                waited = True
            await self._wait(TAKE_OVER_S)
        return None

    def _step(self) -> None:
        now = self._clock()
        if now >= self._look_at:
            self._look_at = now + POLL_S
            self._see_what_people_want()
        if now >= self._prune_at:
            pruned = self._file.prune(self._now() - self._keep_us)
            self._prune_at = now + (0.0 if pruned == PRUNED_AT_ONCE else PRUNE_S)
        self._read_on()
        if self._paused is None:
            self._send_what_is_due()

    def _see_what_people_want(self) -> None:
        paused, hurries = self._file.paused(), self._file.hurries()
        is_resumed = self._paused is not None and paused is None
        if is_resumed:
            self._client.renew_apikey()
        if hurries != self._hurries or is_resumed:
            self._pace.hurry()
        self._paused, self._hurries = paused, hurries

    def _read_on(self) -> None:
        self._pace.make_room()
        while room := self._pace.room:
            waiting = self._file.waiting(after=self._last, limit=min(room, READ_AT_ONCE))
            if not waiting:
                return
            self._pace.add(waiting)
            self._last = waiting[-1].id

    def _read_again(self, now: float) -> None:
        while (missing := self._pace.missing(now)) is not None:
            name, last = missing
            found = self._file.waiting(after=last, limit=READ_AT_ONCE, order=name)
            self._pace.fill(name, found, is_whole=len(found) < READ_AT_ONCE)

    def _next(self) -> Sent | None:
        now = self._clock()
        self._read_again(now)
        return self._pace.next(now)

    def _send_what_is_due(self) -> None:
        while (sent := self._next()) is not None:
            try:
                gone = set(sent.ids) - self._file.still_waiting(sent.ids)
            except OutboxError as error:
                self._note_failed(sent, str(error))
                raise
            if gone:
                self._pace.withdraw(sent, gone)
                continue
            task = asyncio.create_task(self._send(sent))
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        self._woken.set()

    async def _send(self, sent: Sent) -> None:
        try:
            try:
                receipt = await self._client.post(sent.post)
            except InvalidSignals as error:
                self._note_refused(sent, error)
            except KeyRefused as error:
                self._note_paused(sent, error)
            else:
                self._note_stored(sent, receipt)
        except SendError as error:
            self._note_failed(sent, error.info, error.retry_after_s)
        except OutboxError as error:
            # It was sent, but that could not be written down: it will be sent once more.
            self._note_failed(sent, str(error))
        except Exception:
            _log.exception("a post could not be sent")
            self._note_failed(sent, "there is a defect: see the log")
        self._progress()

    def _note_stored(self, sent: Sent, receipt: Receipt) -> None:
        if self._trouble is not None:
            # First: whoever waits for the signals to be gone must not find the trouble that they were in.
            _log.info("signals get through again")
            self._note_trouble(None)
        self._file.settle(sent.ids, "sent", self._now())
        self._pace.settled(sent, is_counted=receipt.accepted is not None)

    def _note_refused(self, sent: Sent, error: InvalidSignals) -> None:
        if len(sent.ids) > 1:
            self._pace.split(sent)
            return
        self._file.settle(sent.ids, "refused", self._now(), error.info)
        self._pace.refused(sent)
        _log.error("signal %d is refused: %s", sent.ids[0], error.info)

    def _note_paused(self, sent: Sent, error: KeyRefused) -> None:
        if self._paused is None:
            _log.error(
                "NOTHING IS SENT ANY MORE: %s. Mend that, then run: cloudsignal outbox resume",
                error.info,
            )
            self._file.pause(error.info)
            self._paused = error.info
        self._pace.failed(sent, self._clock())

    def _note_failed(self, sent: Sent, info: str, retry_after_s: float = 0.0) -> None:
        self._pace.failed(sent, self._clock(), retry_after_s=retry_after_s)
        if self._trouble is None:
            _log.warning("signals do not get through, and are tried again: %s", info)
        since = self._now() if self._trouble is None else self._trouble.since
        tries = 1 if self._trouble is None else self._trouble.tries + 1
        self._note_trouble(Trouble(info, since, tries))

    def _note_trouble(self, trouble: Trouble | None) -> None:
        self._trouble = trouble
        with suppress(OutboxError):  # It is only for people to see.
            self._file.note_trouble(trouble)

    async def _rest(self) -> None:
        wait_s = None if self._paused is not None else self._pace.wait_s(self._clock())
        await self._wait(POLL_S if wait_s is None else min(POLL_S, wait_s))

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), seconds)
        self._woken.clear()


def sender_path(path: Path) -> Path:
    """The file beside an outbox by which only one sends."""
    return path.with_name(f"{path.name}-sender")
