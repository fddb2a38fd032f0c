from datetime import UTC
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudsignal.protocol import datetimes, items
from cloudsignal.protocol.items import ARRIVAL_FINDINGS, FINDINGS, Item
from cloudsignal.protocol.signals import (
    BY_NAME,
    CANCELLATION_CAUSES,
    ItemRegistered,
    ItemShipped,
    Signal,
)
from cloudsignal.protocol.wire import Report
from tests.strategies import histories, report_of

STATES = {
    "ItemRegistered": "registered",
    "ItemProduce": "producing",
    "ItemProduced": "produced",
    "ItemPacked": "packed",
    "ItemShipped": "shipped",
    "ItemCanceled": "canceled",
    "ItemDelay": "delayed",
    "ItemError": "delayed",
}
LADDER = ["registered", "producing", "produced", "packed"]
ENDS = ["shipped", "canceled"]
UNDELAYED = tuple(BY_NAME[name] for name, state in STATES.items() if state != "delayed")

MINUTE_US = 60_000_000
ONE_PM = datetimes.parse("2016-01-20 13:00:00 GMT", UTC)


def fold(reports: list[Report], received: int | None = None) -> Item:
    item = Item()
    for report in reports:
        item.merge(report, received=report.datetime if received is None else received)
    return item


def reports_of(history: list[Signal]) -> list[Report]:
    return [report_of(signal) for signal in history]


def less_arrival(item: Item) -> Item:
    item.noted -= ARRIVAL_FINDINGS
    return item


def report(type_name: str, minute: int = 0, **extra: str) -> Report:
    if type_name == "ItemShipped":
        extra = {"tracking": "A1", "shipping_option": "GLS"} | extra
    datetime = f"2016-01-20 13:{minute:02}:00 GMT"
    return report_of(BY_NAME[type_name](order="1", item="2", datetime=datetime, **extra))


# ---- the rules, written down once more, over the whole set ---------------------------------------


def view(item: Item) -> dict[str, Any]:
    return {
        "state": item.state,
        "delayed": item.is_delayed,
        "parcels": [(parcel.tracking, parcel.shipping_option) for parcel in item.parcels],
        "cause": item.cause and item.cause.value,
        "message": item.message and item.message.value,
        "delay_hours": item.delay_hours,
        "times": item.times,
        "latest": item.latest,
        "findings": [name for name in item.findings if name not in ARRIVAL_FINDINGS],
    }


def expected(reports: list[Report]) -> dict[str, Any]:
    when: dict[str, list[int]] = {state: [] for state in STATES.values()}
    for report in reports:
        when[STATES[type(report.signal).__name__]].append(report.datetime)
    end = expected_end(when)
    steps = [(at, LADDER.index(state)) for state in LADDER for at in when[state]]
    delay = max(when["delayed"], default=None)
    hours = latest_told("delay", reports)
    return {
        "state": end or expected_progress(steps, delay),
        "delayed": end is None and delay is not None and all(at < delay for at, _ in steps),
        "parcels": expected_parcels(reports),
        "cause": latest_told("cause", reports),
        "message": latest_told("message", reports),
        "delay_hours": None if hours is None else float(hours),
        "times": {
            state: min(at) if state == "registered" else max(at) for state, at in when.items() if at
        },
        "latest": max((report.datetime for report in reports), default=None),
        "findings": expected_findings(reports, when, end),
    }


def expected_end(when: dict[str, list[int]]) -> str | None:
    ends = [(max(when[end]), end == "shipped", end) for end in ENDS if when[end]]
    return max(ends)[-1] if ends else None


def expected_progress(steps: list[tuple[int, int]], delay: int | None) -> str:
    since = [rank for at, rank in steps if delay is not None and at >= delay]
    ranks = since or [rank for _, rank in steps]
    return LADDER[max(ranks)] if ranks else "unknown"


def expected_parcels(reports: list[Report]) -> list[tuple[str, str]]:
    first: dict[tuple[str, str], int] = {}
    for report in reports:
        if isinstance(signal := report.signal, ItemShipped):
            parcel = (signal.tracking, signal.shipping_option)
            first[parcel] = min(report.datetime, first.get(parcel, report.datetime))
    return sorted(first, key=lambda parcel: (first[parcel], parcel))


def latest_told(name: str, reports: list[Report]) -> str | None:
    told = [
        (report.datetime, report.fingerprint, value)
        for report in reports
        if (value := getattr(report.signal, name, None))
    ]
    return max(told)[-1] if told else None


def expected_findings(
    reports: list[Report], when: dict[str, list[int]], end: str | None
) -> list[str]:
    causes = [
        getattr(report.signal, "cause", None)
        for report in reports
        if type(report.signal).__name__ == "ItemCanceled"
    ]
    found = {
        "cancel_without_cause": any(not cause for cause in causes),
        "unlisted_cause": any(cause and cause not in CANCELLATION_CAUSES for cause in causes),
        "shipped_and_canceled": bool(when["shipped"] and when["canceled"]),
        "after_final": end is not None
        and any(at > max(when[end]) for state in [*LADDER, "delayed"] for at in when[state]),
    }
    return sorted(name for name, is_found in found.items() if is_found)


