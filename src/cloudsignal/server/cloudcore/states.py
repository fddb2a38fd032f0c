"""The state of an order, as CloudCore 1.0 numbers it, from how its items stand.

| | state of the order |
|---|---|
| registered, and no signal has come for any of its items | 6, verified |
| a signal has come | 45, uploaded: it is with the production |
| every item is shipped, or some are and all others are canceled | 100, complete |
| every item is canceled | 500, canceled |

An item that is registered counts also while no signal has come for it: an order is not complete without it.
Cloudprinter's other states tell what this server has no part in: files, payment, sandboxes.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Final

from msgspec import Struct

from cloudsignal.protocol.items import Item


class OrderState(Struct, frozen=True):
    """A state as programs are told it: its number, and what that is called."""

    number: str
    code: str


VERIFIED: Final = OrderState("6", "order_state_verified")
UPLOADED: Final = OrderState("45", "order_state_uploaded")
COMPLETE: Final = OrderState("100", "order_state_complete")
CANCELED: Final = OrderState("500", "order_state_canceled")

# Of the names only order_state_uploaded is published; the others are made after it.


def order_state(states: Mapping[str, int], unheard: int) -> OrderState:
    """The state of an order with so many items in each state, and so many of which nothing was heard."""
    heard = sum(states.values())
    if not heard:
        return VERIFIED
    shipped = states.get("shipped", 0)
    if unheard or shipped + states.get("canceled", 0) < heard:
        return UPLOADED
    return COMPLETE if shipped else CANCELED


def history(
    items: Sequence[Item], states: Mapping[str, int], unheard: int
) -> Iterator[tuple[int | None, OrderState]]:
    """Each state that an order went through, and since when; the first has always been so.

    The last is its state now. ``states`` counts all of its items: where there are more than ``items``, the others are
    taken to have always stood as they do.
    """
    standing = Counter(states)
    standing.subtract(item.state for item in items)
    unheard += len(items)
    current = order_state(standing, unheard)
    yield None, current
    last: dict[int, str] = {}
    for when, changes in groupby(_changes(items), key=lambda change: change[0]):
        for _, _, index, state in changes:
            if index in last:
                standing[last[index]] -= 1
            else:
                unheard -= 1
            standing[state] += 1
            last[index] = state
        following = order_state(standing, unheard)
        if following != current:
            yield when, following
            current = following


def _changes(items: Sequence[Item]) -> list[tuple[int, int, int, str]]:
    """When each item was first heard of, and when it ended, in order: instant, rank, which item, state."""
    changes = []
    for index, item in enumerate(items):
        changes.append((min(item.times.values()), 0, index, "unknown"))
        # Of two at the same instant the later in rank counts: an item is shipped then (contract, section 5).
        if item.canceled is not None:
            changes.append((item.canceled, 1, index, "canceled"))
        if item.shipped is not None:
            changes.append((item.shipped, 2, index, "shipped"))
    return sorted(changes)
