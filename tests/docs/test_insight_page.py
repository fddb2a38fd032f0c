"""What docs/insight.md says of numbers is what the code does."""

from cloudsignal.protocol.items import FUTURE_US, SLOW_US
from cloudsignal.server.insight import buckets, calendars
from cloudsignal.server.insight.causes import CAUSES_MAX
from cloudsignal.server.insight.outlook import (
    INTERVAL,
    OUTLASTED_SHARE,
    PRECEDENTS_MIN,
    SAFE_CHANCE,
)
from cloudsignal.server.insight.promises import DAYS, TOLERANCE_H
from cloudsignal.server.insight.reporting import OTHERS_FAULT, PARTS
from cloudsignal.server.insight.survival import POINTS
from tests.docs.pages import DOCS, blocks, text

PAGE = DOCS / "insight.md"
SENTENCES = " ".join(text(PAGE).split())


def test_the_calendar_is_one() -> None:
    (block,) = [block for block in blocks(PAGE) if block.language == "json"]
    calendar = calendars.read(block.text)
    assert calendars.read(calendars.write(calendar)) == calendar
    assert sum(end - begin for day in calendar.hours for begin, end in day) == 38 * 60


def test_every_part_of_the_score_is_told_as_it_is() -> None:
    for part in PARTS:
        row = (
            f"| `{part.name}` | {part.counted} | {part.offending} | {part.weight} |"
            f" {part.worthless_at:.0%} |"
        )
        assert row.replace("%", " %") in text(PAGE)


def test_refusals_that_do_not_count_are_named() -> None:
    assert all(f"`{type}`" in SENTENCES for type in OTHERS_FAULT)


def test_numbers_are_those_of_the_code() -> None:
    told = {
        f"{calendars.HOLIDAYS_MAX:,} fit in": True,
        f"end with the year {calendars.LAST_YEAR}": True,
        f"Beyond {CAUSES_MAX} causes": True,
        f"at least {PRECEDENTS_MIN} items": True,
        f"below {SAFE_CHANCE:.0%}".replace("%", " %"): True,
        "from 10 % to 90 %": round(INTERVAL, 9) == 0.8,
        "at most a tenth": OUTLASTED_SHARE == 0.1,
        f"in the last {DAYS[1]} and in the last {DAYS[2]} days": DAYS[0] == 1,
        "or an hour more": TOLERANCE_H == 1,
        f"stood for by {POINTS} durations": True,
        "2.5 % at most": 0.024 < buckets.ERROR < 0.025,
        "1.05<sup>": buckets.WIDTH_PERCENT == 5,
        "more than an hour after": SLOW_US == 3_600_000_000,
        "more than 5 minutes ahead": FUTURE_US == 300_000_000,
    }
    assert [each for each, is_so in told.items() if not (is_so and each in SENTENCES)] == []
