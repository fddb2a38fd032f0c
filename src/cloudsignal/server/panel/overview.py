"""What the dashboard shows, read from the roll-ups: where items are, and what has happened lately."""

from collections.abc import Sequence
from datetime import datetime, timedelta, tzinfo
from functools import partial
from typing import Final, get_args

from msgspec import Struct

from cloudsignal.protocol.items import FINAL, State
from cloudsignal.protocol.signals import BY_NAME
from cloudsignal.protocol.units import DAY_S, HOUR_S, MINUTE_S, SECOND_US
from cloudsignal.server.insight import reckoning
from cloudsignal.server.insight.counting import QUARTER_S
from cloudsignal.server.insight.promises import Punctuality
from cloudsignal.server.panel.charts import Chart, stacked
from cloudsignal.server.store.store import Store

STATES: Final[tuple[State, ...]] = get_args(State)
OVERDUE_DAYS: Final = 60
"""Who is overdue for longer is not waited for any more."""
BEHIND_MAX: Final = 10_000
"""With more signals that are not counted yet, it is said that the figures are of earlier."""


class Span(Struct, frozen=True):
    """A span of time until now, and how it is shown.

    ``what`` are the counts that it is read from; a bar stands for ``bar_s`` seconds, the axis says something at
    every ``mark_s``, as ``mark`` formats it, and ``every_s`` is how soon it is read again.
    """

    title: str
    length_s: int
    what: str
    bar_s: int
    mark_s: int
    mark: str
    every_s: int


SPANS: Final = {
    "1h": Span("last hour", HOUR_S, "minute", MINUTE_S, 10 * MINUTE_S, "%H:%M", 1),
    "6h": Span("last 6 hours", 6 * HOUR_S, "minute", 5 * MINUTE_S, HOUR_S, "%H:%M", 2),
    "24h": Span("last 24 hours", DAY_S, "quarter", QUARTER_S, 3 * HOUR_S, "%H:%M", 5),
    "7d": Span("last 7 days", 7 * DAY_S, "quarter", 3 * HOUR_S, DAY_S, "%a %-d", 15),
    "30d": Span("last 30 days", 30 * DAY_S, "quarter", DAY_S, 5 * DAY_S, "%-d %b", 60),
}
"""What can be chosen of."""


class Standing(Struct, frozen=True):
    """How many items are in a state, and how many of them are delayed."""

    state: str
    count: int
    delayed: int

    @property
    def is_final(self) -> bool:
        """Whether nothing is to come any more."""
        return self.state in FINAL


class Telling(Struct, frozen=True):
    """Deliveries to owners: that wait for another attempt or behind one that does, and that were given up."""

    waiting: int
    dead: int


class Overview(Struct, frozen=True):
    """Everything but the chart. ``behind`` is how many signals are not counted yet, ``refused`` posts of the last day."""

    behind: int
    states: tuple[Standing, ...]
    open: int
    delayed: int
    shipped: int
    canceled: int
    due: Punctuality
    overdue: int
    refused: int
    telling: Telling | None

    @property
    def most(self) -> int:
        """The largest number of items in one state of those that are not final: the others only grow."""
        return max((each.count for each in self.states if not each.is_final), default=0)

    @property
    def is_late(self) -> bool:
        """Whether the figures are of noticeably earlier."""
        return self.behind > BEHIND_MAX


def overview(store: Store, partner: str | None, *, now: int, zone: tzinfo) -> Overview:
    """How things stand with a print partner; or with all, and with what their owners are told.

    Raises StoreUnavailable.
    """
    sums = partial(store.rollups.sums, partner=partner)
    counts, delayed = sums("state"), sums("delayed")
    states = tuple(Standing(each, counts.get(each, 0), delayed.get(each, 0)) for each in STATES)
    since, until = reckoning.days_s(now, 1, zone)
    quarter = reckoning.quarter_s(now)
    past = sums("due", since=since, until=quarter)
    return Overview(
        behind=store.rollups.behind(),
        states=tuple(each for each in states if each.count or each.state != "unknown"),
        open=sum(each.count for each in states if not each.is_final),
        delayed=sum(each.delayed for each in states),
        shipped=sums("shipped", since=since, until=until).get("", 0),
        canceled=sums("canceled", since=since, until=until).get("", 0),
        due=reckoning.punctuality(past, sums("due", since=quarter, until=until)),
        overdue=overdue(store, partner, now=now),
        refused=_refused(store, partner, now - DAY_S * SECOND_US),
        telling=_telling(store) if partner is None else None,
    )


