"""Which spans an item tells of: each case by hand, and what must hold for all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudsignal.protocol.items import Item
from cloudsignal.server.insight.steps import ALL_STEPS, STEPS, TO_SHIPPED, Span, spans

NOW = 100

times = st.none() | st.integers(0, NOW)
items = st.builds(
    lambda registered, **others: Item(registered=registered, first_registered=registered, **others),
    registered=times,
    producing=times,
    produced=times,
    packed=times,
    shipped=times,
    canceled=times,
    delayed=times,
)


def registered(when: int, **others: int) -> Item:
    return Item(registered=when, first_registered=when, **others)


def told(item: Item) -> dict[str, tuple[int, int, bool]]:
    return {"-".join(span.step): (span.begin, span.end, span.ended) for span in spans(item, NOW)}


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (Item(), {}),
        (Item(delayed=5), {}),
        (
            registered(10),
            {"registered-producing": (10, NOW, False), "registered-shipped": (10, NOW, False)},
        ),
        (
            registered(10, producing=20, produced=30, packed=40, shipped=50),
            {
                "registered-producing": (10, 20, True),
                "producing-produced": (20, 30, True),
                "produced-packed": (30, 40, True),
                "packed-shipped": (40, 50, True),
                "registered-shipped": (10, 50, True),
                "producing-shipped": (20, 50, True),
                "produced-shipped": (30, 50, True),
            },
        ),
        # Nothing can be said of the steps around one that was skipped.
        (
            registered(10, packed=40),
            {
                "registered-shipped": (10, NOW, False),
                "packed-shipped": (40, NOW, False),
            },
        ),
        (
            registered(10, packed=10, shipped=10),
            {"registered-shipped": (10, 10, True), "packed-shipped": (10, 10, True)},
        ),
        # A canceled item would have taken longer.
        (
            registered(10, producing=20, canceled=35),
            {
                "registered-producing": (10, 20, True),
                "producing-produced": (20, 35, False),
                "registered-shipped": (10, 35, False),
                "producing-shipped": (20, 35, False),
            },
        ),
        # After a delay it was sent back to be printed again.
        (
            registered(10, producing=60, produced=30, delayed=50),
            {
                "registered-producing": (10, 60, True),
                "producing-produced": (60, NOW, False),
                "produced-packed": (30, NOW, False),
                "registered-shipped": (10, NOW, False),
                "producing-shipped": (60, NOW, False),
                "produced-shipped": (30, NOW, False),
            },
        ),
        # What is dated after the end tells nothing.
        (Item(shipped=50, packed=60), {}),
    ],
)
def test_what_an_item_tells(item: Item, expected: dict[str, tuple[int, int, bool]]) -> None:
    assert told(item) == expected


def test_the_first_registration_counts() -> None:
    item = Item(registered=30, first_registered=10, producing=40)
    assert told(item)["registered-producing"] == (10, 40, True)


def test_each_step_is_declared_once() -> None:
    assert len(set(ALL_STEPS)) == len(ALL_STEPS)
    assert set(ALL_STEPS) == {*STEPS, *TO_SHIPPED}


@given(items)
def test_spans_begin_before_they_end_and_are_one_of_each_step(item: Item) -> None:
    found = list(spans(item, NOW))
    assert all(0 <= span.begin <= span.end <= NOW for span in found)
    assert len({span.step for span in found}) == len(found)


@given(items)
def test_what_has_not_ended_goes_on_until_the_end_of_the_item(item: Item) -> None:
    for span in spans(item, NOW):
        begun, done = span.step
        assert span.begin == item.times[begun]
        if span.ended:
            assert span.end == item.times[done]
        elif item.final is None:
            assert span == Span(span.step, span.begin, NOW, False)
        else:
            assert span.end == item.times[item.final]


@given(items)
def test_what_was_done_is_told(item: Item) -> None:
    found = {span.step for span in spans(item, NOW) if span.ended}
    times = item.times
    assert found == {
        (begun, done)
        for begun, done in ALL_STEPS
        if begun in times and done in times and times[begun] <= times[done]
    }
