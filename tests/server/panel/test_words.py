"""Numbers as people read them."""

import pytest

from cloudsignal.server.insight.survival import Observation, curve
from cloudsignal.server.panel.words import duration, hours, number, percent, points, quantile

GAP = "\N{NO-BREAK SPACE}"


def said(text: str) -> str:
    return text.replace(GAP, " ")


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (None, "\N{EN DASH}"),
        (0, "< 1 s"),
        (1, "1 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (3599, "60 min"),
        (3600, "1 h"),
        (5400, "1.5 h"),
        (360_000, "100 h"),
        (36_000_000, "10,000 h"),
        (-5400, "\N{MINUS SIGN}1.5 h"),
    ],
)
def test_durations(seconds: float | None, expected: str) -> None:
    assert said(duration(seconds)) == expected


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (None, "\N{EN DASH}"),
        (0, "0 %"),
        (0.001, "< 1 %"),
        (0.5, "50 %"),
        (0.999, "> 99 %"),
        (1, "100 %"),
    ],
)
def test_shares(share: float | None, expected: str) -> None:
    assert said(percent(share)) == expected


def test_what_a_curve_does_not_reach_is_longer_than_what_is_known() -> None:
    found = curve([Observation(3600, True), Observation(7200, False)])
    assert said(quantile(found, 0.5)) == "1 h"
    assert said(quantile(found, 0.9)) == "> 1 h"
    assert quantile(curve([]), 0.5) == "\N{EN DASH}"


def test_other_numbers() -> None:
    assert [said(hours(each)) for each in (None, 24, -0.5)] == [
        "\N{EN DASH}",
        "24 h",
        "\N{MINUS SIGN}0.5 h",
    ]
    assert [points(each) for each in (None, 99.6)] == ["\N{EN DASH}", "100"]
    assert number(1234) == "1,234"
