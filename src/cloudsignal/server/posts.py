"""Which posts came through which interface, and which were refused: remembered for people.

Counted on the event loop, in dictionaries, and added to the store every few seconds by a thread: no post waits for that,
and none is refused because it cannot be. What was counted last is lost when the process is killed
(docs/decisions/0019-posts-are-counted-beside-their-way.md).
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from http import HTTPStatus
from typing import Final, TypeVar

from msgspec.structs import replace

from cloudsignal.protocol.excerpts import Sent, excerpt
from cloudsignal.protocol.refusals import Refusal
from cloudsignal.protocol.units import DAY_US, HOUR_US
from cloudsignal.protocol.wire import CHECK, EMPTY, Receipt, hide_keys
from cloudsignal.server.addresses import neighbourhood
from cloudsignal.server.clock import Clock
from cloudsignal.server.interfaces import Caller
from cloudsignal.server.store.errors import StoreUnavailable
from cloudsignal.server.store.log import Arrival
from cloudsignal.server.store.posts import ACCEPTED, NOBODY, Count, Gathered, RefusedPost
from cloudsignal.server.store.store import Store

_log: Final = logging.getLogger(__name__)

EVERY_S: Final = 5.0
"""How long is gathered what is added to the store at once: what a process that is killed has not added is lost."""
END_S: Final = 2.0
"""How long the last of it may take when the server ends."""
COUNTS_MAX: Final = 10_000
"""How much is counted apart between two times, by interface, hour and outcome; posts beyond it are left out."""
STRANGERS_MAX: Final = 1_000
"""From how many places, by hour and outcome, posts through no interface are counted apart between two times."""
REFUSED_MAX: Final = 100
REFUSED_EACH_MAX: Final = 5
"""How many refused posts are kept between two times: in all, and of each interface and error type."""
FORGET_S: Final = 600.0
"""How often what is old is forgotten."""
ADDRESS_MAX: Final = 64

Key = TypeVar("Key", bound=Hashable)


class Gathering:
    """What came since the last time, with its limits. All of it costs no more than a little memory."""

    def __init__(self) -> None:
        self.gathered = Gathered()
        self.left_out = 0
        """How many posts were not counted."""
        self._kept: Counter[tuple[int, str]] = Counter()

    def count(self, interface: int, outcome: str, posts: int, now: int) -> None:
        """Count posts that came through an interface, or through none."""
        key = now - now % HOUR_US, interface, outcome
        if not _counted(self.gathered.posts, key, posts, now, COUNTS_MAX):
            self.left_out += posts

    def count_stranger(self, address: str, outcome: str, now: int) -> None:
        """Count a post that came through no interface by where it came from."""
        key = now - now % HOUR_US, address, outcome
        _counted(self.gathered.strangers, key, 1, now, STRANGERS_MAX)

    def keeps(self, interface: int, type: str) -> bool:
        """Whether one more refused post of an interface is to be kept; it counts as kept then."""
        if len(self.gathered.refused) >= REFUSED_MAX:
            return False
        self._kept[interface, type] += 1
        return self._kept[interface, type] <= REFUSED_EACH_MAX


def _counted(counts: dict[Key, Count], key: Key, posts: int, now: int, most: int) -> bool:
    """Count under a key, unless there are too many of them."""
    count = counts.get(key)
    if count is None:
        if len(counts) >= most:
            return False
        count = counts[key] = Count()
    count.add(posts, now)
    return True


class Posts:
    """Remembers the posts of one server process."""

    def __init__(
        self,
        store: Store,
        log_days: int,
        clock: Clock,
        warn: Callable[..., None],
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        """``log_days`` is for how long they are remembered; ``warn`` is told what people must know."""
        self._store = store
        self._log_us = log_days * DAY_US
        self._clock = clock
        self._warn = warn
        self._timer = timer
        self._gathering = Gathering()
        self._taking = threading.Lock()
        """Held for the moment in which something is gathered, or what was gathered is taken."""
        self._unwritten: Gathered | None = None
        self._forget_at = timer()
        self._stopping = threading.Event()
        # It keeps no server from ending, however long the store it writes to is away.
        self._thread = threading.Thread(target=self._keep, name="posts", daemon=True)

    # ---- on the event loop ----

    def note_group(self, arrivals: Sequence[Arrival], receipts: Sequence[Receipt | None]) -> None:
        """Count the posts of a group that were accepted."""
        now = self._clock()
        accepted: dict[int, int] = {}
        for arrival, receipt in zip(arrivals, receipts, strict=True):
            if receipt is not None:
                interface = arrival.interface
                accepted[interface] = accepted.get(interface, 0) + 1
        with self._taking:
            for interface, posts in accepted.items():
                self._gathering.count(interface, ACCEPTED, posts, now)

    def note_refused(
        self, refusal: Refusal, address: str, caller: Caller | None, sent: Sent | None
    ) -> None:
        """Count a refused post, and keep what tells of it if it came through an interface.

        ``sent`` is what it held, if that was looked at: of all others nothing is kept. One by which a print partner finds
        out whether the key is good leaves no trace.
        """
        now, type = self._clock(), refusal.type
        if type == EMPTY and sent is not None and CHECK in sent:
            return
        if caller is None:
            place = hide_keys(neighbourhood(address))[:ADDRESS_MAX]
            with self._taking:
                self._gathering.count(NOBODY, type, 1, now)
                self._gathering.count_stranger(place, type, now)
            return
        with self._taking:
            self._gathering.count(caller.interface, type, 1, now)
            is_kept = self._gathering.keeps(caller.interface, type)
        if is_kept:
            post = _refused(refusal, address, caller, sent, now)
            with self._taking:
                self._gathering.gathered.refused.append(post)

    # ---- beside it ----

    def start(self) -> None:
        """Begin to write what is gathered to the store."""
        self._thread.start()

    def stop(self) -> None:
        """Write the last of it, if that can be soon."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(END_S)

    def _keep(self) -> None:
        while not self._stopping.wait(EVERY_S):
            self._surely(self.write)
            self._surely(self.forget)
        self._surely(self.write)  # What could not be written before, if there is any,
        self._surely(self.write)  # and what came since.

    def _surely(self, act: Callable[[], None]) -> None:
        try:
            act()
        except StoreUnavailable:
            pass  # That is said elsewhere, and passes.
        except Exception:
            _log.exception("defect: which posts came cannot be noted")

    def write(self) -> None:
        """Add to the store what came since the last time.

        Raises StoreUnavailable: then it is kept for the next time, and nothing else is added before it.
        """
        gathered, self._unwritten = self._unwritten or self._take(), None
        if not gathered:
            return
        try:
            self._store.posts.add(gathered)
        except StoreUnavailable:
            self._unwritten = gathered
            raise

    def _take(self) -> Gathered:
        with self._taking:
            taken, self._gathering = self._gathering, Gathering()
        if taken.left_out:
            self._warn("posts were not counted: too many different ones", posts=taken.left_out)
        return taken.gathered

    def forget(self) -> None:
        """Forget some of what is old, if it is time for that. Raises StoreUnavailable."""
        if self._timer() < self._forget_at:
            return
        if not self._store.posts.forget(self._clock() - self._log_us):
            self._forget_at = self._timer() + FORGET_S


def _refused(
    refusal: Refusal, address: str, caller: Caller, sent: Sent | None, now: int
) -> RefusedPost:
    """What is kept of a refused post. Where that was no fault of the post's, nothing of its body is."""
    is_to_blame = refusal.status < HTTPStatus.INTERNAL_SERVER_ERROR
    return RefusedPost(
        at=now,
        interface=caller.interface,
        address=hide_keys(address)[:ADDRESS_MAX],
        status=refusal.status,
        type=refusal.type,
        problems=tuple(replace(each, info=hide_keys(each.info)) for each in refusal.problems),
        body=excerpt(sent, refusal.problems) if sent is not None and is_to_blame else "",
    )
