"""The state of an order from how its items stand."""

from collections import Counter
from itertools import pairwise
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudsignal.protocol.items import Item, State
from cloudsignal.server.cloudcore.states import (
    CANCELED,
    COMPLETE,
    UPLOADED,
    VERIFIED,
    OrderState,
    history,
    order_state,
)

STATES = get_args(State)
counts = st.dictionaries(st.sampled_from(STATES), st.integers(1, 3))


@pytest.mark.parametrize(
    ("states", "unheard", "expected"),
    [
        ({}, 0, VERIFIED),
        ({}, 2, VERIFIED),
        ({"unknown": 1}, 0, UPLOADED),
        ({"registered": 2}, 0, UPLOADED),
        ({"packed": 1, "shipped": 5}, 0, UPLOADED),
        ({"packed": 1, "canceled": 5}, 0, UPLOADED),
        ({"shipped": 2}, 0, COMPLETE),
        ({"shipped": 2}, 1, UPLOADED),
        ({"shipped": 1, "canceled": 5}, 0, COMPLETE),
        ({"canceled": 2}, 0, CANCELED),
        ({"canceled": 2}, 1, UPLOADED),
    ],
)
def test_the_state_of_an_order(states: dict[str, int], unheard: int, expected: OrderState) -> None:
    assert order_state(states, unheard) == expected


@given(counts, st.integers(0, 2))
def test_an_order_has_ended_when_all_of_its_items_have(
    states: dict[str, int], unheard: int
) -> None:
    has_ended = bool(states) and not unheard and set(states) <= {"shipped", "canceled"}

    assert (order_state(states, unheard) in (COMPLETE, CANCELED)) == has_ended


# ---- what it went through ----

instants = st.integers(0, 20)
items = st.builds(
    Item,
    registered=instants,
    first_registered=instants,
    packed=st.none() | instants,
    shipped=st.none() | instants,
    canceled=st.none() | instants,
    delayed=st.none() | instants,
)


def passed(
    items: list[Item], unheard: int = 0, others: dict[str, int] | None = None
) -> list[tuple[int | None, OrderState]]:
    states = Counter(item.state for item in items) + Counter(others or {})
    return list(history(items, states, unheard))


@given(st.lists(items, max_size=4), st.integers(0, 2), counts)
def test_a_history_ends_with_the_present_and_each_of_its_states_is_another(
    items: list[Item], unheard: int, others: dict[str, int]
) -> None:
    found = passed(items, unheard, others)

    states = Counter(item.state for item in items) + Counter(others)
    assert found[-1][1] == order_state(states, unheard)
    assert all(one[1] != next[1] for one, next in pairwise(found))
    assert found[0][0] is None
    whens = [when for when, _ in found[1:] if when is not None]
    assert len(whens) == len(found) - 1
    assert whens == sorted(set(whens))


@given(st.lists(items, max_size=4).flatmap(lambda each: st.tuples(*[st.permutations(each)] * 2)))
def test_the_order_of_items_makes_no_difference(orders: tuple[list[Item], list[Item]]) -> None:
    one, other = orders
    assert passed(one) == passed(other)


def test_an_order_goes_through_its_states() -> None:
    first = Item(registered=1, first_registered=1, shipped=5)
    second = Item(registered=2, first_registered=2, canceled=4)

    assert passed([]) == [(None, VERIFIED)]
    assert passed([second]) == [(None, VERIFIED), (2, UPLOADED), (4, CANCELED)]
    assert passed([first, second]) == [(None, VERIFIED), (1, UPLOADED), (5, COMPLETE)]
    assert passed([first, second], 1) == [(None, VERIFIED), (1, UPLOADED)]


def test_an_item_that_begins_with_its_end_is_in_no_state_before() -> None:
    assert passed([Item(shipped=3)]) == [(None, VERIFIED), (3, COMPLETE)]
    assert passed([Item(shipped=3, canceled=3)]) == [(None, VERIFIED), (3, COMPLETE)]


def test_an_order_may_go_on_after_its_end() -> None:
    assert passed([Item(canceled=1, shipped=3), Item(canceled=2)]) == [
        (None, VERIFIED),
        (1, UPLOADED),
        (2, CANCELED),
        (3, COMPLETE),
    ]
