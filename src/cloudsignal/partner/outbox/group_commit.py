"""One commit for all who wait for one: however many threads put, the disk is waited for together."""

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import islice
from queue import Empty, SimpleQueue
from typing import Final

from cloudsignal.partner.errors import OutboxError, OutboxFull
from cloudsignal.partner.outbox.file import Given

Ids = tuple[int, ...]

LOOK_S: Final = 1.0
"""How often one who waits looks whether there still is a leader."""


class GroupCommit:
    """Has signals written, for any number of threads. One of them, the leader, writes for all.

    When it is done, the first of those who came meanwhile leads. So nobody waits for more than the commit under
    way and the next, and of those who were written none waits for a lock that others want. A program's signal
    handlers may raise at any moment: then whoever comes, or waits, leads.
    """

    def __init__(self, write: Callable[[Sequence[Given]], Sequence[int]]) -> None:
        """``write`` writes signals, all or none, and returns their ids; or raises OutboxError."""
        self._write = write
        self._lock: Final = (
            threading.RLock()
        )  # Held for moments only, never while something is written.
        self._handed_in: list[_Putting] = []
        self._leader: _Putting | None = None

    def put(self, given: Sequence[Given]) -> Ids:
        """Write signals, all of them or none: their ids. Raises OutboxError."""
        putting = _Putting(given)
        try:
            if self._hand_in(putting) or self._is_to_lead(putting):
                self._write_for_all(putting)
        finally:
            putting.is_over = True
            self._hand_over(putting)
        return putting.result()

    def _hand_in(self, putting: "_Putting") -> bool:
        """Whether nobody leads who would write it."""
        with self._lock:
            if any(each.is_beneath(putting) for each in (*self._handed_in, self._leader) if each):
                raise OutboxError(
                    "put was called in a signal handler, within another put: do it later"
                )
            self._handed_in.append(putting)
            return self._leads_now(putting)

    def _is_to_lead(self, putting: "_Putting") -> bool:
        """Wait until it is written, or has to lead: whether it has."""
        while True:
            with suppress(Empty):
                putting.turn.get(timeout=LOOK_S)
                return self._leader is putting
            with self._lock:
                if putting in self._handed_in:
                    if self._leads_now(putting):
                        return True
                elif putting.writer is None or putting.writer.is_over:
                    return False

    def _leads_now(self, putting: "_Putting") -> bool:
        if self._leader is None or self._leader.is_over:
            self._leader = putting
        return self._leader is putting

    def _hand_over(self, putting: "_Putting") -> None:
        with self._lock:
            self._handed_in = [each for each in self._handed_in if not each.is_over]
            if self._leader is putting:
                self._leader = self._handed_in[0] if self._handed_in else None
                if self._leader is not None:
                    self._leader.turn.put(None)

    def _write_for_all(self, leader: "_Putting") -> None:
        with self._lock:
            group = [each for each in self._handed_in if not each.is_over]
            for each in group:
                each.writer = leader
            self._handed_in = []
        try:
            self._write_together(group)
        finally:
            for each in group:
                each.turn.put(None)

    def _write_together(self, group: Sequence["_Putting"]) -> None:
        try:
            ids = iter(self._write([given for each in group for given in each.given]))
            for each in group:
                each.ids = tuple(islice(ids, len(each.given)))
        except OutboxFull:
            self._write_each(group)
        except OutboxError as error:
            for each in group:
                each.error = type(error)(*error.args)

    def _write_each(self, group: Sequence["_Putting"]) -> None:
        """Each by itself: the one that there is no room for must not cost the others theirs."""
        for each in group:
            try:
                each.ids = tuple(self._write(each.given))
            except OutboxError as error:
                each.error = error


class _Putting:
    """Signals that somebody waits to see written, and what became of them."""

    __slots__ = ("error", "given", "ids", "is_over", "thread", "turn", "writer")

    def __init__(self, given: Sequence[Given]) -> None:
        self.given = given
        self.ids: Ids | None = None
        self.error: OutboxError | None = None
        self.thread = threading.get_ident()
        self.turn: SimpleQueue[None] = SimpleQueue()
        """Something is in it when it is written, or has to lead."""
        self.writer: _Putting | None = None
        self.is_over = False

    def is_beneath(self, other: "_Putting") -> bool:
        """Whether this one cannot go on before the other has ended: a signal handler makes the other."""
        return self.thread == other.thread and not self.is_over

    def result(self) -> Ids:
        if self.error is not None:
            raise self.error
        if self.ids is None:
            raise OutboxError("the program was interrupted while signals were written")
        return self.ids
