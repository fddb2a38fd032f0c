"""Lists as CSV: read in pages, and cut off where they are too long."""

import asyncio
import csv
import io
from typing import Any

import pytest

from cloudsignal.server.panel import lists
from cloudsignal.server.panel.lists import Column, Listing, Part, words

pytestmark = pytest.mark.anyio

NUMBERS = Listing[int](
    path="/numbers",
    title="Numbers",
    columns=(
        Column("Number", lambda each: each),
        Column("When, UTC", lambda each: each * 1_000_000 if each else None, "instant"),
        Column("More", lambda each: {"of": each} if each else None, "values"),
        Column("Even", lambda each: each % 2 == 0),
    ),
    turn="after",
    place=lambda each: each,
)


class Numbers:
    """So many numbers from 0 on; it remembers how they were asked for."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.asked: list[dict[str, int]] = []

    def __call__(self, *, after: int = -1, limit: int) -> list[int]:
        self.asked.append({"after": after, "limit": limit})
        return list(range(after + 1, min(self._count, after + 1 + limit)))


async def exported(read: Any, listing: Listing[int] = NUMBERS) -> list[list[str]]:
    pages = lists._pages(asyncio.Semaphore(1), listing, listing.columns, read)
    text = b"".join([page async for page in pages]).decode("utf-8")
    assert text.startswith("\ufeff")
    return list(csv.reader(io.StringIO(text[1:], newline="")))


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 6, 7])
async def test_all_of_a_list_is_exported_a_few_rows_at_a_time(
    monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(lists, "CSV_READ", 3)
    read = Numbers(count)

    head, *rows = await exported(read)

    assert head == ["Number", "When, UTC", "More", "Even"]
    assert [row[0] for row in rows] == [str(number) for number in range(count)]
    assert all(each["limit"] == 4 for each in read.asked)


async def test_a_cell_is_for_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    _, first, second = await exported(Numbers(2))

    assert first == ["0", "", "", "yes"]
    assert second == ["1", "1970-01-01T00:00:01Z", '{"of":1}', "no"]


@pytest.mark.parametrize("most", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("beyond", [0, 1, 9])
async def test_what_is_too_long_says_in_its_last_line_that_it_is_cut_off(
    monkeypatch: pytest.MonkeyPatch, most: int, beyond: int
) -> None:
    monkeypatch.setattr(lists, "CSV_READ", 3)
    monkeypatch.setattr(lists, "CSV_ROWS_MAX", most)

    _, *rows = await exported(Numbers(most + beyond))

    assert [row[0] for row in rows[:most]] == [str(number) for number in range(most)]
    if beyond:
        [last] = rows[most:]
        assert last[0].startswith(f"Cut off after {most} rows: choose fewer by a filter")
        assert last[1:] == ["", "", ""]
    else:
        assert len(rows) == most


async def test_where_only_a_part_was_looked_through_the_rest_is_looked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lists, "CSV_READ", 3)
    asked: list[int] = []

    def every_tenth(*, after: int = -1, limit: int) -> list[int] | Part[int]:
        asked.append(after)
        looked_at = range(after + 1, min(after + 16, 50))
        found = [each for each in looked_at if each % 10 == 0][:limit]
        return Part(found, looked_at[-1]) if looked_at[-1] < 49 else found

    _, *rows = await exported(every_tenth)

    assert [row[0] for row in rows] == ["0", "10", "20", "30", "40"]
    assert asked == [-1, 14, 29, 44]


async def test_a_list_of_one_page_is_read_once() -> None:
    read = Numbers(3)
    single = Listing[int](path="/x", title="x", columns=(Column("Number", lambda each: each),))

    assert await exported(read, single) == [["Number"], ["0"], ["1"], ["2"]]
    assert len(read.asked) == 1


async def test_what_fails_midway_is_no_whole_file() -> None:
    read = Numbers(10_000)

    def fail(*, after: int = -1, limit: int) -> list[int]:
        if after > 0:
            raise OSError("gone")
        return read(after=after, limit=limit)

    with pytest.raises(OSError, match="gone"):
        await exported(fail)


@pytest.mark.parametrize(
    ("value", "told"),
    [(None, ""), (True, "yes"), (False, "no"), (0, "0"), ([], ""), (["a", 1], "a, 1"), ("x", "x")],
)
def test_values_are_told_in_words(value: Any, told: str) -> None:
    assert words(value) == told
