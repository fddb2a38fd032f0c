"""How often what happens in the life of an item, and on the way of its signals."""

from typing import Annotated, Any, Final, Literal, get_type_hints

from msgspec import Meta, Struct, structs

Kind = Literal["life", "disturbance"]


def _rate(kind: Kind, of_what: str, faults: float | None = None) -> Meta:
    return Meta(ge=0, le=1, description=of_what, extra={"kind": kind, "faults": faults})


class Rates(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Shares from 0, never, to 1, always.

    Those of an item's life are true of it; a disturbance only changes how, when or how often it is told.
    """

    skipped: Annotated[
        float, _rate("life", "steps that are never reported, of those that need not be")
    ] = 0.05
    delayed: Annotated[float, _rate("life", "items that something goes wrong with")] = 0.06
    canceled: Annotated[float, _rate("life", "items that the production gives up")] = 0.02
    split: Annotated[float, _rate("life", "shipped items that leave in two parcels")] = 0.03
    stuck: Annotated[float, _rate("life", "items that are never finished")] = 0.01

    repeated: Annotated[float, _rate("disturbance", "posts that are sent twice", 0.1)] = 0.01
    reordered: Annotated[
        float, _rate("disturbance", "signals that change places with the item's next", 0.1)
    ] = 0.01
    late: Annotated[
        float, _rate("disturbance", "signals that come hours or days after they should", 0.05)
    ] = 0.01
    back_dated: Annotated[
        float, _rate("disturbance", "signals with a datetime before the true one", 0.05)
    ] = 0.005
    day_end: Annotated[
        float,
        _rate("disturbance", "days of a print partner that are reported at 17:00, dated so", 0.15),
    ] = 0.05
    bundled: Annotated[
        float, _rate("disturbance", "orders whose signals are sent in bundles", 0.4)
    ] = 0.25
    spelled: Annotated[
        float, _rate("disturbance", "datetimes in another spelling than the partner's own", 0.3)
    ] = 0.05


class Declared(Struct, frozen=True):
    """One rate as it is declared; ``faults`` is what it is when faults are asked for."""

    name: str
    kind: Kind
    description: str
    default: float
    faults: float | None


def declared() -> list[Declared]:
    """Every rate, in order."""
    hints = get_type_hints(Rates, include_extras=True)
    return [_declared(each.name, hints[each.name], each.default) for each in structs.fields(Rates)]


def _declared(name: str, hint: Any, default: Any) -> Declared:
    meta: Meta = hint.__metadata__[0]
    extra = meta.extra or {}
    return Declared(name, extra["kind"], meta.description or "", default, extra["faults"])


FAULTS: Final = Rates(**{each.name: each.faults for each in declared() if each.faults is not None})
"""Everything that can disturb, often enough to be met in a few hundred items."""
NO_FAULTS: Final = Rates(**{each.name: 0.0 for each in declared() if each.faults is not None})
"""Every signal is told once, at once and as it was."""
