"""``cloudsignal order register``: orders from tables and files of JSON."""

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from msgspec import Struct, field, structs

from cloudsignal.cli.output import (
    Config,
    Database,
    Exit,
    Failed,
    Json,
    note,
    opened,
    plain,
    print_json,
    progress_bars,
)
from cloudsignal.cli.profile import failing

if TYPE_CHECKING:
    from cloudsignal.server.bodies import Wrong
    from cloudsignal.server.store.orders import Registered, Registration
    from cloudsignal.server.store.store import Store

SHOWN_MAX: Final = 100
"""How many of the things that are wrong are told to people."""
ORDER_COLUMNS: Final = ("order", "owner", "partner", "reference", "due")
ITEM_COLUMNS: Final = {"item": "item", "item_reference": "reference"}
URL_COLUMN: Final = "tracking_url:"
"""How a column begins that has tracking URLs; the shipping option follows."""

_ITEM_PLACE: Final = re.compile(r"items\[([0-9]+)\]\.?(.*)")


class Given(Struct):
    """An order as it stands in a file, and where: in which line of a table, or which member of a list."""

    value: Any
    place: str
    lines: list[int] = field(default_factory=list)
    """Of a table: the line of each of its items."""
    wrong: list["Wrong"] = field(default_factory=list)

    def told(self, at: str) -> str:
        """The place of something within it, as people look for it."""
        found = _ITEM_PLACE.fullmatch(at)
        if found and self.lines:
            column = {"reference": "item_reference"}.get(found[2], found[2])
            return f"line {self.lines[int(found[1])]}: {column}"
        if self.lines or self.place.startswith("line"):
            return f"{self.place}: {at}" if at else self.place
        return ".".join(filter(None, (self.place, at)))


def register_orders(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="A table, CSV or .xlsx, or JSON; - is standard input."),
    ],
    json: Json = False,
    database: Database = None,
    config: Config = None,
) -> None:
    """Register the orders of a file, before their first signals or after them.

    The same again changes nothing. Orders with something wrong are left out and listed: correct them, and register the
    file once more.
    """
    with failing(), _path_of(file) as path:
        given = list(_json(path) if _is_json(path) else _table(path))
    with opened(database, config) as (store, _):
        registered = _register(store, given)
    wrong = [(each, one) for each in given for one in each.wrong]
    _tell(registered, wrong, json=json)
    if wrong:
        left = sum(bool(each.wrong) for each in given)
        raise Failed(f"{left} of {len(given)} orders are not registered", Exit.REFUSED)


def _register(store: "Store", given: Sequence[Given]) -> "Registered":
    from cloudsignal.server.store.orders import REGISTRATIONS_MAX, Registered

    done = Registered()
    with progress_bars() as progress:
        for start in range(0, len(given), REGISTRATIONS_MAX):
            page = given[start : start + REGISTRATIONS_MAX]
            checked = [(each, told) for each in page if (told := _checked(each)) is not None]
            more = _register_page(store, checked)
            done = Registered(
                done.new + more.new, done.changed + more.changed, done.unchanged + more.unchanged
            )
            progress("orders done", start + len(page), len(given))
    return done


def _register_page(store: "Store", page: list[tuple[Given, "Registration"]]) -> "Registered":
    """Register those orders that can be."""
    from cloudsignal.server import clock
    from cloudsignal.server.bodies import Wrong
    from cloudsignal.server.store.errors import RegistrationRefused
    from cloudsignal.server.store.orders import Registered

    while page:
        try:
            return store.orders.register([told for _, told in page], now=clock.now())
        except RegistrationRefused as error:
            for fault in error.faults:
                page[fault.index][0].wrong.append(Wrong(fault.field, fault.info))
            page = [(each, told) for each, told in page if not each.wrong]
    return Registered()


def _checked(given: Given) -> "Registration | None":
    from cloudsignal.server.bodies import Unfit
    from cloudsignal.server.registrations import registration

    try:
        told = registration(given.value)
    except Unfit as error:
        given.wrong += error.wrong
        return None
    return None if given.wrong else told


