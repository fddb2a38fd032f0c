"""What waits to be told at one endpoint: in order for each item, and never behind another item.

Time is an argument, and nothing here waits.
"""

import heapq
from collections import deque
from typing import Final, Literal

from msgspec import Struct

NOTED_MAX: Final = 10_000
"""How many deliveries of an endpoint may wait for another attempt, or behind one that does."""
SPAN_MAX: Final = 10_000
"""How many deliveries of the log one that is neither done nor noted may keep from being passed: after a crash
they are told again."""

Stage = Literal["behind", "ready", "waiting", "under way", "done"]
"""Behind another one of its item, or the first of it: ready to be tried, waiting until it is due, being tried."""


class Delivery(Struct, eq=False, kw_only=True):
    """One webhook for one endpoint. Instants in microseconds.

    It is in ``line`` with all that is about the same item. ``webhook`` is what is told, less the key, empty
    where the store has it noted; ``happened`` is when the signal's fact did, ``received`` when it was reported, 0 if that is long ago.
    """

    message: str
    position: int
    line: int | str
    type: str
    order: str
    item: str
    webhook: str
    happened: int = 0
    received: int = 0
    attempts: int = 0
    first: int | None = None
    due: int = 0
    is_noted: bool = False
    is_trial: bool = False
    """Whether its endpoint had not proven itself when the last attempt began."""
    stage: Stage = "behind"


