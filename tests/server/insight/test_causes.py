"""Pareto's order, and that shares add up."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudsignal.protocol.signals import CANCELLATION_CAUSES
from cloudsignal.server.insight.causes import CAUSES_MAX, Share, pareto

counts = st.dictionaries(st.text(max_size=3), st.integers(0, 1000), max_size=40)


def test_an_example_by_hand() -> None:
    found = pareto({"CancelBookSize": 5, "": 2, "CancelMiscError": 2, "CancelBookRip": 0, "Ink": 1})
    assert found == [
        Share("CancelBookSize", 5, 0.5, 0.5),
        Share("", 2, 0.2, 0.7),
        Share("CancelMiscError", 2, 0.2, 0.9),
        Share("Ink", 1, 0.1, 1.0),
    ]


def test_the_rest_is_one_share_at_the_end() -> None:
    found = pareto({"a": 4, "b": 3, "c": 2, "d": 1}, most=2)
    assert found[:2] == [Share("a", 4, 0.4, 0.4), Share("b", 3, 0.3, 0.7)]
    assert found[2:] == [Share(None, 3, 0.3, 1.0)]


def test_every_published_cause_can_be_told() -> None:
    assert len(CANCELLATION_CAUSES) < CAUSES_MAX


def test_without_cancellations_there_are_no_causes() -> None:
    assert pareto({}) == []
    assert pareto({"CancelBookRip": 0}) == []


@given(counts, st.integers(1, 40))
def test_shares_add_up(counted: dict[str, int], most: int) -> None:
    found = pareto(counted, most=most)
    total = sum(counted.values())
    assert sum(each.count for each in found) == total
    assert len(found) <= most + 1
    for index, each in enumerate(found):
        assert each.share == each.count / total
        expected = sum(share.count for share in found[: index + 1]) / total
        assert each.cumulated == pytest.approx(expected, abs=1e-12)
    if found:
        assert found[-1].cumulated == 1


@given(counts)
def test_the_order_is_that_of_counts_then_names_whatever_order_they_come_in(
    counted: dict[str, int],
) -> None:
    found = pareto(counted, most=100)
    reverse = dict(reversed(counted.items()))
    assert pareto(reverse, most=100) == found
    assert Counter({each.cause: each.count for each in found}) == +Counter(counted)
    pairs = [(-each.count, each.cause) for each in found]
    assert pairs == sorted(pairs)
