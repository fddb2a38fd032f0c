"""How charts over time are laid out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudsignal.server.panel.charts import (
    BOTTOM,
    HEIGHT,
    ROWS_MAX,
    TICKS,
    TOP,
    Chart,
    Row,
    stacked,
    step_of,
)

NAMES = ("packed", "shipped")


def chart(counts: dict[tuple[int, str], int], begins: tuple[int, ...] = (0, 60, 120)) -> Chart:
    return stacked(begins, counts, NAMES, says=str, marks={60: "00:01"})


def test_bars_are_stacked_from_the_first_name_on() -> None:
    found = chart({(60, "packed"): 2, (60, "shipped"): 3, (120, "shipped"): 1})

    first, second = found.bars
    below, above = first.parts
    assert (first.title, second.title) == ("60: 2 packed, 3 shipped", "120: 1 shipped")
    assert (below.series, above.series, second.parts[0].series) == (0, 1, 1)
    assert below.y + below.height == HEIGHT - BOTTOM
    assert above.y + above.height == pytest.approx(below.y)
    assert above.height == pytest.approx(1.5 * below.height, abs=0.2)
    assert [(each.name, each.total) for each in found.series] == [("packed", 2), ("shipped", 4)]
    assert found.total == 6
    assert [each.label for each in found.x_ticks] == ["00:01"]
    assert [each.label for each in found.y_ticks] == ["0", "2", "4", "6"]


def test_where_nothing_is_there_is_no_bar() -> None:
    found = chart({})
    assert (found.bars, found.total) == ((), 0)
    assert [each.label for each in found.y_ticks] == ["0", "1"]


@pytest.mark.parametrize(
    ("most", "step"),
    [(0, 1), (4, 1), (5, 2), (8, 2), (9, 5), (20, 5), (21, 10), (1_000, 500), (70_000, 20_000)],
)
def test_axes_go_by_ones_twos_and_fives(most: int, step: int) -> None:
    assert step_of(most) == step


@given(
    st.dictionaries(
        st.tuples(st.sampled_from((0, 60, 120)), st.sampled_from(NAMES)), st.integers(0, 10**9)
    )
)
def test_every_bar_is_inside(counts: dict[tuple[int, str], int]) -> None:
    found = chart(counts)
    assert len(found.y_ticks) <= TICKS + 1
    for bar in found.bars:
        for part in bar.parts:
            assert part.y >= TOP - 0.1
            assert part.y + part.height <= HEIGHT - BOTTOM + 0.2
            assert part.height >= 0


def test_its_numbers_are_a_table_of_what_occurs_the_newest_first() -> None:
    found = chart({(0, "shipped"): 2, (120, "shipped"): 2})

    assert [each.name for each in found.occurring] == ["shipped"]
    assert found.rows == (Row("120", (2,), 2), Row("0", (2,), 2))
    assert found.highest is not None
    assert (found.highest.when, found.highest.total) == ("120", 2)
    assert (chart({}).rows, chart({}).highest) == ((), None)


def test_the_table_of_a_long_chart_has_the_newest_only() -> None:
    begins = tuple(range(ROWS_MAX + 2))
    found = chart({(each, "packed"): 1 for each in begins}, begins)
    assert [each.when for each in found.rows] == [str(each) for each in begins[:1:-1]]
