"""Where an item stands, however that is known: from its life, from its signals, from a server."""

from typing import Any

from msgspec import Struct

from cloudsignal.protocol import datetimes
from cloudsignal.protocol.items import ARRIVAL_FINDINGS, Item


class Parcel(Struct, frozen=True):
    """One parcel that an item left in."""

    tracking: str
    shipping_option: str
    datetime: int


class Standing(Struct, frozen=True, kw_only=True):
    """What can be compared of an item. Instants are microseconds since 1970.

    ``findings`` are those that do not depend on when a signal arrived.
    """

    state: str
    delayed: bool
    parcels: tuple[Parcel, ...]
    cause: str | None
    message: str | None
    delay_hours: float | None
    times: dict[str, int]
    findings: tuple[str, ...]

    @property
    def parcel_names(self) -> frozenset[tuple[str, str]]:
        """The parcels, whenever they left."""
        return frozenset((each.tracking, each.shipping_option) for each in self.parcels)


def folded_standing(item: Item) -> Standing:
    """Where an item stands by the rules of the protocol."""
    return Standing(
        state=item.state,
        delayed=item.is_delayed,
        parcels=tuple(
            Parcel(each.tracking, each.shipping_option, each.datetime) for each in item.parcels
        ),
        cause=item.cause.value if item.cause else None,
        message=item.message.value if item.message else None,
        delay_hours=item.delay_hours,
        times=item.times,
        findings=lasting(item.findings),
    )


def lasting(findings: list[str]) -> tuple[str, ...]:
    """The findings that follow from what the signals say."""
    return tuple(sorted(set(findings) - ARRIVAL_FINDINGS))


def shown(value: Any) -> str:
    """A part of a standing, for people and programs alike."""
    match value:
        case None:
            return "none"
        case Parcel():
            when = datetimes.write(value.datetime)
            return f"{value.tracking} ({value.shipping_option}) at {when}"
        case dict():
            steps = (f"{step} {datetimes.write(when)}" for step, when in value.items())
            return ", ".join(steps) or "none"
        case tuple() | frozenset():
            return ", ".join(sorted(map(shown, value))) or "none"
    return str(value)
