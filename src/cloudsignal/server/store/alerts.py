"""Alerts: for how long items may be in a state, and which of them are or were there for longer.

What is stalled, and when that is over, is told by ``insight/stalling.py``. What is to be told of an alert is
noted in the transaction that raises or clears it. Instants are microseconds since 1970.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final, Literal

from msgspec import Struct
from sqlalchemy import (
    Connection,
    Select,
    bindparam,
    delete,
    exists,
    insert,
    literal,
    select,
    text,
    true,
    update,
)
from sqlalchemy.exc import IntegrityError

from cloudsignal.protocol.units import HOUR_S
from cloudsignal.server.insight.calendars import Calendar
from cloudsignal.server.insight.stalling import EVERY, STATES, Place, Rule, Standing, Why
from cloudsignal.server.store import calendars, facts
from cloudsignal.server.store.batches import insert_all
from cloudsignal.server.store.changes import Notes
from cloudsignal.server.store.database import Database
from cloudsignal.server.store.names import known_number
from cloudsignal.server.store.schema import (
    OPEN,
    alert_news,
    alert_rules,
    alert_ways,
    alerts,
    counted_items,
    items,
    partners,
)

STALLED_MAX: Final = 10_000
"""How many items of a print partner in one state have alerts: those that were not heard of for longest."""
FORGOTTEN: Final = 1_000
"""How many alerts are forgotten in one transaction."""

What = Literal["raised", "cleared"]
"""What there is to tell of an alert."""


class RuleAt(Struct, frozen=True):
    """A rule, and where it holds: at a print partner, or at every one that has none of its own, with None."""

    partner_name: str | None
    state: str
    rule: Rule


class Alert(Struct, frozen=True):
    """An item that is or was stalled.

    ``since`` is when the last was heard of it, ``limit_s`` for how long it might be in its state, in working
    time. While it is stalled ``cleared`` is None and ``why`` is empty.
    """

    id: int
    order: str
    item: str
    partner_name: str
    state: str
    since: int
    limit_s: int
    raised: int
    cleared: int | None
    why: Why | Literal[""]


class Watched(Struct, frozen=True):
    """What decides what is stalled, all at one moment: rules, print partners, and when they work."""

    revision: int
    rules: dict[Place, Rule]
    partners: list[int]
    calendars: dict[int, Calendar]

    def calendar(self, partner: int) -> Calendar:
        """When a print partner works."""
        return self.calendars.get(partner, calendars.ALWAYS)


class Uncleared(Struct, frozen=True):
    """An alert that is not cleared: how its item, by its number, stood when it was raised, and stands now."""

    id: int
    item: int
    then: Standing
    now: Standing | None


class Stalled(Struct, frozen=True):
    """An item to raise an alert for, by its number."""

    item: int
    standing: Standing
    limit_s: int


class Alerts:
    """The verbs of alerts. Every one may raise StoreUnavailable."""

    def __init__(self, database: Database, notes: Notes) -> None:
        self._database = database
        self._notes = notes

    # ---- rules ----

    def rules(self) -> list[RuleAt]:
        """Every rule; those for every print partner first, then in order of name, each in order of the states."""
        chosen = select(alert_rules, partners.c.name)
        joined = chosen.outerjoin(partners, partners.c.id == alert_rules.c.partner)
        with self._database.reading() as connection:
            found = [RuleAt(row.name, row.state, _rule(row)) for row in connection.execute(joined)]
        return sorted(found, key=lambda each: (each.partner_name or "", STATES.index(each.state)))

    def any_rule(self) -> bool:
        """Whether there is any."""
        with self._database.reading() as connection:
            return bool(connection.scalar(select(exists(select(alert_rules.c.state)))))

    def set_rule(self, partner_name: str | None, state: str, rule: Rule | None) -> None:
        """Have a rule for a state at a print partner, or at every one with None; or no rule there.

        Raises NotFound when there is no such print partner.
        """
        with self._database.changing(facts.ALERTS_REVISION) as connection:
            partner = (
                EVERY if partner_name is None else known_number(connection, partners, partner_name)
            )
            place = alert_rules.c.partner == partner, alert_rules.c.state == state
            row = connection.execute(select(alert_rules).where(*place)).first()
            before = None if row is None else _rule(row)
            connection.execute(delete(alert_rules).where(*place))
            if rule is not None:
                values = {"period": rule.period_s, "grace": rule.grace_s}
                connection.execute(
                    insert(alert_rules).values(partner=partner, state=state, **values)
                )
            if before != rule:
                self._notes.note(
                    connection,
                    "alert rule changed",
                    partner_name or "every print partner",
                    before=_known(state, before),
                    after=_known(state, rule),
                )

    def revision(self) -> int:
        """How often rules, and how alerts are told, were changed."""
        with self._database.reading() as connection:
            return facts.number(connection, facts.ALERTS_REVISION)

    # ---- raising and clearing ----

    def watched(self) -> Watched:
        """What decides what is stalled."""
        with self._database.reading() as connection:
            places = connection.execute(select(alert_rules))
            return Watched(
                facts.number(connection, facts.ALERTS_REVISION),
                {(row.partner, row.state): _rule(row) for row in places},
                list(connection.scalars(select(partners.c.id).order_by(partners.c.id))),
                calendars.read(connection),
            )

    def uncleared(self, *, after: int, limit: int) -> list[Uncleared]:
        """Alerts that are not cleared, in order of their items' numbers; the next are ``after`` the last one's."""
        open = select(alerts).where(alerts.c.cleared.is_(None), alerts.c.item > after)
        some = open.order_by(alerts.c.item).limit(limit).subquery()
        stands = select(
            some,
            counted_items.c.partner.label("partner_now"),
            counted_items.c.state.label("state_now"),
            counted_items.c.since.label("since_now"),
        )
        joined = stands.outerjoin(counted_items, counted_items.c.item == some.c.item)
        with self._database.reading() as connection:
            rows = connection.execute(joined.order_by(some.c.item))
            return [_uncleared(row) for row in rows]

    def stalled(self, place: Place, *, since: int, limit: int) -> list[tuple[int, Standing]]:
        """Items that were not heard of since an instant, by their numbers, and that have no alert.

        Those of the longest time first; no more than the first ``STALLED_MAX`` are looked at.
        """
        partner, state = place
        there = counted_items.c.partner == partner, counted_items.c.state == state
        longest = (
            select(counted_items.c.item, counted_items.c.since)
            .where(*there, text(OPEN), counted_items.c.since <= since)
            .order_by(counted_items.c.since)
            .limit(STALLED_MAX)
            .subquery()
        )
        has_one = exists().where(alerts.c.item == longest.c.item, alerts.c.cleared.is_(None))
        found = select(longest).where(~has_one).order_by(longest.c.since, longest.c.item)
        with self._database.reading() as connection:
            rows = connection.execute(found.limit(limit))
            return [(row.item, Standing(partner, state, row.since)) for row in rows]

    def note(
        self,
        *,
        raised: Sequence[Stalled] = (),
        cleared: Sequence[tuple[int, Why]] = (),
        heard: Sequence[tuple[int, int]] = (),
        now: int,
    ) -> None:
        """Raise alerts, and clear others, by their ids; of others again note when the last was heard of.

        What is to be told of that is noted for each way of telling that there is. Should another be faster,
        nothing is done: who looks again finds what is left.
        """
        try:
            with self._database.writing(beside=True) as connection:
                _raise(connection, raised, now)
                _clear(connection, cleared, now)
                if heard:
                    connection.execute(
                        update(alerts).where(alerts.c.id == bindparam("of")),
                        [{"of": id, "since": since} for id, since in heard],
                    )
        except IntegrityError:
            pass

    def forget(self, before: int) -> int:
        """Forget alerts that were cleared before an instant, a few at a time: how many; 0 for no more."""
        old = select(alerts.c.id).where(alerts.c.cleared < before).order_by(alerts.c.cleared)
        with self._database.writing(beside=True) as connection:
            ids = list(connection.scalars(old.limit(FORGOTTEN)))
            connection.execute(delete(alerts).where(alerts.c.id.in_(ids)))
            return len(ids)


# ---- alerts for people ----

ALERTS: Final[Select[Any]] = (
    select(
        alerts.c.id,
        items.c.order,
        items.c.item,
        partners.c.name.label("partner_name"),
        alerts.c.state,
        alerts.c.since,
        alerts.c.limit_s,
        alerts.c.raised,
        alerts.c.cleared,
        alerts.c.why,
    )
    .join(items, items.c.id == alerts.c.item)
    .join(partners, partners.c.id == alerts.c.partner)
)
"""Alerts as ``Alert`` has them."""


def alert(row: Any) -> Alert:
    """An alert from a row of ``ALERTS``."""
    return Alert(**{name: getattr(row, name) for name in Alert.__struct_fields__})


# ---- inside transactions ----


def _raise(connection: Connection, raised: Sequence[Stalled], now: int) -> None:
    if not raised:
        return
    rows = [
        (
            *(each.item, each.standing.partner, each.standing.state, each.standing.since),
            *(each.limit_s, now, None, ""),
        )
        for each in raised
    ]
    insert_all(connection, alerts, rows)
    ids = select(alerts.c.id).where(
        alerts.c.item.in_([each.item for each in raised]), alerts.c.cleared.is_(None)
    )
    _tell(connection, list(connection.scalars(ids)), "raised", now)


def _clear(connection: Connection, cleared: Iterable[tuple[int, Why]], now: int) -> None:
    whys = dict(cleared)
    if not whys:
        return
    there = alerts.c.id.in_(whys), alerts.c.cleared.is_(None)
    ids = list(connection.scalars(select(alerts.c.id).where(*there).with_for_update()))
    for why in set(whys.values()):
        its_own = alerts.c.id.in_([id for id in ids if whys[id] == why])
        connection.execute(update(alerts).where(its_own).values(cleared=now, why=why))
    _tell(connection, ids, "cleared", now)


def _tell(connection: Connection, ids: Collection[int], what: What, now: int) -> None:
    """Note what is to be told of alerts, by each way that there is."""
    each = select(alert_ways.c.way, alerts.c.id, literal(what), literal(now))
    by_each = each.select_from(alerts.join(alert_ways, true()))
    told = by_each.where(alerts.c.id.in_(ids)).order_by(alerts.c.id)
    connection.execute(insert(alert_news).from_select(["way", "alert", "what", "at"], told))


def _rule(row: Any) -> Rule:
    return Rule(row.period, row.grace)


def _known(state: str, rule: Rule | None) -> dict[str, Any] | None:
    """A rule as it is noted."""
    if rule is None:
        return None
    period = "any time" if rule.period_s is None else f"{rule.period_s / HOUR_S:g} h"
    return {"state": state, "period": period, "grace": f"{rule.grace_s / HOUR_S:g} h"}


def _uncleared(row: Any) -> Uncleared:
    then = Standing(row.partner, row.state, row.since)
    is_known = row.state_now is not None
    now = Standing(row.partner_now, row.state_now, row.since_now) if is_known else None
    return Uncleared(row.id, row.item, then, now)
