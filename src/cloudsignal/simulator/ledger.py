"""What was sent and what came back: where each item must stand, and how the sending goes."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final, get_args

from msgspec import Struct, field

from cloudsignal.partner.errors import NotSent, SendError
from cloudsignal.partner.receipts import Receipt
from cloudsignal.protocol.items import Item, State
from cloudsignal.protocol.wire import Report, fingerprint
from cloudsignal.simulator.disturbances import PlannedPost, Told
from cloudsignal.simulator.lives import Life

ITEMS_COMPARED_MAX: Final = 200_000
"""How many items are kept to be compared: the first ones. One takes 4 KB or so."""


class SentItem(Struct):
    """An item of which signals were sent.

    ``folded`` is what they make of it by the protocol's rules, ``told`` the numbers of the steps they
    told of, ``known`` what makes each of them one of its own. ``is_redated`` is whether a datetime among
    them is not the true one, ``is_uncertain`` whether something of it may be stored or not.
    """

    life: Life
    folded: Item = field(default_factory=Item)
    told: set[int] = field(default_factory=set)
    known: set[tuple[str, int, str]] = field(default_factory=set)
    is_redated: bool = False
    is_uncertain: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether all that ever happens to it was told."""
        return len(self.told) == len(self.life.steps)


class Trouble(Struct):
    """Something that went wrong: how many posts it befell, and what was said the first time."""

    posts: int
    info: str


class Ledger:
    """Counts as posts are answered. Whoever shows how it goes may read it from another thread."""

    def __init__(self, items_compared_max: int = ITEMS_COMPARED_MAX) -> None:
        self._items_max = items_compared_max
        self._items: dict[tuple[str, str], SentItem] = {}
        self.states: Counter[str] = Counter(dict.fromkeys(get_args(State), 0))
        """How many of the items kept are in which state."""
        self.posts = 0
        self.signals = 0
        """How many were sent and answered 200, repeats among them."""
        self.accepted = 0
        self.duplicates = 0
        self.distinct = 0
        """How many different ones there are among those sent: what a new server has to accept."""
        self.retries = 0
        self.retried_signals = 0
        """How many were sent in posts that needed more than one try: some may have been stored before."""
        self.unsure_signals = 0
        """How many were in posts that may be stored or not."""
        self.beyond = 0
        """How many signals were sent of items that are not kept."""
        self.has_receipts = True
        """Whether every answer said what was accepted and what was known."""
        self.troubles: dict[str, Trouble] = {}

    @property
    def items(self) -> Sequence[SentItem]:
        """The items kept, in the order of their first signals."""
        return list(self._items.values())

    @property
    def errors(self) -> int:
        """How many posts were not stored, as far as is known."""
        return sum(trouble.posts for trouble in list(self.troubles.values()))

    def stored(self, post: PlannedPost, receipt: Receipt, *, retried: bool) -> None:
        """Take down that a server has stored a post."""
        self.posts += 1
        self.signals += len(post.told)
        if retried:
            self.retried_signals += len(post.told)
        kept = [told for told in post.told if self._take(told)]
        self.beyond += len(post.told) - len(kept)
        if receipt.accepted is None or receipt.duplicates is None:
            self.has_receipts = False
        else:
            self.accepted += receipt.accepted
            self.duplicates += receipt.duplicates

    def failed(self, post: PlannedPost, error: SendError, *, retried: bool) -> None:
        """Take down that a post is not known to be stored: after a refusal it is, if another try came before."""
        name = error.type or type(error).__name__
        trouble = self.troubles.setdefault(name, Trouble(0, error.info))
        trouble.posts += 1
        is_stored_in_part = error.stored is not None and error.stored.signals > 0
        if isinstance(error, NotSent) or retried or is_stored_in_part:
            self.unanswered(post)

    def unanswered(self, post: PlannedPost) -> None:
        """Take down that nobody knows whether a post was stored."""
        self.unsure_signals += len(post.told)
        for told in post.told:
            if item := self._item(told):
                item.is_uncertain = True

    def _take(self, told: Told) -> bool:
        item = self._item(told)
        if item is None:
            return False
        before = item.folded.state if item.told else None
        for report in self._new_report(item, told):
            item.folded.merge(report, received=told.instant)
        item.told.add(told.step)
        item.is_redated = item.is_redated or told.is_redated
        if before != item.folded.state:
            self.states[item.folded.state] += 1
            if before is not None:
                self.states[before] -= 1
        return True

    def _new_report(self, item: SentItem, told: Told) -> Iterator[Report]:
        """The signal as servers read it, if it is not a repeat."""
        digest = fingerprint(told.signal)
        same = type(told.signal).__name__, told.instant, digest
        if same not in item.known:
            item.known.add(same)
            self.distinct += 1
            yield Report(told.signal, told.instant, b"", digest)  # type: ignore[arg-type]

    def _item(self, told: Told) -> SentItem | None:
        key = told.life.order, told.life.item
        if key not in self._items and len(self._items) < self._items_max:
            self._items[key] = SentItem(told.life)
        return self._items.get(key)
