"""What people and programs are shown of alerts: the JSON of webhooks and of the command line."""

from typing import Annotated

from msgspec import Meta, Struct

from cloudsignal.protocol import datetimes
from cloudsignal.protocol.units import HOUR_S
from cloudsignal.server.store.alert_messages import Message, MessageState, Way, WayName
from cloudsignal.server.store.alerts import Alert, RuleAt
from cloudsignal.server.views import Instant


class AlertView(Struct, frozen=True, kw_only=True):
    """An item that is or was stalled."""

    alert: int
    order: str
    item: str
    partner: str
    state: str
    since: Annotated[Instant, Meta(description="when the last was heard of the item")]
    limit_hours: Annotated[float, Meta(description="for how long it might be so, in working time")]
    raised: Instant
    cleared: Annotated[Instant | None, Meta(description="null while it is stalled")]
    why: Annotated[str, Meta(description="why it was cleared")]


class RuleView(Struct, frozen=True, kw_only=True):
    """For how long items may be in a state; ``partner`` is null for every one that has no rule of its own."""

    partner: str | None
    state: str
    period_hours: Annotated[float | None, Meta(description="null where nothing is ever stalled")]
    grace_hours: float


class WayView(Struct, frozen=True, kw_only=True):
    """A way to tell the operator, and how that goes."""

    way: WayName
    to: list[str]
    when: str
    failures: int
    failing_since: Instant | None
    due: Annotated[Instant | None, Meta(description="when it is tried next, if it fails")]


class MessageView(Struct, frozen=True, kw_only=True):
    """What the operator is told, or was."""

    message: str
    way: WayName
    type: str
    count: Annotated[int, Meta(description="how many news are in it")]
    state: MessageState
    attempts: int
    made: Instant
    changed: Instant
    why: Annotated[str, Meta(description="what became of the last attempt")]


def alert_view(alert: Alert) -> AlertView:
    """An alert as it is shown."""
    return AlertView(
        alert=alert.id,
        order=alert.order,
        item=alert.item,
        partner=alert.partner_name,
        state=alert.state,
        since=datetimes.write(alert.since),
        limit_hours=hours(alert.limit_s),
        raised=datetimes.write(alert.raised),
        cleared=_instant(alert.cleared),
        why=alert.why,
    )


def rule_view(found: RuleAt) -> RuleView:
    """A rule as it is shown."""
    period_s = found.rule.period_s
    return RuleView(
        partner=found.partner_name,
        state=found.state,
        period_hours=None if period_s is None else hours(period_s),
        grace_hours=hours(found.rule.grace_s),
    )


def way_view(way: Way) -> WayView:
    """A way as it is shown."""
    return WayView(
        way=way.way,
        to=[way.shown] if way.way == "webhook" else list(way.recipients),
        when=str(way.digest),
        failures=way.failures,
        failing_since=_instant(way.failing_since),
        due=_instant(way.due or None),
    )


def message_view(message: Message) -> MessageView:
    """A message as it is shown."""
    return MessageView(
        message=message.message,
        way=message.way,
        type=message.type,
        count=message.count,
        state=message.state,
        attempts=message.attempts,
        made=datetimes.write(message.made),
        changed=datetimes.write(message.changed),
        why=message.why,
    )


def hours(seconds: int) -> float:
    """Seconds as hours."""
    return round(seconds / HOUR_S, 4)


def _instant(instant: int | None) -> str | None:
    return None if instant is None else datetimes.write(instant)
