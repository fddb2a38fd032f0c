"""What offends, one by one; the score by hand, and that it goes up and down as it should."""

from datetime import UTC, datetime, timedelta
from itertools import product
from typing import get_args
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudsignal.protocol.items import FUTURE_US, PROGRESS, SLOW_US, Item, findings
from cloudsignal.protocol.refusals import STATUS
from cloudsignal.protocol.signals import ItemPacked
from cloudsignal.server.insight.reporting import (
    EXPECTED_STEPS,
    OPTIONAL_STEPS,
    OTHERS_FAULT,
    PARTS,
    Name,
    Score,
    Tally,
    faults,
    is_day_end,
    is_future,
    is_own_fault,
    is_slow,
    is_under_way,
    lag_s,
    missing_steps,
    refused_posts,
    score,
    tally,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
NAMES = get_args(Name)
RECEIVED = 10**15

tallies = st.integers(0, 1000).flatmap(
    lambda counted: st.builds(Tally, st.integers(0, counted), st.just(counted))
)
sheets = st.dictionaries(st.sampled_from(NAMES), tallies)


@given(
    st.integers(-2 * SLOW_US, 2 * SLOW_US)
    | st.sampled_from([SLOW_US, SLOW_US + 1, -FUTURE_US, -FUTURE_US - 1])
)
def test_slow_and_future_are_the_findings_of_the_item(lag_us: int) -> None:
    when = RECEIVED - lag_us
    signal = ItemPacked(order="1", item="2", datetime="")
    found = findings(signal, when, RECEIVED, None)
    assert is_slow(when, RECEIVED) == ("slow_report" in found)
    assert is_future(when, RECEIVED) == ("future_datetime" in found)
    assert lag_s(when, RECEIVED) == max(lag_us, 0) / 1e6
    told = {"slow": is_slow(when, RECEIVED), "future": is_future(when, RECEIVED)}
    told["day_end"] = is_day_end(when, BERLIN)
    assert list(faults(when, RECEIVED, BERLIN)) == [name for name, is_so in told.items() if is_so]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-20T23:59:59+01:00", True),
        ("2026-01-20T00:00:00+01:00", True),
        ("2026-01-20T23:59:59+00:00", True),
        ("2026-01-20T00:00:00+00:00", True),
        ("2026-07-20T00:00:00+02:00", True),
        ("2026-07-20T00:00:00+01:00", False),
        ("2026-01-20T23:59:58+01:00", False),
        ("2026-01-20T00:00:01+01:00", False),
        ("2026-01-20T23:59:59.000001+01:00", False),
        ("2026-01-20T12:00:00+01:00", False),
        ("2026-01-20T00:00:00+05:00", False),
    ],
)
def test_day_ends_are_those_of_the_partner_and_of_utc(text: str, expected: bool) -> None:
    when = (datetime.fromisoformat(text) - EPOCH) // timedelta(microseconds=1)
    assert is_day_end(when, BERLIN) == expected


@pytest.mark.parametrize(
    ("item", "missing"),
    [
        (Item(), ()),
        (Item(registered=1), ()),
        (Item(registered=1, shipped=2), ()),
        (Item(shipped=2), ("registered",)),
        (Item(packed=2), ("registered",)),
        (Item(producing=2, canceled=3), ("registered",)),
        # What cannot be made was never accepted, and of a delay nothing follows.
        (Item(canceled=3), ()),
        (Item(delayed=3), ()),
    ],
)
def test_only_a_registration_can_be_missing(item: Item, missing: tuple[str, ...]) -> None:
    assert missing_steps(item) == missing


@pytest.mark.parametrize("told", list(product([1, None], repeat=3)))
def test_skipped_optional_steps_are_not_missing(told: tuple[int | None, ...]) -> None:
    steps = dict(zip(OPTIONAL_STEPS, told, strict=True))
    item = Item(registered=1, shipped=2, **steps)
    assert is_under_way(item)
    assert missing_steps(item) == ()


def test_every_step_on_the_way_is_expected_or_optional() -> None:
    assert (*EXPECTED_STEPS, *OPTIONAL_STEPS) == PROGRESS


def test_whose_fault_a_refusal_is() -> None:
    own = {type for type in STATUS if is_own_fault(type)}
    assert {"invalid_datetime", "missing_parameter", "key_expired", "not_your_item"} <= own
    assert own.isdisjoint({"overloaded", "unavailable", "defect", *OTHERS_FAULT})
    assert set(STATUS) > OTHERS_FAULT


def test_posts_refused_through_others_fault_count_for_nothing() -> None:
    refused = {"invalid_datetime": 3, "key_disabled": 5, "overloaded": 7, "not_your_item": 1}
    assert refused_posts(16, refused) == Tally(4, 20)
    assert refused_posts(0, {}) == Tally(0, 0)
    with pytest.raises(KeyError):
        refused_posts(1, {"what is no error type": 1})


def test_a_score_by_hand() -> None:
    found = score(
        {
            "slow": Tally(10, 100),  # a tenth, worthless at a half: 80 points
            "missing": Tally(0, 20),  # 100
            "future": Tally(5, 100),  # a twentieth, worthless at a tenth: 50
            "day_end": Tally(60, 100),  # 0
            "refused": Tally(5, 100),  # a twentieth, worthless at a fifth: 75
        }
    )
    assert [each.points for each in found.grades] == pytest.approx([80, 100, 50, 0, 75])
    # 30 * 80 + 20 * 100 + 10 * 50 + 15 * 0 + 25 * 75, of 100
    assert found.points == pytest.approx(67.75)


def test_what_is_not_counted_changes_nothing() -> None:
    found = score({"slow": Tally(10, 100), "refused": Tally(0, 0)})
    assert found.points == pytest.approx(80)
    assert [each.points for each in found.grades[1:]] == [None] * 4


def test_without_anything_counted_there_is_no_score() -> None:
    nothing = score({})
    assert isinstance(nothing, Score)
    assert nothing.points is None
    assert Tally().share is None


def test_parts_are_weighed_to_a_hundred() -> None:
    assert tuple(part.name for part in PARTS) == NAMES
    assert sum(part.weight for part in PARTS) == 100


@given(sheets)
def test_the_score_is_from_0_to_100_and_between_its_parts(sheet: dict[Name, Tally]) -> None:
    found = score(sheet)
    points = [each.points for each in found.grades if each.points is not None]
    if found.points is None:
        assert points == []
    else:
        assert -1e-9 <= min(points) - 1e-9 <= found.points <= max(points) + 1e-9 <= 100 + 1e-9


@given(sheets, st.sampled_from(NAMES))
def test_one_more_offence_never_helps(sheet: dict[Name, Tally], name: Name) -> None:
    counted = sheet.get(name, Tally()) + Tally(0, 1)
    kept = score(sheet | {name: counted}).points
    offended = score(sheet | {name: counted + Tally(1, 0)}).points
    assert kept is not None
    assert offended is not None
    assert offended <= kept


@given(st.lists(st.booleans()), st.lists(st.booleans()))
def test_tallies_of_parts_can_be_added(one: list[bool], two: list[bool]) -> None:
    assert tally(one) + tally(two) == tally([*one, *two]) == Tally(sum(one + two), len(one + two))