class Lineup:
    """The deliveries of an endpoint that are not done."""

    def __init__(self, *, position: int, held_max: int) -> None:
        self.read_to = position
        """How far of the log this has what is to be told."""
        self.under_way = 0
        self.held_max = held_max
        self._held = 0
        """How many of them are not noted, and so hold the log."""
        self._known: dict[str, Delivery] = {}
        self._lines: dict[int | str, deque[Delivery]] = {}
        self._unnoted: deque[Delivery] = deque()
        self._ready: deque[Delivery] = deque()
        self._waiting: list[tuple[int, int, Delivery]] = []
        self._serial = 0
        self._first: Delivery | None = None

    def __len__(self) -> int:
        return len(self._known)

    @property
    def has_room(self) -> bool:
        """Whether more of the log may be taken in."""
        self._pass()
        return (
            self._held < self.held_max and self.has_room_for_noted and len(self._unnoted) < SPAN_MAX
        )

    @property
    def has_room_for_noted(self) -> bool:
        """Whether more may be taken in that is noted, and so holds nothing of the log."""
        return len(self) - self._held < NOTED_MAX

    @property
    def is_calm(self) -> bool:
        """Whether most of what was taken in is done, and there is room again."""
        return self._held <= self.held_max // 2 and self.has_room

    @property
    def position(self) -> int:
        """Up to where everything of the log is done or noted."""
        self._pass()
        return self._unnoted[0].position - 1 if self._unnoted else self.read_to

    def find(self, message: str) -> Delivery | None:
        """The delivery of that message, if it is not done."""
        return self._known.get(message)

    def add(self, delivery: Delivery, *, newest_only: bool = False) -> list[Delivery]:
        """Put a delivery at the end of its item's line.

        With ``newest_only`` of what has to wait about the item only the latest is left: the others are done, and
        returned.
        """
        line = self._lines.setdefault(delivery.line, deque())
        self._known[delivery.message] = delivery
        line.append(delivery)
        if not delivery.is_noted:
            self._held += 1
            self._unnoted.append(delivery)
        if len(line) == 1:
            self._advance(delivery)
        return self.keep_newest(delivery) if newest_only else []

    def keep_newest(self, delivery: Delivery) -> list[Delivery]:
        """End all but the latest of what has to wait about an item; what comes in its place waits as long."""
        # What is about the whole order is no state of the item.
        line = self._lines[delivery.line]
        idle = [each for each in line if each.stage != "under way" and each.item]
        if len(idle) < 2:
            return []
        latest = max(idle, key=lambda each: (each.happened, each.position))
        skipped = [each for each in idle if each is not latest]
        self._put_off(latest, max(each.due for each in idle))
        for each in skipped:
            self._finish(each)
        return skipped

    def must_note(self, delivery: Delivery) -> bool:
        """Whether a delivery has to be noted, because it, or the first of its item, waits for long."""
        is_long = delivery.due > 0 or self._lines[delivery.line][0].is_noted
        return is_long and not delivery.is_noted

    def next(self, now: int, *, fresh_first: bool = False) -> Delivery | None:
        """What to try now, if there is anything: it is under way then.

        What failed before comes first, unless what is fresh is to.
        """
        found = self._next(now, fresh_first=fresh_first)
        if found is not None:
            found.stage = "under way"
            self.under_way += 1
        return found

    def next_at(self) -> int | None:
        """When there is something to try: 0 for now, None for not before something happens."""
        self._drop_stale()
        if self._ready:
            return 0
        return self._waiting[0][0] if self._waiting else None

    def done(self, delivery: Delivery) -> None:
        """What was under way is over, delivered or given up: the next of its item may come."""
        self.under_way -= 1
        self._finish(delivery)

    def failed(self, delivery: Delivery, due: int) -> list[Delivery]:
        """What was under way is tried again then: what has to be noted, itself and all behind it."""
        self.under_way -= 1
        delivery.due = due
        self._advance(delivery)
        line = self._lines[delivery.line]
        return [each for each in line if each is delivery or not each.is_noted]

    def noted(self, delivery: Delivery) -> None:
        """Take in that a delivery is noted: neither the log nor its text are held for it any more."""
        if not delivery.is_noted:
            delivery.is_noted = True
            self._held -= 1
        delivery.webhook = ""

    def hurry(self, delivery: Delivery) -> None:
        """Try a delivery as soon as it is its turn, as if it had never been tried."""
        delivery.attempts, delivery.first, delivery.due = 0, None, 0
        if delivery.stage == "waiting":
            self._advance(delivery)

    def put_first(self, delivery: Delivery) -> None:
        """Try a delivery before all others, once it is the first of its item."""
        self._first = delivery

    def _next(self, now: int, *, fresh_first: bool) -> Delivery | None:
        self._drop_stale()
        if self._first is not None and self._first.stage == "ready":
            first, self._first = self._first, None
            return first
        is_due = bool(self._waiting) and self._waiting[0][0] <= now
        if is_due and not (fresh_first and self._ready):
            return heapq.heappop(self._waiting)[2]
        return self._ready.popleft() if self._ready else None

    def _pass(self) -> None:
        """Forget what no longer keeps the log from being passed."""
        while self._unnoted and (self._unnoted[0].is_noted or self._unnoted[0].stage == "done"):
            self._unnoted.popleft()

    def _put_off(self, delivery: Delivery, due: int) -> None:
        """Have what is not under way tried then, once it is its turn."""
        if delivery.due != due:
            delivery.due = due
            if delivery.stage in ("ready", "waiting"):
                self._advance(delivery)

    def _advance(self, delivery: Delivery) -> None:
        """Have the first of a line tried now, or when it is due."""
        if delivery.due:
            delivery.stage = "waiting"
            self._serial += 1
            heapq.heappush(self._waiting, (delivery.due, self._serial, delivery))
        else:
            delivery.stage = "ready"
            self._ready.append(delivery)

    def _drop_stale(self) -> None:
        """Forget what is no longer ready, or no longer waits until then."""
        while self._ready and self._ready[0].stage != "ready":
            self._ready.popleft()
        while self._waiting and _is_stale(*self._waiting[0]):
            heapq.heappop(self._waiting)

    def _finish(self, delivery: Delivery) -> None:
        delivery.stage = "done"
        delivery.webhook = ""  # Though it may be remembered for a while, until the log is passed.
        del self._known[delivery.message]
        if not delivery.is_noted:
            self._held -= 1
        line = self._lines[delivery.line]
        line.remove(delivery)
        if not line:
            del self._lines[delivery.line]
        elif line[0].stage == "behind":
            self._advance(line[0])


def _is_stale(due: int, _: int, delivery: Delivery) -> bool:
    return delivery.stage != "waiting" or delivery.due != due
