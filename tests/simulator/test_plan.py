"""The plan follows from its seed, and the lives in it are such as items have."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudsignal import Receipt
from cloudsignal.partner.posts import checked
from cloudsignal.protocol import datetimes
from cloudsignal.protocol.signals import CANCELLATION_CAUSES, ItemCanceled, ItemShipped
from cloudsignal.protocol.units import DAY_US, HOUR_US
from cloudsignal.simulator.defaults import START
from cloudsignal.simulator.ledger import Ledger
from cloudsignal.simulator.lives import Life
from cloudsignal.simulator.plan import Plan, instant
from cloudsignal.simulator.rates import FAULTS, NO_FAULTS, Rates, declared
from cloudsignal.simulator.registrations import DAYS_WEIGHTS, registrations
from cloudsignal.simulator.spellings import SPELLINGS, spelled
from cloudsignal.simulator.standings import folded_standing
from cloudsignal.simulator.working_hours import WorkingHours

seeds = st.integers(0, 2**32 - 1)
all_rates = st.sampled_from([Rates(), FAULTS, NO_FAULTS])


def plan(
    seed: int = 1, *, items: int | None = 60, rates: Rates = FAULTS, partners: int = 4
) -> Plan:
    return Plan(seed=seed, partners=partners, items=items, start=instant(START), rates=rates)


def lives(planned: Plan) -> list[Life]:
    return [life for order in planned.orders() for life in order.lives]


def sent(planned: Plan) -> bytes:
    posts = [(post.partner, post.at, post.signals) for post in planned.posts()]
    return msgspec.json.encode(posts)


# ---- it follows from its seed ----


@given(seeds, all_rates)
@settings(max_examples=20, deadline=None)
def test_the_same_seed_makes_the_same_bytes(seed: int, rates: Rates) -> None:
    assert sent(plan(seed, rates=rates)) == sent(plan(seed, rates=rates))


FIRST = ("b2b23ce9-000036", "2026-01-05 05:04:07 GMT")


def test_what_is_planned_is_the_same_on_every_machine() -> None:
    first = next(plan().posts()).signals[0]
    assert (first.order, first.datetime) == FIRST


def test_another_seed_makes_other_signals_about_other_items() -> None:
    one, other = lives(plan(1)), lives(plan(2))
    assert {life.order for life in one}.isdisjoint(life.order for life in other)


@given(seeds)
@settings(max_examples=10, deadline=None)
def test_what_happens_is_the_same_however_it_is_told(seed: int) -> None:
    calm, wild = (lives(plan(seed, rates=rates)) for rates in (NO_FAULTS, FAULTS))
    assert [life.steps for life in without_ids(calm)] == [life.steps for life in without_ids(wild)]


def without_ids(found: list[Life]) -> list[Life]:
    return [msgspec.structs.replace(life, order="", item="") for life in found]


def test_without_a_number_of_items_it_goes_on() -> None:
    assert len(list(islice(plan(items=None).posts(), 2000))) == 2000


@given(seeds, st.integers(1, 50))
@settings(max_examples=20, deadline=None)
def test_there_are_as_many_items_as_asked_for(seed: int, items: int) -> None:
    found = lives(plan(seed, items=items))
    assert len(found) == items
    assert len({(life.order, life.item) for life in found}) == items


@given(seeds, st.integers(0, 3 * DAY_US))
@settings(max_examples=20, deadline=None)
def test_until_an_instant_is_the_begin_of_all(seed: int, after: int) -> None:
    planned, until = plan(seed), instant(START) + after
    posts, orders = list(planned.posts(until=until)), list(planned.orders(until=until))
    assert posts == [post for post in planned.posts() if post.at <= until]
    assert orders == [order for order in planned.orders() if order.arrives <= until]
    assert {told.life.order for post in posts for told in post.told} <= {
        order.lives[0].order for order in orders
    }


def test_until_an_instant_there_is_an_end_of_what_has_none() -> None:
    until = instant(START) + HOUR_US
    assert list(plan(items=None).orders(until=until))[-1].arrives > until - HOUR_US / 10


# ---- what is registered of the orders ----


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_each_order_is_registered_with_its_items_and_due_at_the_end_of_a_working_day(
    seed: int,
) -> None:
    planned = plan(seed)
    told = list(registrations(planned))
    assert told == list(registrations(planned))
    partners = {each.name: each for each in planned.print_partners()}
    for order, each in zip(planned.orders(), told, strict=True):
        assert list(each.items) == [life.item for life in order.lives]
        assert len({each.reference, *each.items.values()}) == 1 + len(order.lives)
        hours = partners[each.partner_name].hours
        assert hours.is_open(each.due)
        assert not hours.is_open(each.due + 1)
        assert hours.day_of(each.due) - hours.day_of(order.arrives) >= min(DAYS_WEIGHTS)


def test_some_items_are_late_and_most_are_not() -> None:
    planned = plan(items=6000, partners=8)
    due = {item: each.due for each in registrations(planned) for item in each.items}
    shipped = [life for life in lives(planned) if life.ending.state == "shipped"]
    late = sum(life.ending.times["shipped"] > due[life.item] for life in shipped)
    assert 0.02 < late / len(shipped) < 0.15


def test_the_zone_of_a_print_partner_is_as_far_ahead_as_its_hours() -> None:
    moment = datetime(2026, 7, 1, tzinfo=UTC)
    for each in plan(partners=100).print_partners():
        ahead = moment.astimezone(ZoneInfo(each.timezone)).utcoffset()
        assert ahead == timedelta(hours=each.hours.offset_hours)


# ---- the lives ----


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_time_goes_on_within_an_item_and_work_is_done_in_working_hours(seed: int) -> None:
    planned = plan(seed, partners=8)
    partners = planned.print_partners()
    for order in planned.orders():
        for life in order.lives:
            instants = [order.arrives, *(step.instant for step in life.steps)]
            assert all(one < other for one, other in pairwise(instants))
            hours = partners[order.partner].hours
            assert all(hours.is_open(step.instant) for step in life.steps)


def test_the_rates_are_met() -> None:
    rates = Rates(skipped=0.2, delayed=0.3, canceled=0.1, split=0.2, stuck=0.05)
    found = lives(plan(items=6000, rates=rates))
    ended = Counter(life.ending.state for life in found)
    stuck = sum(life.ending.state not in ("shipped", "canceled") for life in found)
    parcels = Counter(len(life.ending.parcels) for life in found)
    delayed = sum("delayed" in life.ending.times for life in found)
    skipped = sum("packed" not in life.ending.times for life in found if life.ending.parcels)
    assert stuck / 6000 == pytest.approx(0.05, abs=0.015)
    assert ended["canceled"] / 6000 == pytest.approx(0.1 * 0.95, abs=0.02)
    assert parcels[2] / ended["shipped"] == pytest.approx(0.2, abs=0.03)
    # A delay that would have come after the shipment is none.
    assert delayed / 6000 == pytest.approx(0.3 * 0.85, abs=0.05)
    assert skipped / ended["shipped"] == pytest.approx(0.2, abs=0.03)


def test_nothing_happens_whose_rate_is_zero() -> None:
    rates = Rates(skipped=0, delayed=0, canceled=0, split=0, stuck=0)
    for life in lives(plan(items=300, rates=rates)):
        assert list(life.ending.times) == [
            "registered", "producing", "produced", "packed", "shipped"
        ]  # fmt: skip


def test_cancellations_have_a_published_cause_and_a_message() -> None:
    planned = plan(items=400, rates=Rates(canceled=1, stuck=0))
    causes = {
        step.fields["cause"]
        for life in lives(planned)
        for step in life.steps
        if step.type is ItemCanceled and step.fields["message"]
    }
    assert causes == set(CANCELLATION_CAUSES)


@given(seeds, all_rates)
@settings(max_examples=20, deadline=None)
def test_servers_take_every_signal_and_read_the_instant_that_was_meant(
    seed: int, rates: Rates
) -> None:
    for post in plan(seed, items=20, rates=rates).posts():
        assert len(checked(post.signals)) == len(post.told)
        for told in post.told:
            assert datetimes.parse(told.signal.datetime, UTC) == told.instant


@given(seeds, st.sampled_from(["2000-01-08", "2100-06-30"]))
@settings(max_examples=20, deadline=None)
def test_a_plan_that_may_begin_ends_in_years_that_servers_take(seed: int, start: str) -> None:
    planned = msgspec.structs.replace(plan(seed), start=instant(start))
    planned.check_years()
    for post in planned.posts():
        checked(post.signals)


@pytest.mark.parametrize("start", ["2000-01-07", "2100-07-02"])
def test_a_plan_that_could_leave_those_years_is_refused(start: str) -> None:
    with pytest.raises(ValueError, match="signals are of the years 2000 to 2100: begin between"):
        msgspec.structs.replace(plan(), start=instant(start)).check_years()


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_the_protocols_rules_and_the_story_agree_on_how_an_item_ends(seed: int) -> None:
    planned = plan(seed, items=40, rates=msgspec.structs.replace(FAULTS, back_dated=0, day_end=0))
    ledger = Ledger()
    for post in planned.posts():
        ledger.stored(post, receipt_of(len(post.told)), retried=False)
    assert len(ledger.items) == 40
    for item in ledger.items:
        assert item.is_complete
        assert not item.is_redated
        assert folded_standing(item.folded) == item.life.ending


def receipt_of(signals: int) -> Receipt:
    return Receipt(signals, signals, 0, signals)


# ---- the disturbances ----


def test_without_faults_each_signal_is_told_once_at_once_and_as_it_was() -> None:
    planned = plan(items=300, rates=NO_FAULTS)
    told = [each for post in planned.posts() for each in post.told]
    assert len(told) == sum(len(life.steps) for life in lives(planned))
    assert not any(each.is_redated for each in told)
    assert all(len(post.told) == 1 for post in planned.posts())
    for post in planned.posts():
        assert 0 < post.at - post.told[0].instant <= 90_000_000


def only(name: str, rate: float = 0.5) -> Rates:
    return msgspec.structs.replace(NO_FAULTS, **{name: rate})


def test_repeats_are_the_same_signals_later() -> None:
    posts = list(plan(items=1000, rates=only("repeated", 0.2)).posts())
    counted = Counter(post.signals for post in posts)
    assert set(counted.values()) == {1, 2}
    assert sum(count == 2 for count in counted.values()) / len(counted) == pytest.approx(
        0.2, abs=0.03
    )


def test_late_signals_come_hours_later() -> None:
    posts = list(plan(items=1000, rates=only("late", 0.2)).posts())
    late = sum(post.at - post.told[0].instant > 0.4 * HOUR_US for post in posts)
    assert late / len(posts) == pytest.approx(0.2, abs=0.03)


def test_reordered_signals_come_in_another_order() -> None:
    posts = list(plan(items=1000, rates=only("reordered", 0.2)).posts())
    steps: dict[str, list[int]] = {}
    for told in (each for post in posts for each in post.told):
        steps.setdefault(told.life.item, []).append(told.step)
    overtaken = sum(one > other for told in steps.values() for one, other in pairwise(told))
    assert overtaken / len(posts) == pytest.approx(0.13, abs=0.06)


@given(seeds)
@settings(max_examples=10, deadline=None)
def test_nothing_is_told_before_it_happens(seed: int) -> None:
    assert all(each.instant <= post.at for post in plan(seed).posts() for each in post.told)


def test_back_dated_signals_mean_an_earlier_instant() -> None:
    told = [
        each
        for post in plan(items=1000, rates=only("back_dated", 0.2)).posts()
        for each in post.told
    ]
    early = [each for each in told if each.instant < each.life.steps[each.step].instant]
    assert all(each.is_redated == (each in early) for each in told[:300])
    assert len(early) / len(told) == pytest.approx(0.2, abs=0.03)


def test_days_that_are_told_at_their_end_are_told_at_17() -> None:
    planned = plan(items=1000, rates=only("day_end", 1.0))
    partners = planned.print_partners()
    for post in planned.posts():
        hours = partners[post.partner].hours
        for told in post.told:
            true = told.life.steps[told.step].instant
            end = hours.at_hour(hours.day_of(true), 17)
            assert told.instant == (end if true < end else true)


def test_bundles_are_of_one_order() -> None:
    posts = list(plan(items=1000, rates=only("bundled", 1.0)).posts())
    assert max(len(post.told) for post in posts) > 2
    assert all(len({signal.order for signal in post.signals}) == 1 for post in posts)


def test_datetimes_are_spelled_in_every_way() -> None:
    posts = list(plan(items=300, rates=only("spelled", 1.0)).posts())
    shapes = {
        "".join("9" if c.isdigit() else c for c in post.signals[0].datetime) for post in posts
    }
    assert {"9999-99-99 99:99:99 GMT", "9999-99-99T99:99:99Z"} <= shapes
    assert any(".999999999" in shape for shape in shapes)


@given(st.integers(0, 10**9), st.sampled_from(SPELLINGS), st.sampled_from([-8.0, 0.0, 5.5, 10.0]))
def test_a_spelling_is_read_back(milliseconds: int, spelling: str, offset: float) -> None:
    meant = instant(START) + milliseconds * 1000
    text = spelled(meant, spelling, offset)  # type: ignore[arg-type]
    assert datetimes.parse(text, UTC) == meant


def test_some_items_leave_in_two_parcels_with_the_same_option() -> None:
    found = lives(plan(items=200, rates=Rates(split=1, canceled=0, stuck=0)))
    for life in found:
        one, other = [step for step in life.steps if step.type is ItemShipped]
        assert one.fields["tracking"] != other.fields["tracking"]
        assert one.fields["shipping_option"] == other.fields["shipping_option"]


# ---- working hours ----

WEEK = ((8, 17), (8, 17), (8, 17), (8, 17), (8, 17), None, None)
MONDAY = instant("2026-01-05")


def test_work_goes_on_the_next_day_and_after_the_weekend() -> None:
    hours = WorkingHours(WEEK, 0.0)
    friday = MONDAY + 4 * DAY_US
    assert hours.after(MONDAY, 2 * HOUR_US) == MONDAY + 10 * HOUR_US
    assert hours.after(MONDAY + 16 * HOUR_US, 2 * HOUR_US) == MONDAY + DAY_US + 9 * HOUR_US
    assert hours.after(friday + 16 * HOUR_US, 2 * HOUR_US) == MONDAY + 7 * DAY_US + 9 * HOUR_US


def test_days_off_are_no_days_of_a_term() -> None:
    hours = WorkingHours(WEEK, 0.0)
    friday = MONDAY + 4 * DAY_US
    assert hours.closing(MONDAY, 2) == MONDAY + 2 * DAY_US + 17 * HOUR_US
    assert hours.closing(friday + 20 * HOUR_US, 1) == MONDAY + 7 * DAY_US + 17 * HOUR_US
    assert hours.closing(friday + 30 * HOUR_US, 1) == MONDAY + 7 * DAY_US + 17 * HOUR_US


def test_hours_are_local_ones() -> None:
    assert WorkingHours(WEEK, 5.5).after(MONDAY, HOUR_US) == MONDAY + round(3.5 * HOUR_US)
    assert WorkingHours(WEEK, 5.5).is_open(MONDAY + 3 * HOUR_US)
    assert not WorkingHours(WEEK, -8.0).is_open(MONDAY + 9 * HOUR_US)


# ---- the declaration of the rates ----


def test_faults_raise_every_disturbance_and_leave_the_lives() -> None:
    for each in declared():
        usual, more, none = (getattr(rates, each.name) for rates in (Rates(), FAULTS, NO_FAULTS))
        if each.kind == "disturbance":
            assert none == 0 < usual < more
        else:
            assert none == usual == more > 0