@given(histories())
def test_an_item_is_what_the_rules_make_of_the_set_of_its_signals(history: list[Signal]) -> None:
    reports = reports_of(history)
    assert view(fold(reports)) == expected(reports)


@given(st.data())
def test_any_order_and_any_repetition_give_the_same_item(data: st.DataObject) -> None:
    reports = reports_of(data.draw(histories()))
    again = data.draw(st.lists(st.sampled_from(reports), max_size=5)) if reports else []
    shuffled = data.draw(st.permutations(reports + again))
    assert less_arrival(fold(shuffled, received=0)) == less_arrival(fold(reports))


@given(histories(), st.lists(st.integers(-10, 100), min_size=9, max_size=9))
def test_folding_the_log_again_gives_the_same_to_the_last_letter(
    history: list[Signal], arrivals: list[int]
) -> None:
    encode = msgspec.json.Encoder(order="deterministic").encode
    first, again = Item(), Item()
    log = [(r, ONE_PM + m * MINUTE_US) for r, m in zip(reports_of(history), arrivals, strict=False)]
    for entry, received in log:
        first.merge(entry, received=received)
    for entry, received in log:
        again.merge(entry, received=received)
    assert encode(first) == encode(again)


@given(histories())
def test_an_item_reads_back_as_it_was_kept(history: list[Signal]) -> None:
    item = fold(reports_of(history))
    assert msgspec.json.decode(msgspec.json.encode(item), type=Item) == item


@given(histories(UNDELAYED))
def test_without_a_delay_an_item_never_moves_backwards(history: list[Signal]) -> None:
    ranks = {state: rank for rank, state in enumerate(["unknown", *LADDER])}
    item, reached = Item(), 0
    for entry in reports_of(history):
        item.merge(entry, received=entry.datetime)
        rank = ranks.get(item.state, len(ranks))
        assert rank >= reached
        reached = rank


@given(histories(), histories())
def test_what_ended_stays_ended(before: list[Signal], after: list[Signal]) -> None:
    item = fold(reports_of(before))
    was_final = item.final is not None
    for entry in reports_of(after):
        item.merge(entry, received=entry.datetime)
    assert item.final is not None or not was_final


# ---- the rules, one by one -----------------------------------------------------------------------


@pytest.mark.parametrize("type_name", STATES)
def test_one_signal_gives_its_state(type_name: str) -> None:
    item = fold([report(type_name)])
    is_delay = STATES[type_name] == "delayed"
    assert item.state == ("unknown" if is_delay else STATES[type_name])
    assert item.is_delayed is is_delay
    assert item.times == {STATES[type_name]: ONE_PM}


@pytest.mark.parametrize(
    ("history", "state", "is_delayed"),
    [
        ([], "unknown", False),
        ([("ItemPacked", 1), ("ItemProduce", 5)], "packed", False),
        ([("ItemPacked", 1), ("ItemError", 2)], "packed", True),
        ([("ItemPacked", 1), ("ItemError", 2), ("ItemProduce", 3)], "producing", False),
        ([("ItemPacked", 1), ("ItemError", 2), ("ItemProduce", 2)], "producing", False),
        ([("ItemPacked", 3), ("ItemError", 2), ("ItemProduce", 4)], "packed", False),
        ([("ItemError", 2), ("ItemProduce", 3), ("ItemDelay", 4)], "producing", True),
        ([("ItemShipped", 1), ("ItemDelay", 2)], "shipped", False),
        ([("ItemCanceled", 1), ("ItemPacked", 2)], "canceled", False),
        ([("ItemShipped", 1), ("ItemCanceled", 2)], "canceled", False),
        ([("ItemShipped", 2), ("ItemCanceled", 1)], "shipped", False),
        ([("ItemShipped", 1), ("ItemCanceled", 1)], "shipped", False),
    ],
)
def test_state_and_delay(history: list[tuple[str, int]], state: str, is_delayed: bool) -> None:
    item = fold([report(name, minute) for name, minute in history])
    assert (item.state, item.is_delayed) == (state, is_delayed)


def test_the_first_registration_and_the_latest_of_every_other_step_are_shown() -> None:
    item = fold([report(name, m) for name in ("ItemRegistered", "ItemPacked") for m in (2, 1, 3)])
    assert item.times == {
        "registered": ONE_PM + 1 * MINUTE_US,
        "packed": ONE_PM + 3 * MINUTE_US,
    }
    assert item.registered == ONE_PM + 3 * MINUTE_US


