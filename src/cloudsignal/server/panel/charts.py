"""Charts over time, laid out: which bar stands where, how high, and what the axes say. ``charts.html`` draws them.

Pure. Made here rather than by a library for charts: what those make brings styles and scripts of its own into the
page, which its Content-Security-Policy keeps out, and knows nothing of light and dark.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from msgspec import Struct

WIDTH: Final = 720
HEIGHT: Final = 240
LEFT: Final = 52
RIGHT: Final = 8
TOP: Final = 12
BOTTOM: Final = 28
TICKS: Final = 4
"""About how many lines there are beside the lowest."""
ROWS_MAX: Final = 60
"""How many bars are told as a table: it is sent again whenever it changes."""
_STEPS: Final = (1, 2, 5)


class Part(Struct, frozen=True):
    """A part of a bar: of which series, counted from 0, and where."""

    series: int
    y: float
    height: float


class Bar(Struct, frozen=True):
    """A bar, and what it tells in words: of when it is, and of each series how many."""

    x: float
    width: float
    when: str
    counts: tuple[int, ...]
    title: str
    parts: tuple[Part, ...]

    @property
    def total(self) -> int:
        """How many of all series."""
        return sum(self.counts)


class Row(Struct, frozen=True):
    """A bar as a row of a table: how many of each series that occurs in the chart, and of all."""

    when: str
    counts: tuple[int, ...]
    total: int


class Tick(Struct, frozen=True):
    """A mark of an axis."""

    at: float
    label: str


class Series(Struct, frozen=True):
    """One of the things that are stacked, and how many of it there are in all."""

    name: str
    total: int


class Chart(Struct, frozen=True):
    """Stacked bars over time."""

    bars: tuple[Bar, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    series: tuple[Series, ...]
    total: int

    @property
    def occurring(self) -> tuple[Series, ...]:
        """The series of which there is anything."""
        return tuple(each for each in self.series if each.total)

    @property
    def highest(self) -> Bar | None:
        """The bar of the most, the last of several; None if there is no bar."""
        return max(reversed(self.bars), key=lambda bar: bar.total, default=None)

    @property
    def rows(self) -> tuple[Row, ...]:
        """The same as a table, the newest first: at most ``ROWS_MAX``."""
        return tuple(self._row(bar) for bar in self.bars[: -ROWS_MAX - 1 : -1])

    def _row(self, bar: Bar) -> Row:
        each = zip(self.series, bar.counts, strict=True)
        return Row(bar.when, tuple(count for series, count in each if series.total), bar.total)


def stacked(
    begins: Sequence[int],
    counts: Mapping[tuple[int, str], int],
    names: Sequence[str],
    *,
    says: Callable[[int], str],
    marks: Mapping[int, str],
) -> Chart:
    """A bar for each time that begins then, with its counts by name, the first name lowest.

    ``says`` tells a time in words, ``marks`` what the axis says at some of them.
    """
    totals = [sum(counts.get((begin, name), 0) for name in names) for begin in begins]
    step = step_of(max(totals, default=0))
    top = step * max(1, -(-max(totals, default=0) // step))
    bar = (WIDTH - LEFT - RIGHT) / max(1, len(begins))
    return Chart(
        bars=tuple(
            _bar(
                LEFT + place * bar,
                bar,
                top,
                says(begin),
                [counts.get((begin, n), 0) for n in names],
                names,
            )
            for place, begin in enumerate(begins)
            if totals[place]
        ),
        x_ticks=tuple(
            Tick(round(LEFT + place * bar, 1), marks[begin])
            for place, begin in enumerate(begins)
            if begin in marks
        ),
        y_ticks=tuple(
            Tick(round(_y(value, top), 1), f"{value:,}") for value in range(0, top + 1, step)
        ),
        series=tuple(
            Series(name, sum(counts.get((begin, name), 0) for begin in begins)) for name in names
        ),
        total=sum(totals),
    )


def step_of(most: int) -> int:
    """From line to line of an axis that has to reach so far: 1, 2 or 5, with noughts."""
    step, power = 1, 1
    while step * TICKS < most:
        place = _STEPS.index(step // power) + 1
        if place == len(_STEPS):
            place, power = 0, power * 10
        step = _STEPS[place] * power
    return step


def _bar(
    x: float, width: float, top: int, when: str, values: Sequence[int], names: Sequence[str]
) -> Bar:
    parts, below = [], 0
    for series, value in enumerate(values):
        if value:
            y = _y(below + value, top)
            parts.append(Part(series, round(y, 1), round(_y(below, top) - y, 1)))
        below += value
    told = ", ".join(
        f"{value:,} {name}" for name, value in zip(names, values, strict=True) if value
    )
    gap = min(2.0, width * 0.2)
    return Bar(
        round(x + gap / 2, 1),
        round(width - gap, 1),
        when,
        tuple(values),
        f"{when}: {told}",
        tuple(parts),
    )


def _y(value: int, top: int) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top)
