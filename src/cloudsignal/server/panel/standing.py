"""How items stand, as lists tell it."""

from collections.abc import Callable
from typing import Any

from cloudsignal.server.panel.lists import Column, Row
from cloudsignal.server.panel.roles import Scope
from cloudsignal.server.panel.sight import UNHEARD
from cloudsignal.server.store.reading import StoredItem


def columns(stored: Callable[[Row], StoredItem | None]) -> tuple[Column[Row], ...]:
    """The columns about the item of a row; of one that was not heard of, they say just that."""

    def told(title: str, value: Callable[[StoredItem], Any], **how: Any) -> Column[Row]:
        return Column(title, lambda row: (it := stored(row)) and value(it), **how)

    def state(row: Row) -> str:
        return it.folded.state if (it := stored(row)) else UNHEARD

    return (
        Column("State", state, "state"),
        told("Delayed", lambda it: it.folded.is_delayed or None),
        told("Print partner", lambda it: it.partner_name, seen_in=sees_partners),
        told("Tracking", lambda it: [each.tracking for each in it.folded.parcels]),
        told("Last changed, UTC", lambda it: it.updated, kind="instant"),
        told("Cause", lambda it: it.folded.cause and it.folded.cause.value),
        told("Findings", lambda it: it.folded.findings, seen_in=sees_partners),
        told("Test", lambda it: (not it.folded.live) or None),
    )


def sees_partners(scope: Scope) -> bool:
    """Whether those who see so much see a column about print partners, or how they report."""
    return scope.sees_partners


def counted(states: dict[str, int]) -> str:
    """How many items are in which state, in words."""
    return ", ".join(f"{count} {state}" for state, count in states.items())