def test_parcels_are_merged_not_overwritten() -> None:
    item = fold(
        [
            report("ItemShipped", 3, tracking="C"),
            report("ItemShipped", 2, tracking="A"),
            report("ItemShipped", 1, tracking="C"),
            report("ItemShipped", 4, tracking="A", shipping_option="DHL"),
        ]
    )
    assert [(p.tracking, p.shipping_option) for p in item.parcels] == [
        ("C", "GLS"),
        ("A", "GLS"),
        ("A", "DHL"),
    ]


@given(st.permutations(range(8)))
def test_more_parcels_than_an_item_keeps_leave_the_earliest(order: list[int]) -> None:
    reports = [report("ItemShipped", minute // 2, tracking=f"T{minute}") for minute in order]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(items, "PARCELS_MAX", 3)
        item = fold(reports)
    assert [parcel.tracking for parcel in item.parcels] == ["T0", "T1", "T2"]


def test_an_empty_text_tells_nothing() -> None:
    item = fold([report("ItemDelay", 1, cause="jam"), report("ItemDelay", 2, cause="", delay="0")])
    assert item.cause is not None
    assert item.cause.value == "jam"
    assert item.delay_hours == 0


def test_cause_and_delay_are_each_the_latest_told() -> None:
    item = fold(
        [report("ItemError", 1, cause="jam", delay="24"), report("ItemDelay", 2, cause="wet")]
    )
    assert item.cause is not None
    assert (item.cause.value, item.delay_hours) == ("wet", 24.0)


@pytest.mark.parametrize(("tests", "live"), [([True], False), ([True, False, True], True)])
def test_one_signal_that_is_no_test_makes_an_item_live(tests: list[bool], live: bool) -> None:
    item = Item()
    for test in tests:
        item.merge(report("ItemProduce"), received=ONE_PM, test=test)
    assert item.live is live


# ---- findings ------------------------------------------------------------------------------------


def test_findings_are_documented_and_no_others_are_made() -> None:
    assert set(FINDINGS) == {
        *("late", "future_datetime", "after_final", "shipped_and_canceled", "unlisted_cause"),
        *("cancel_without_cause", "slow_report"),
    }
    assert set(FINDINGS) >= ARRIVAL_FINDINGS
    assert all(FINDINGS.values())


@pytest.mark.parametrize(
    ("after_s", "found"),
    [
        (0, []),
        (-5 * 60, []),
        (-5 * 60 - 1, ["future_datetime"]),
        (60 * 60, []),
        (60 * 60 + 1, ["slow_report"]),
    ],
)
def test_a_datetime_far_from_its_arrival_is_a_finding(after_s: int, found: list[str]) -> None:
    item = Item()
    item.merge(report("ItemRegistered"), received=ONE_PM + after_s * 1_000_000)
    assert item.findings == found


@pytest.mark.parametrize(("minutes", "found"), [([1, 2, 2], []), ([1, 3, 2], ["late"])])
def test_arriving_after_a_later_dated_signal_is_late(minutes: list[int], found: list[str]) -> None:
    assert fold([report("ItemProduce", minute) for minute in minutes]).findings == found


@pytest.mark.parametrize(
    ("cause", "found"),
    [
        ({}, ["cancel_without_cause"]),
        ({"cause": ""}, ["cancel_without_cause"]),
        ({"cause": "CancelBookSize"}, []),
        ({"cause": "cancelbooksize"}, ["unlisted_cause"]),
        ({"cause": "190"}, ["unlisted_cause"]),
    ],
)
def test_a_cancellation_has_a_published_cause(cause: dict[str, str], found: list[str]) -> None:
    assert fold([report("ItemCanceled", 0, **cause)]).findings == found


@pytest.mark.parametrize(
    ("history", "found"),
    [
        ([("ItemShipped", 2), ("ItemPacked", 2)], []),
        ([("ItemShipped", 2), ("ItemPacked", 3)], ["after_final"]),
        ([("ItemPacked", 3), ("ItemShipped", 2)], ["after_final", "late"]),
        ([("ItemShipped", 2), ("ItemDelay", 3)], ["after_final"]),
        ([("ItemShipped", 2), ("ItemShipped", 3)], []),
        ([("ItemPacked", 3), ("ItemShipped", 2), ("ItemShipped", 4)], ["late"]),
    ],
)
def test_a_step_after_the_end_is_a_finding(
    history: list[tuple[str, int]], found: list[str]
) -> None:
    assert fold([report(name, minute) for name, minute in history]).findings == found


def test_being_shipped_and_canceled_is_a_finding() -> None:
    item = fold([report("ItemShipped"), report("ItemCanceled", 1, cause="CancelMiscError")])
    assert item.findings == ["shipped_and_canceled"]
    assert not item.is_after_final("shipped", ONE_PM + 5 * MINUTE_US)
    assert item.is_after_final("packed", ONE_PM + 5 * MINUTE_US)


def test_findings_of_one_signal_need_no_item() -> None:
    signal = ItemRegistered(order="1", item="2", datetime="2016-01-20 13:00:00 GMT")
    assert items.findings(signal, 5, 5, None) == frozenset()
    assert items.findings(signal, 5, 5, 6) == {"late"}
