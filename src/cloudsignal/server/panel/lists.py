"""Lists: each declares its columns once, and its pages and its CSV follow from them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final, Generic, Literal, TypeVar

import msgspec
from litestar import Response
from litestar.response import Stream
from msgspec import Struct

from cloudsignal.server.panel import sheets
from cloudsignal.server.panel.pages import Asked, iso, page, scope
from cloudsignal.server.panel.places import query
from cloudsignal.server.panel.roles import Scope
from cloudsignal.server.rules import Unfit
from cloudsignal.server.store.filters import Filter

PAGE: Final = 50
"""How many rows a page has."""
CSV_ROWS_MAX: Final = 100_000
"""How many rows of a list are exported."""
CSV_READ: Final = 500
"""How many of them are read at once."""
CSV_READS_MAX: Final = 2
"""How many exports read at once: people who look at pages must not wait for those who take all of it along."""
AS: Final = "as"
CSV: Final = "csv"


Row = TypeVar("Row")
Kind = Literal["text", "instant", "state", "values"]
"""How a value is shown: in words, as a moment in time, as the state of an item, as names and their values."""


Place = int | str | tuple[Any, ...]
"""Where a page of a list begins."""


class Part(Struct, Generic[Row], frozen=True):
    """Rows that are fewer than were asked for because enough was looked through: there may be more from a place on."""

    rows: Sequence[Row]
    place: Place


Read = Callable[..., Sequence[Row] | Part[Row]]
"""Reads rows: at most ``limit``, and from a place on, which has the name that the list gives it."""


class Column(Struct, Generic[Row], frozen=True):
    """What a list tells of each row.

    ``to`` is the page that the value leads to, ``seen_in`` says whether those see the column who see so much.
    """

    title: str
    value: Callable[[Row], Any]
    kind: Kind = "text"
    to: Callable[[Row], str] | None = None
    seen_in: Callable[[Scope], bool] = lambda _: True


class Listing(Struct, Generic[Row], frozen=True, kw_only=True):
    """A list: where it is below the panel's path, its columns, and where the page after a row begins.

    ``fields`` are the names of what rows are chosen by, in URLs. ``turn`` is the name of the place at which a page
    begins, in URLs and for who reads; without it there is one page. What is chosen can be saved where it ``saves``.
    """

    path: str
    title: str
    columns: tuple[Column[Row], ...]
    fields: tuple[str, ...] = ()
    turn: str = ""
    place: Callable[[Row], Place] = lambda _: ""
    saves: bool = False

    @property
    def name(self) -> str:
        """What it is known by where its filters are saved."""
        return self.path.strip("/")

    def columns_for(self, scope: Scope) -> list[Column[Row]]:
        """The columns that are seen by those who see so much."""
        return [each for each in self.columns if each.seen_in(scope)]

    def given(self, request: Asked) -> dict[str, str]:
        """What the rows are to be chosen by, empty where nothing is said."""
        return {name: request.query_params.get(name, "") for name in self.fields}

    def read(
        self, read: Read[Row], place: Place | None, most: int
    ) -> tuple[Sequence[Row], Place | None]:
        """At most so many rows from a place on, and the place from which there may be more, None at the end."""
        at = {self.turn: place} if place else {}
        # One more shows whether there are more.
        found = read(**at, limit=most + 1)
        if isinstance(found, Part):
            return found.rows, found.place
        if not self.turn or len(found) <= most:
            return found, None
        return found[:most], self.place(found[most - 1])


class Cell(Struct, frozen=True):
    """A value on a page, and the path of the page that it leads to."""

    kind: Kind
    value: Any
    to: str


class Table(Struct, frozen=True, kw_only=True):
    """Rows of a list, for templates."""

    title: str
    heads: list[str]
    rows: list[list[Cell]]


class Shown(Table, frozen=True, kw_only=True):
    """A page of a list, for templates.

    ``given`` is what its rows are chosen by, and ``query`` the same as a URL has it; ``older`` and ``csv`` are the
    queries of the page after it and of its CSV, ``turn`` is what the place is called at which a page begins.
    ``saved`` are the filters that somebody saved. It ``is_part`` if there may be more although the page is not full.
    """

    name: str
    given: dict[str, str]
    query: str
    turn: str
    older: str
    is_part: bool
    csv: str
    saved: list[Filter]
    error: str


async def listed(
    request: Asked,
    listing: Listing[Row],
    read: Read[Row],
    template: str,
    *,
    at: Place | None = None,
    error: str = "",
    **told: Any,
) -> Response[Any]:
    """A page of a list in a template, where it is called ``list``; or all of it as CSV if that is asked for.

    ``read`` is a verb of the store, or what chooses by one; it may raise Unfit, which is said on the page. ``at`` is
    the place at which the page begins, ``error`` what is wrong with what was posted to the page.
    """
    rows: Sequence[Row] = []
    older: Place | None = None
    try:
        _check_names(request, listing)
        if wants_csv(request):
            return await exported(request, listing, read)
        rows, older = await asyncio.to_thread(listing.read, read, at, PAGE)
    except Unfit as unfit:
        error = str(unfit)
    shown = await asyncio.to_thread(_shown, request, listing, rows, older, error)
    return page(request, template, status=400 if error else 200, list=shown, error=error, **told)


def _check_names(request: Asked, listing: Listing[Row]) -> None:
    """Make sure that what is misspelt does not list everything. Raises Unfit."""
    for name in request.query_params:
        if name not in (*listing.fields, listing.turn, AS):
            there_are = ", ".join(listing.fields) or "none here"
            raise Unfit(f"There is no filter {name!r}: there are {there_are}.")


def _shown(
    request: Asked,
    listing: Listing[Row],
    rows: Sequence[Row],
    older: Place | None,
    error: str,
) -> Shown:
    rows_shown = table(listing, rows, scope(request))
    given = listing.given(request)
    saved: list[Filter] = []
    if listing.saves:
        saved = request.app.state.store.filters.of(request.user.user.id, listing.name)
    return Shown(
        name=listing.name,
        title=rows_shown.title,
        heads=rows_shown.heads,
        rows=rows_shown.rows,
        given=given,
        query=query(given),
        turn=listing.turn,
        older=query(given | {listing.turn: str(older)}) if older else "",
        is_part=bool(older) and len(rows) < PAGE,
        csv=query(given | {AS: CSV}),
        saved=saved,
        error=error,
    )


def table(listing: Listing[Row], rows: Sequence[Row], scope: Scope) -> Table:
    """Rows of a list for a page that has more than the list."""
    columns = listing.columns_for(scope)
    cells = [[_cell(column, row) for column in columns] for row in rows]
    return Table(title=listing.title, heads=[each.title for each in columns], rows=cells)


def _cell(column: Column[Row], row: Row) -> Cell:
    value = column.value(row)
    shown = value if column.kind in ("instant", "values") else words(value)
    return Cell(column.kind, shown, column.to(row) if column.to else "")


def words(value: Any) -> str:
    """A value in words, nothing where there is none."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(words, value)) if isinstance(value, list | tuple) else str(value)


