"""Which open items are stalled: in a state for longer than a rule allows, in working time.

A rule is for a print partner and a state, or for a state at every print partner that has no rule of its own
for it. Instants are microseconds since 1970.
"""

from bisect import bisect_left
from collections.abc import Mapping
from typing import Final, Literal, get_args

from msgspec import Struct

from cloudsignal.protocol.items import FINAL, PROGRESS
from cloudsignal.protocol.units import SECOND_US
from cloudsignal.server.insight.calendars import Calendar

STATES: Final = PROGRESS
"""The states that an item can be stalled in."""
HOURS_MAX: Final = 10_000
"""The longest period, and the longest grace: more than a year."""

Why = Literal["went on", "heard of", "shipped", "canceled", "given on", "rule changed", "gone"]
"""Why an alert was cleared: the item is in another state, or in the same and was heard of again; it was
shipped or canceled; it is another print partner's now; the rule or the calendar is another, or there is none
any more; nothing is known of the item any more."""
WHYS: Final[tuple[Why, ...]] = get_args(Why)


class Rule(Struct, frozen=True):
    """For how long items may be in a state, in working time: a period, and a grace beyond it.

    Without a period nothing is ever stalled.
    """

    period_s: int | None
    grace_s: int = 0

    @property
    def limit_s(self) -> int | None:
        """Both together; None where nothing is ever stalled."""
        return None if self.period_s is None else self.period_s + self.grace_s


Place = tuple[int, str]
"""The number of a print partner, and a state."""
EVERY: Final = 0
"""The number that stands for every print partner that has no rule of its own."""


class Standing(Struct, frozen=True):
    """How an item stands as far as alerts are concerned; ``since`` is when the last was heard of it."""

    partner: int
    state: str
    since: int


class Limit(Struct, frozen=True):
    """What is stalled somewhere at an instant: whatever was not heard of ``since`` then, or earlier.

    ``limit_s`` is for how long it may be there, in working time.
    """

    limit_s: int
    since: int


def rule_at(rules: Mapping[Place, Rule], place: Place) -> Rule | None:
    """The rule for a state at a print partner: its own, or that for every one."""
    _, state = place
    return rules.get(place) or rules.get((EVERY, state))


def limit_at(
    rules: Mapping[Place, Rule], calendar: Calendar, place: Place, now: int
) -> Limit | None:
    """What is stalled at a place at an instant; None where nothing ever is."""
    rule = rule_at(rules, place)
    if rule is None or rule.limit_s is None:
        return None
    return Limit(rule.limit_s, stalled_since(calendar, rule.limit_s, now))


def stalled_since(calendar: Calendar, limit_s: int, now: int) -> int:
    """The last instant since which more than so much working time has passed until now."""
    # Looked for backwards from now, twice as far each time: mostly it is a few days ago.
    ago = max(1, limit_s) * SECOND_US
    while ago < now and calendar.working_s(now - ago, now) <= limit_s:
        ago *= 2
    span = range(now - min(ago, now), now + 1)
    # The less was worked since, the later it is: the first since which not enough was.
    return (
        span[0]
        - 1
        + bisect_left(span, True, key=lambda since: calendar.working_s(since, now) <= limit_s)
    )


def cleared(alert: Standing, item: Standing | None, limit: Limit | None) -> Why | None:
    """Why an alert is over, None while it is not.

    ``alert`` is how its item stood when it was raised, ``item`` how it stands now, and ``limit`` what is
    stalled now where it was.
    """
    if item is None:
        return "gone"
    if item.state in FINAL:
        return "shipped" if item.state == "shipped" else "canceled"
    if item.state != alert.state:
        return "went on"
    if item.partner != alert.partner:
        return "given on"
    if limit is not None and item.since <= limit.since:
        return None
    return "heard of" if item.since > alert.since else "rule changed"
