"""Which signals to send next, and when: without a clock, a file or a connection of its own.

Signals of one order are sent one post after the other, in the order in which they were put, so those of one item
are too. Orders don't wait for each other, until something fails: then posts go out one at a time and less and
less often, each time of another order, until one gets through.

A post holds the signals of one order, as the protocol recommends, until the server's receipts show that it counts
what it stores: then orders share posts, twice as many after each that gets through. All times are seconds of one
clock that never goes back.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from heapq import heappop, heappush
from itertools import islice
from typing import Final

from msgspec import Struct

from cloudsignal.partner.outbox.file import Waiting
from cloudsignal.partner.posts import Post, bundled
from cloudsignal.protocol import retry
from cloudsignal.protocol.wire import BUNDLE_MAX

POSTS_MAX: Final = 4
"""How many posts are under way at once."""
WINDOW: Final = 20_000
"""How many signals that wait are held in memory, and a bundle more for each order that fails."""


class Sent(Struct, frozen=True):
    """Signals on their way: their ids, how many of which order, the post, and how many had failed when it went out."""

    ids: tuple[int, ...]
    orders: dict[str, int]
    post: Post
    failures: int


class _Order:
    """What waits of one order."""

    __slots__ = ("at_once", "is_whole", "read_to", "tries", "waiting")

    def __init__(self, bundle_max: int) -> None:
        self.waiting: deque[Waiting] = deque()
        """Those that are held."""
        self.is_whole = True
        """Whether all that wait and were read are held."""
        self.read_to = 0
        """The last signal that was ever held."""
        self.at_once = bundle_max
        """How many signals its next post may hold."""
        self.tries = 0
        """How often its first signals were tried in vain."""


class Pace:
    """Says what is next, and is told what became of it."""

    def __init__(
        self,
        chance: Callable[[], float],
        *,
        bundle_max: int = BUNDLE_MAX,
        posts_max: int = POSTS_MAX,
        window: int = WINDOW,
    ) -> None:
        self.failures = 0
        """How many tries in a row were in vain; those that were under way together count as one."""
        self._chance = chance
        self._bundle_max = bundle_max
        self._posts_max = posts_max
        self._window = window
        self._orders: dict[str, _Order] = {}
        self._ready: deque[str] = deque()
        self._delayed: list[tuple[float, str]] = []
        self._orders_at_once = 1
        """How many orders the next post may hold."""
        self._not_before = 0.0
        self._under_way = 0
        self._held = 0

    @property
    def room(self) -> int:
        """How many more signals may be added."""
        return max(0, self._window - self._held)

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits and nothing is under way."""
        return not self._orders

    def add(self, waiting: Iterable[Waiting]) -> None:
        """Take in signals that wait, in the order in which they were put."""
        for each in waiting:
            order = self._orders.get(each.order)
            if order is None:
                order = self._orders[each.order] = _Order(self._bundle_max)
                self._ready.append(each.order)
            if order.is_whole:
                self._hold(order, each)

    def make_room(self) -> None:
        """If nothing can be sent, let go of what waits for another try: it is read again when it is due."""
        if not (self.room or self._ready or self._under_way):
            for _, name in self._delayed:
                self._let_go(self._orders[name])

    def missing(self, now: float) -> tuple[str, int] | None:
        """The order that is next, and its last signal that was held, if it has to be read first: see ``fill``."""
        self._see_what_is_due(now)
        if not self._ready:
            return None
        order = self._orders[self._ready[0]]
        return None if order.waiting else (self._ready[0], order.read_to)

    def fill(self, name: str, waiting: Sequence[Waiting], *, is_whole: bool) -> None:
        """Hold what waits of an order that was missing, all of it or the beginning."""
        order = self._orders[name]
        order.is_whole = is_whole
        for each in waiting:
            self._hold(order, each)
        if not order.waiting:  # Somebody discarded it meanwhile.
            self._ready.remove(name)
            del self._orders[name]

    def _let_go(self, order: _Order) -> None:
        self._held -= len(order.waiting)
        order.waiting.clear()
        order.is_whole, order.read_to = False, 0

    def _hold(self, order: _Order, waiting: Waiting) -> None:
        if waiting.id > order.read_to:
            order.waiting.append(waiting)
            order.read_to = waiting.id
            self._held += 1

    def next(self, now: float) -> Sent | None:
        """What is to be sent now, if anything is."""
        if now < self._not_before or self._under_way >= (1 if self.failures else self._posts_max):
            return None
        if self.missing(now) or not self._ready:
            return None
        chosen = self._chosen()
        post = next(bundled([each.body for each in chosen]))
        kept, left = chosen[: len(post.bodies)], chosen[len(post.bodies) :]
        orders = _orders_of(kept)
        self._ready.extendleft(each for each in _orders_of(reversed(left)) if each not in orders)
        self._under_way += 1
        return Sent(tuple(each.id for each in kept), orders, post, self.failures)

    def _see_what_is_due(self, now: float) -> None:
        while self._delayed and self._delayed[0][0] <= now:
            self._ready.append(heappop(self._delayed)[1])

    def _chosen(self) -> list[Waiting]:
        """Signals of the order that is next, and of those behind it that may share its post."""
        order = self._orders[self._ready.popleft()]
        chosen = list(islice(order.waiting, order.at_once))
        for _ in range(1, self._orders_at_once):
            if not self._ready:
                break
            order = self._orders[self._ready[0]]
            if (
                not order.waiting
                or len(chosen) + len(order.waiting) > self._bundle_max
                or order.at_once < self._bundle_max
            ):
                break
            self._ready.popleft()
            chosen += order.waiting
        return chosen

    def wait_s(self, now: float) -> float | None:
        """Seconds until there may be something to send; None while only an event can bring it."""
        if self._under_way or not (self._ready or self._delayed):
            return None
        due = now if self._ready else self._delayed[0][0]
        return max(0.0, self._not_before - now, due - now)

    def settled(self, sent: Sent, *, is_counted: bool) -> None:
        """The server has stored these, and has counted them or not."""
        self._got_through()
        self._orders_at_once = min(2 * self._orders_at_once, self._bundle_max) if is_counted else 1
        self._forget(sent, faster=2)

    def refused(self, sent: Sent) -> None:
        """The server refuses this one, which stood alone."""
        self._got_through()
        self._forget(sent, faster=0)

    def withdraw(self, sent: Sent, ids: set[int]) -> None:
        """These of what was to be sent are not to be sent any more, and nothing was."""
        self._under_way -= 1
        self._held -= len(ids)
        for name in sent.orders:
            order = self._orders[name]
            order.waiting = deque(each for each in order.waiting if each.id not in ids)
            self._go_on_with(name, order)

    def split(self, sent: Sent) -> None:
        """The server has refused these together: the first order, or half of the only one, is next."""
        self._got_through()
        self._under_way -= 1
        self._orders_at_once = 1
        if len(sent.orders) == 1:
            [name] = sent.orders
            self._orders[name].at_once = len(sent.ids) // 2
        self._ready.extendleft(reversed(sent.orders))

    def failed(self, sent: Sent, now: float, *, retry_after_s: float = 0.0) -> None:
        """Nobody knows whether these were stored: they are sent again, later."""
        self._under_way -= 1
        self._orders_at_once = 1
        for name in sent.orders:
            order = self._orders[name]
            order.tries += 1
            heappush(self._delayed, (now + self._delay_s(order.tries, retry_after_s), name))
            if not self.room:
                self._let_go(order)
        if sent.failures == self.failures:
            self.failures += 1
        self._not_before = now + self._delay_s(self.failures, retry_after_s)

    def hurry(self) -> None:
        """Try everything again at once."""
        self._not_before = 0.0
        self._ready.extend(name for _, name in sorted(self._delayed))
        self._delayed.clear()
        for order in self._orders.values():
            order.tries = 0

    def _got_through(self) -> None:
        self.failures = 0
        self._not_before = 0.0

    def _forget(self, sent: Sent, *, faster: int) -> None:
        self._under_way -= 1
        self._held -= len(sent.ids)
        for name, count in sent.orders.items():
            order = self._orders[name]
            for _ in range(count):
                order.waiting.popleft()
            # Where one was refused others may be: bundles grow again only as they get through.
            order.at_once = max(1, min(faster * order.at_once, self._bundle_max))
            order.tries = 0
            self._go_on_with(name, order)

    def _go_on_with(self, name: str, order: _Order) -> None:
        if order.waiting or not order.is_whole:
            self._ready.append(name)
        else:
            del self._orders[name]

    def _delay_s(self, tries: int, retry_after_s: float) -> float:
        return retry.delay_s(tries, jitter=self._chance(), retry_after_s=retry_after_s)


def _orders_of(waiting: Iterable[Waiting]) -> dict[str, int]:
    """The orders in their order, each with how many of the signals are its."""
    return Counter(each.order for each in waiting)