# ---- as CSV ----


def wants_csv(request: Asked) -> bool:
    """Whether all of a list is asked for, as a file."""
    return request.query_params.get(AS) == CSV


async def exported(request: Asked, listing: Listing[Row], read: Read[Row]) -> Response[Any]:
    """All rows of a list as a file, read while it is sent. Raises what ``read`` does."""
    columns = listing.columns_for(scope(request))
    pages = _pages(request.app.state.exports, listing, columns, read)
    # What cannot be read at all is answered as such; what cannot later ends the file before its time.
    first = await anext(pages)
    file = f"{listing.name.replace('/', '-')}.csv"
    return Stream(
        _joined(first, pages),
        media_type=sheets.MEDIA_TYPE,
        headers={"Content-Disposition": f'attachment; filename="{file}"'},
    )


async def _joined(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for each in rest:
        yield each


async def _pages(
    room: asyncio.Semaphore, listing: Listing[Row], columns: Sequence[Column[Row]], read: Read[Row]
) -> AsyncIterator[bytes]:
    """A list in CSV, a few rows at a time, and in the last line that it was cut off if it was."""
    head = sheets.MARK.encode() + sheets.written([[each.title for each in columns]])
    place: Place | None = None
    left = CSV_ROWS_MAX
    while True:
        most = min(CSV_READ, left)
        async with room:
            rows, place = await asyncio.to_thread(listing.read, read, place, most)
            text = await asyncio.to_thread(_written, columns, rows)
        yield head + text
        head, left = b"", left - len(rows)
        if place is None:
            return
        if not left:
            yield sheets.written([_cut_off(columns)])
            return


def _cut_off(columns: Sequence[Column[Row]]) -> list[str]:
    said = f"Cut off after {CSV_ROWS_MAX:,} rows: choose fewer by a filter, and export the rest by another"
    return [said, *[""] * (len(columns) - 1)]


def _written(columns: Sequence[Column[Row]], rows: Sequence[Row]) -> bytes:
    return sheets.written([_text(column, row) for column in columns] for row in rows)


def _text(column: Column[Row], row: Row) -> str:
    value = column.value(row)
    if value is None:
        return ""
    if column.kind == "instant":
        return iso(value)
    return msgspec.json.encode(value).decode() if column.kind == "values" else words(value)