def _tell(registered: "Registered", wrong: list[tuple[Given, "Wrong"]], *, json: bool) -> None:
    if json:
        listed = [{"at": each.told(one.at), "info": one.info} for each, one in wrong]
        print_json(structs.asdict(registered) | {"wrong": listed})
        return
    print(
        f"{registered.new} orders are new, {registered.changed} changed,"
        f" {registered.unchanged} were so already."
    )
    for each, one in wrong[:SHOWN_MAX]:
        note(plain(f"{each.told(one.at)}: {one.info}"))
    if len(wrong) > SHOWN_MAX:
        note(f"and {len(wrong) - SHOWN_MAX} more")


# ---- files ---------------------------------------------------------------------------------------


@contextmanager
def _path_of(file: Path) -> Iterator[Path]:
    """The file; what stands on standard input is written to one, because a table is read twice."""
    if str(file) != "-":
        yield file
        return
    import tempfile  # Who has a file, and every other command, starts without it.

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "standard input"
        path.write_bytes(sys.stdin.buffer.read())
        yield path


def _is_json(path: Path) -> bool:
    """Whether it is JSON by what it begins with."""
    try:
        with path.open("rb") as file:
            return file.read(1024).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"[")
    except OSError as error:
        raise Failed(f"{path} cannot be read: {error.strerror}", Exit.SETUP) from None


def _json(path: Path) -> Iterator[Given]:
    """One order, a list of them, or such a list as the member ``orders``."""
    import msgspec

    try:
        value = msgspec.json.decode(path.read_bytes().removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Failed(f"{path.name} is not JSON: {error}", Exit.SETUP) from None
    if isinstance(value, dict) and value.keys() == {"orders"}:
        value = value["orders"]
    if not isinstance(value, list):
        yield Given(value, "")
        return
    for index, each in enumerate(value):
        yield Given(each, f"orders[{index}]")


def _table(path: Path) -> Iterator[Given]:
    """The orders of a table: a row an item, and as many rows of an order as it has items."""
    from cloudsignal.partner.tables import ENCODING, form_of, lines
    from cloudsignal.server.bodies import Wrong

    form = form_of(path, delimiter=None, encoding=ENCODING, datetime_format=None)
    rows = (line for line in lines(path, form) if not line.is_blank)
    header = next(rows, None)
    columns = _columns([] if header is None else header.cells)
    found: dict[str, Given] = {}
    for line in rows:
        cells = [cell.strip() for cell in line.cells]
        row = {name: cell for name, cell in zip(columns, cells, strict=False) if cell}
        order = row.get("order", "")
        given = found.get(order) if order else None
        if given is None:
            given = Given({}, f"line {line.number}")
            # A row that names no order stands by itself.
            found[order or given.place] = given
        for name, what in _told(given.value, row, given, line.number):
            info = f"is {what!r} here, but another in {given.place}"
            given.wrong.append(Wrong(f"{name} (line {line.number})", info))
    yield from found.values()


def _told(
    value: dict[str, Any], row: dict[str, str], given: Given, number: int
) -> Iterator[tuple[str, str]]:
    """Put what a row says into its order; what another row says otherwise."""
    for name in ORDER_COLUMNS:
        if name in row and value.setdefault(name, row[name]) != row[name]:
            yield name, row[name]
    for name in row:
        if name.startswith(URL_COLUMN):
            urls = value.setdefault("tracking_urls", {})
            if urls.setdefault(name.removeprefix(URL_COLUMN), row[name]) != row[name]:
                yield name, row[name]
    item = {field: row[column] for column, field in ITEM_COLUMNS.items() if column in row}
    if item:
        value.setdefault("items", []).append(item)
        given.lines.append(number)


def _columns(cells: Sequence[str]) -> list[str]:
    """The names of the columns. Raises Failed when one is none of those that there are."""
    names = [cell.strip() for cell in cells]
    known = (*ORDER_COLUMNS, *ITEM_COLUMNS)
    unknown = [each for each in names if each not in known and not each.startswith(URL_COLUMN)]
    if unknown or not {"order", "owner"} <= set(names) or len(set(names)) < len(names):
        told = (
            f"there is no column {unknown[0]!r}"
            if unknown
            else "order and owner are needed, each once"
        )
        raise Failed(
            f"{plain(told)}: the columns are {', '.join(known)}, and {URL_COLUMN}OPTION for each shipping"
            " option",
            Exit.SETUP,
        )
    return names
