"""What a server holds against what was sent, item by item, and what the items really did."""

from collections.abc import Iterator
from typing import Any, Literal

from msgspec import Struct, structs

from cloudsignal.protocol.items import FINAL
from cloudsignal.simulator.ledger import Ledger, SentItem
from cloudsignal.simulator.reader import Reader, ShownItem
from cloudsignal.simulator.standings import Standing, folded_standing, shown

Measure = Literal["signals", "plan", "receipts"]


class Difference(Struct, frozen=True):
    """Something that is not as it must be.

    ``measure`` is what it was held against: the signals folded by the protocol's rules, the plan's own
    knowledge of how the item ended, or the sum of the receipts; those concern no single item.
    """

    order: str
    item: str
    what: str
    expected: str
    found: str
    measure: Measure


class Comparison(Struct, frozen=True):
    """How many items were compared, against what, and everything that differs.

    ``against_plan`` of them were also held against the plan's own knowledge. ``uncertain`` ones were left
    out, because something of theirs got no answer.
    """

    items: int
    against_plan: int
    uncertain: int
    differences: list[Difference]


async def compare(ledger: Ledger, reader: Reader, *, since: str, is_new: bool) -> Comparison:
    """Hold every item of the ledger against what the server shows of it.

    ``since`` is a datetime before the first post, by the server's clock; ``is_new`` whether the server knew
    nothing of the plan before. Raises ReadFailed.
    """
    certain = [item for item in ledger.items if item.told and not item.is_uncertain]
    held = await _held(certain, reader, since)
    differences = list(receipt_differences(ledger, is_new=is_new))
    for sent in certain:
        differences += item_differences(sent, held.get(_key(sent)))
    return Comparison(
        items=len(certain),
        against_plan=sum(sent.is_complete for sent in certain),
        uncertain=sum(item.is_uncertain for item in ledger.items),
        differences=differences,
    )


async def _held(
    certain: list[SentItem], reader: Reader, since: str
) -> dict[tuple[str, str], ShownItem]:
    """The items as the server shows them: in pages, and by itself each that has not changed lately."""
    missing = {_key(sent) for sent in certain}
    held: dict[tuple[str, str], ShownItem] = {}
    if not missing:
        return held
    async for item in reader.items_since(since):
        if (key := (item.order, item.item)) in missing:
            held[key] = item
            missing.remove(key)
            if not missing:
                return held
    for item in await reader.items(sorted(missing)):
        held[item.order, item.item] = item
    return held


def receipt_differences(ledger: Ledger, *, is_new: bool) -> Iterator[Difference]:
    """Whether each signal was accepted once, as far as that is known of all of them."""
    if not ledger.has_receipts:
        return
    answered = ledger.accepted + ledger.duplicates
    if answered != ledger.signals:
        yield _summed("accepted and duplicates", f"{ledger.signals} in all", answered)
    if ledger.beyond:
        return
    unsure = ledger.retried_signals + ledger.unsure_signals if is_new else ledger.distinct
    fewest = max(0, ledger.distinct - unsure)
    if not fewest <= ledger.accepted <= ledger.distinct:
        expected = f"{ledger.distinct}" if not unsure else f"{fewest} to {ledger.distinct}"
        yield _summed("accepted", expected, ledger.accepted)


def item_differences(sent: SentItem, held: ShownItem | None) -> Iterator[Difference]:
    """Everything in which an item of the server is not what it must be."""
    if held is None:
        yield _difference(sent, "item", "there", "not there", "signals")
        return
    try:
        found = held.standing
    except ValueError as error:
        yield _difference(sent, "datetimes", "readable", str(error), "signals")
        return
    yield from _between(sent, folded_standing(sent.folded), found, "signals")
    if sent.is_complete:
        yield from _against_plan(sent, found)


def _against_plan(sent: SentItem, found: Standing) -> Iterator[Difference]:
    """Held against how the item really ended, as far as what it told of that can show it."""
    ending = sent.life.ending
    if not sent.is_redated:
        yield from _between(sent, ending, found, "plan")
    elif ending.state in FINAL:
        for name in ("state", "delayed", "parcel_names"):
            expected, there = getattr(ending, name), getattr(found, name)
            if expected != there:
                yield _difference(sent, name, shown(expected), shown(there), "plan")


def _between(
    sent: SentItem, expected: Standing, found: Standing, measure: Measure
) -> Iterator[Difference]:
    for each in structs.fields(Standing):
        one, other = getattr(expected, each.name), getattr(found, each.name)
        if one != other:
            if isinstance(one, dict):
                one, other = _unequal(one, other), _unequal(other, one)
            yield _difference(sent, each.name, shown(one), shown(other), measure)


def _unequal(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    """What of the one is not so in the other."""
    return {name: value for name, value in one.items() if other.get(name) != value}


def _difference(
    sent: SentItem, what: str, expected: str, found: str, measure: Measure
) -> Difference:
    return Difference(sent.life.order, sent.life.item, what, expected, found, measure)


def _summed(what: str, expected: str, found: Any) -> Difference:
    return Difference("", "", what, expected, str(found), "receipts")


def _key(sent: SentItem) -> tuple[str, str]:
    return sent.life.order, sent.life.item