def overdue(store: Store, partner: str | None, *, now: int) -> int:
    """How many open items of a print partner, or of all, should have been shipped. Raises StoreUnavailable."""
    since, until = now // SECOND_US - OVERDUE_DAYS * DAY_S, reckoning.quarter_s(now)
    past = store.rollups.sums("due", partner=partner, since=since, until=until)
    return reckoning.punctuality(past, {}).overdue


def _refused(store: Store, partner: str | None, since: int) -> int:
    """How many posts were refused: of a print partner's interfaces, or of all and of strangers."""
    partners = store.posts.of_partners(since)
    if partner is not None:
        return partners[partner].refusals if partner in partners else 0
    strangers = store.posts.of_strangers(since)
    return sum(each.refusals for each in partners.values()) + sum(
        each.posts for each in strangers.values()
    )


def _telling(store: Store) -> Telling:
    counts = store.delivery_log.standing().deliveries
    dead = counts.get("dead", 0)
    return Telling(sum(counts.values()) - dead, dead)


# ---- signals over time ----


def signals_chart(
    store: Store, partner: str | None, span: Span, *, now: int, zone: tzinfo
) -> Chart:
    """How many signals of which type came, over a span of time until now. Raises StoreUnavailable."""
    begins = begins_of(span, now // SECOND_US, zone)
    counts = store.rollups.counts(span.what, partner=partner, since=begins[0])
    bars = {at: floor(at, span.bar_s, zone) for at in {at for at, _ in counts}}
    grouped: dict[tuple[int, str], int] = {}
    for (at, key), count in counts.items():
        begin = bars[at]
        grouped[begin, key] = grouped.get((begin, key), 0) + count
    return stacked(
        begins,
        grouped,
        tuple(BY_NAME),
        says=lambda begin: f"{_local(begin, zone):%a %-d %b %H:%M}",
        marks=_marks(begins, span, zone),
    )


def begins_of(span: Span, now_s: int, zone: tzinfo) -> list[int]:
    """When the bars of a span begin, in order; the last one is that of now."""
    last = floor(now_s, span.bar_s, zone)
    if span.bar_s < DAY_S:
        return list(range(last - span.length_s + span.bar_s, last + 1, span.bar_s))
    today = _local(last, zone)
    days = span.length_s // DAY_S
    return [round((today - timedelta(days=back)).timestamp()) for back in reversed(range(days))]


def floor(at: int, unit_s: int, zone: tzinfo) -> int:
    """When the unit of time begins in which an instant is, by the clocks of a zone; both in seconds since 1970."""
    local = _local(at, zone)
    if unit_s >= DAY_S:
        return round(local.replace(hour=0, minute=0, second=0).timestamp())
    offset = local.utcoffset() or timedelta()
    ahead = round(offset.total_seconds())
    return (at + ahead) // unit_s * unit_s - ahead


def _marks(begins: Sequence[int], span: Span, zone: tzinfo) -> dict[int, str]:
    if span.mark_s > DAY_S:
        every = span.mark_s // span.bar_s
        return {each: f"{_local(each, zone):{span.mark}}" for each in begins[::-every]}
    return {
        each: f"{_local(each, zone):{span.mark}}"
        for each in begins
        if floor(each, span.mark_s, zone) == each
    }


def _local(at: int, zone: tzinfo) -> datetime:
    return datetime.fromtimestamp(at, zone)
