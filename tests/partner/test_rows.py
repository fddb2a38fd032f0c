"""Tables become signals: columns, cells and dates."""

import csv
import os
import tracemalloc
import zipfile
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudsignal import SetupError, Signal
from cloudsignal.partner import tables
from cloudsignal.partner.rows import FIELDS, Layout, Row, Table, columns_of, moment_of
from cloudsignal.partner.tables import date_of
from cloudsignal.protocol.datetimes import parse
from cloudsignal.protocol.signals import BY_NAME, example
from tests import strategies

HEADER = "type,order,item,datetime\n"
NOON = "2026-01-01T12:00:00Z"
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orders.csv"


def rows(path: Path, content: str | bytes, **layout: Any) -> list[Row]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(Table(path, Layout(**layout)).rows())


def problem(path: Path, content: str | bytes, **layout: Any) -> str:
    [row] = rows(path, content, **layout)
    assert row.signal is None
    return "; ".join(row.problems)


def told(path: Path, content: str | bytes, **layout: Any) -> str:
    with pytest.raises(SetupError) as caught:
        rows(path, content, **layout)
    return str(caught.value)


# ---- columns ----


@given(st.sampled_from(FIELDS), st.lists(st.sampled_from(" -_"), max_size=9), st.randoms())
def test_a_column_is_found_by_its_name_however_it_is_written(
    field: str, blanks: list[str], random: Any
) -> None:
    written = [random.choice([each.upper(), each]) for each in field if each != "_"]
    for blank in blanks:
        written.insert(random.randint(0, len(written)), blank)
    header = ["".join(written) if name == field else name for name in FIELDS]
    assert columns_of(header, Layout()).index == {name: n for n, name in enumerate(FIELDS)}


def test_a_column_is_what_is_said() -> None:
    header = ["Auftrag", "order", "Item", "Datum", "type", "", "error", "Farbe"]
    columns = columns_of(header, Layout(columns={"auftrag": "Order", "Datum": "datetime"}))
    assert columns.index == {"order": 0, "item": 2, "datetime": 3, "type": 4}
    assert columns.unused == ["order", "Farbe"]


@pytest.mark.parametrize(
    ("header", "layout", "sentence"),
    [
        ("order item type", {}, "no column is datetime: there are order, item, type; say which it"),
        ("order item datetime", {}, "no column is type: say with --type"),
        ("order Order item datetime type", {}, "the columns 'order' and 'Order' are both order"),
        ("a", {"columns": {"b": "order"}}, "there is no column 'b': there are a"),
        (
            "a",
            {"columns": {"a": "oder"}},
            "'a' cannot be 'oder', which is no field: did you mean or",
        ),
        ("a", {"columns": {"a": "zzz"}}, "there are type, order, item, datetime"),
        ("a b", {"columns": {"a": "order", "b": "order"}}, "two columns cannot both be order"),
        ("a b A", {"columns": {"a": "order"}}, "2 columns are called 'a': rename all but one"),
    ],
)
def test_columns_that_do_not_fit_are_said(
    header: str, layout: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(SetupError) as caught:
        columns_of(header.split(), Layout(**layout))
    assert sentence in str(caught.value)


# ---- rows ----


@given(st.lists(strategies.signals(), min_size=1, max_size=4), st.sampled_from(tables.DELIMITERS))
def test_signals_come_back_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, signals: list[Signal], delimiter: str
) -> None:
    """But for white space around them, and texts of nothing else, which a table does not tell."""
    path = tmp_path_factory.getbasetemp() / "any.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(FIELDS)
        for signal in signals:
            values = msgspec.to_builtins(signal)
            writer.writerow([values.get(name, "") for name in FIELDS])
    found = list(Table(path, Layout()).rows())
    assert len(found) == len(signals)
    for row, signal in zip(found, signals, strict=True):
        assert row.signal is not None, row.problems
        values = {n: v.strip() for n, v in msgspec.to_builtins(signal).items() if v.strip()}
        assert msgspec.to_builtins(row.signal) == values


@pytest.mark.parametrize("type", BY_NAME)
def test_a_file_may_be_of_one_type(path: Path, type: str) -> None:
    sent = example(BY_NAME[type])  # type: ignore[type-abstract]
    names = [name for name in FIELDS if name != "type"]
    table = [names, [sent.get(name, "not mine") for name in names]]
    content = "".join(";".join(f'"{cell}"' for cell in row) + "\r\n" for row in table)
    [row] = rows(path, content, type=type)
    assert msgspec.to_builtins(row.signal) == sent


def test_a_row_that_names_its_type_is_of_that_one(path: Path) -> None:
    content = HEADER + f",7,1,{NOON}\nItemPacked,7,2,{NOON}\n"
    found = rows(path, content, type="ItemProduced")
    assert [type(row.signal).__name__ for row in found] == ["ItemProduced", "ItemPacked"]


def test_blank_rows_are_passed_over_and_lines_are_counted(path: Path) -> None:
    content = (
        f"\n{HEADER}\n,,,\nItemPacked,7,1,{NOON}\n" + f'ItemError,"7\n\n",2,{NOON}\nItemPacked,7'
    )
    assert [(row.line, row.signal is not None) for row in rows(path, content)] == [
        (5, True),
        (6, True),
        (9, False),
    ]


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (f"Item,7,1,{NOON}", 'there is no type "Item"'),
        (f"ItemShipped,7,1,{NOON}", "ItemShipped needs tracking"),
        (f"ItemPacked,7,1,{NOON},x", "there are 5 cells below 4 columns: a cell with a delimiter"),
        ("ItemPacked,7", "ItemPacked needs item"),
        ("ItemPacked,7,1,noon", 'datetime "noon" cannot be read: write it like'),
    ],
)
def test_what_is_wrong_with_a_row_is_said(path: Path, row: str, sentence: str) -> None:
    assert sentence in problem(path, HEADER + row)


# ---- how a file is written ----


@pytest.mark.parametrize(
    ("header", "delimiter"),
    [
        ("a", ","),
        ("", ","),
        ("a;b,c;d", ";"),
        ("a\tb", "\t"),
        ("a|b|c;d", "|"),
        ('"a;b;c;d",e', ","),
        ("a,b;c", ","),
    ],
)
def test_the_delimiter_is_the_one_that_makes_most_columns(header: str, delimiter: str) -> None:
    assert tables.sniffed(header) == delimiter


@pytest.mark.parametrize("layout", [{}, {"delimiter": ";"}, {"delimiter": "^"}])
def test_a_line_for_excel_is_no_row(path: Path, layout: dict[str, Any]) -> None:
    delimiter = layout.get("delimiter", "^")
    table = f"sep={delimiter}\r\n{HEADER}ItemPacked,7,1,{NOON}\r\n".replace(",", delimiter)
    [row] = rows(path, table, **layout)
    assert (row.line, row.signal is not None) == (3, True)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
def test_a_file_is_in_any_encoding(path: Path, encoding: str) -> None:
    content = f"type\torder\titem\tdatetime\tcause\nItemDelay\t7\t1\t{NOON}\tFalzmaschine gestört\n"
    layouts = [{}, {"encoding": "UTF-8"}] if "8" in encoding else [{"encoding": encoding}]
    for layout in layouts:
        [row] = rows(path, content.encode(encoding), **layout, delimiter="tab")
        assert msgspec.to_builtins(row.signal)["cause"] == "Falzmaschine gestört"


@pytest.mark.parametrize("line", [1, 2, 4000])
def test_a_line_in_another_encoding_is_named(path: Path, line: int) -> None:
    content = [HEADER, *(f"ItemPacked,7,{n},{NOON}\n" for n in range(5000))]
    content[line - 1] = content[line - 1].replace("7", "ß").replace("type", "typä")
    sentence = told(path, "".join(content).encode("cp1252"))
    assert f"line {line} is not utf-8: " in sentence
    assert sentence.endswith("try --encoding cp1252")


@pytest.mark.parametrize(
    ("content", "layout", "sentence"),
    [
        (HEADER, {"encoding": "klingon"}, "there is no encoding 'klingon'"),
        (HEADER, {"encoding": "utf-16"}, "line 1 is not utf-16: "),
        (HEADER, {"delimiter": ";;"}, "the delimiter must be one character"),
        (HEADER, {"delimiter": '"'}, "the delimiter must be one character"),
        ("", {}, "is empty: its first row must say what the columns are"),
        ("\n,,\n", {}, "is empty"),
        (HEADER + '"' + "x" * 200_000, {}, "line 2 cannot be read: field larger than field limit"),
        (
            HEADER,
            {"type": "ItemShiped"},
            "there is no type 'ItemShiped': did you mean ItemShipped?",
        ),
        (
            HEADER,
            {"timezone": "Europe/Berln"},
            "no time zone 'Europe/Berln': did you mean Europe/Be",
        ),
        (HEADER, {"timezone": "../zone"}, "there is no time zone '../zone'"),
        (HEADER, {"timezone": "Europe"}, "there is no time zone 'Europe'"),
        (HEADER, {"datetime_format": "%d.%m. %H:%M"}, "does not tell year, month and day"),
        (HEADER, {"datetime_format": "%Y-%m"}, "does not tell year, month and day"),
        (HEADER, {"datetime_format": "%Y %Q"}, "no date is written like '%Y %Q'"),
        (HEADER, {"datetime_format": "%d.%m.%Y %Z"}, "%Z cannot be read, because names of zones"),
        (
            "ü;ö".encode("utf-16"),
            {},
            "line 1 is not utf-8: invalid start byte; try --encoding utf-16",
        ),
        (b"PK\3\4\xff", {}, "is a workbook, and no text: save it as .xlsx or CSV"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", {}, "is a workbook, and no text: save it as"),
    ],
)
def test_a_table_that_cannot_be_used_is_said(
    path: Path, content: str | bytes, layout: dict[str, Any], sentence: str
) -> None:
    assert sentence in told(path, content, **layout)


def test_a_file_that_is_not_there_is_said(path: Path) -> None:
    for missing in (path, path.with_suffix(".xlsx")):
        with pytest.raises(SetupError, match=r"cannot be read: .*No such file"):
            Table(missing, Layout())


@pytest.mark.parametrize(
    "cells",
    [
        ['"torn', "x", '"y"'],
        ["x", '"torn', "x"],
        ['"torn" page', "x", "x"],
    ],
)
def test_a_quote_that_is_never_closed_swallows_no_rows(path: Path, cells: list[str]) -> None:
    lines = [f"ItemCanceled,7,{n},{NOON},{cell}\n" for n, cell in enumerate(cells)]
    sentence = told(path, "type,order,item,datetime,message\n" + "".join(lines))
    place = next(n for n, cell in enumerate(cells, start=2) if "torn" in cell)
    assert f"line {place} cannot be read" in sentence
    assert "a quote that is never closed" in sentence


def test_what_can_be_read_only_once_is_said(path: Path) -> None:
    os.mkfifo(path)
    with pytest.raises(SetupError, match="can be read only once"):
        Table(path, Layout())


def test_a_large_table_is_not_read_at_once(path: Path) -> None:
    with path.open("w") as file:
        file.write(HEADER)
        for number in range(100_000):
            file.write(f"ItemPacked,7,{number},{NOON}\n")
    table = Table(path, Layout())
    tracemalloc.start()
    try:
        assert sum(1 for _ in islice(table.rows(after=90_000), 1000)) == 1000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert path.stat().st_size > 3 << 20
    assert peak < 1 << 20


@pytest.mark.parametrize("shown", ["1,23457E+11", "1.2E+10"])
def test_an_id_that_a_spreadsheet_has_shortened_is_no_id(path: Path, shown: str) -> None:
    said = problem(path, HEADER + f'ItemPacked,"{shown}",1,never\n')
    assert f'order "{shown}" is a number that the spreadsheet has shortened' in said
    assert 'datetime "never" cannot be read' in said
    assert rows(path, HEADER + f"ItemPacked,1E+10,12E3,{NOON}\n")[0].signal is not None


# ---- dates ----


@given(st.datetimes(datetime(2000, 1, 2), datetime(2100, 12, 30)))
def test_a_local_date_means_what_the_protocol_says_it_means(moment: datetime) -> None:
    """Also when the clocks change."""
    moment = moment.replace(microsecond=0)
    meant = parse(moment.isoformat(), BERLIN)
    written = moment.strftime("%d.%m.%Y %H:%M:%S")
    assert parse(moment_of(written, "%d.%m.%Y %H:%M:%S", BERLIN), ZoneInfo("UTC")) == meant
    assert parse(moment_of(moment.isoformat(" "), None, BERLIN), ZoneInfo("UTC")) == meant


@pytest.mark.parametrize(
    ("cell", "layout", "expected"),
    [
        ("20.01.2016 13:00", ("%d.%m.%Y %H:%M", BERLIN), "2016-01-20T13:00:00+01:00"),
        ("20.07.2016 13:00", ("%d.%m.%Y %H:%M", BERLIN), "2016-07-20T13:00:00+02:00"),
        ("20.01.2016 13:00", ("%d.%m.%Y %H:%M", None), "2016-01-20T13:00:00"),
        ("20.01.2016", ("%d.%m.%Y", None), "2016-01-20T00:00:00"),
        ("2016-01-20 13:00:00", ("%d.%m.%Y", BERLIN), "2016-01-20T13:00:00+01:00"),
        ("20.01.2016 +0500", ("%d.%m.%Y %z", BERLIN), "2016-01-20T00:00:00+05:00"),
        ("2016-01-20 13:00:00", (None, BERLIN), "2016-01-20T12:00:00+00:00"),
        ("2016-01-20 13:00:00 GMT", (None, BERLIN), "2016-01-20T13:00:00+00:00"),
        ("as it is", (None, None), "as it is"),
    ],
)
def test_dates_are_read_as_they_are_written(cell: str, layout: Any, expected: str) -> None:
    assert moment_of(cell, *layout) == expected


def test_a_date_that_is_none_is_said_once_beside_what_else_is_wrong(path: Path) -> None:
    content = HEADER + "ItemPacked,7,,2016-01-20"
    said = problem(path, content, datetime_format="%d.%m.%Y")
    assert said.count("datetime") == 1
    assert "ItemPacked needs item" in said
    assert 'datetime "2016-01-20" is not written like "%d.%m.%Y"' in said
    assert "write it like" in problem(path, content, timezone="Europe/Berlin")


# ---- .xlsx ----


def write_xlsx(path: Path, table: list[list[Any]]) -> None:
    """The smallest workbook: texts, numbers, and dates as a tuple of the number that Excel keeps."""

    def cell(value: Any) -> str:
        match value:
            case None:
                return "<c/>"
            case (number,):
                return f'<c s="1"><v>{number}</v></c>'
            case str():
                return f'<c t="inlineStr"><is><t>{escape(value)}</t></is></c>'
            case _:
                return f"<c><v>{value}</v></c>"

    body = "".join(f"<row>{''.join(map(cell, row))}</row>" for row in table)
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    kinds = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    related = "http://schemas.openxmlformats.org/package/2006/relationships"
    files = {
        "_rels/.rels": f'<Relationships xmlns="{related}"><Relationship Id="a" Type="{kinds}'
        '/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{kinds}"><sheets><sheet name="S"'
        ' sheetId="1" r:id="a"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{related}"><Relationship Id="a" Type="'
        f'{kinds}/worksheet" Target="sheet.xml"/><Relationship Id="b" Type="{kinds}/styles"'
        ' Target="styles.xml"/></Relationships>',
        "xl/styles.xml": f'<styleSheet xmlns="{main}"><cellXfs><xf numFmtId="0"/>'
        '<xf numFmtId="22"/></cellXfs></styleSheet>',
        "xl/sheet.xml": f'<worksheet xmlns="{main}"><sheetData>{body}</sheetData></worksheet>',
    }
    with zipfile.ZipFile(path, "w") as workbook:
        for name, content in files.items():
            workbook.writestr(name, content)


@pytest.mark.parametrize("datetime_format", [None, "%d.%m.%Y %H:%M"])
def test_a_workbook_is_a_table(path: Path, datetime_format: str | None) -> None:
    path = path.with_suffix(".xlsx")
    header = ["Order", "Item", "Datetime", "Delay"]
    write_xlsx(
        path, [[], header, ["007", 123456780001, (42389.5,), 1.5], [], [8, 9, (42389,), None]]
    )
    layout = Layout(type="ItemDelay", timezone="Europe/Berlin", datetime_format=datetime_format)
    found = list(Table(path, layout).rows())
    assert [row.line for row in found] == [3, 5]
    first, second = (msgspec.to_builtins(row.signal) for row in found)
    noon, midnight = parse("2016-01-20T12:00", BERLIN), parse("2016-01-20T00:00", BERLIN)
    assert (parse(first["datetime"], BERLIN), parse(second["datetime"], BERLIN)) == (noon, midnight)
    assert (first["order"], first["item"], first["delay"]) == ("007", "123456780001", "1.5")
    assert (second["order"], second["item"]) == ("8", "9")
    assert Table(path, layout).count() == 2


@pytest.mark.parametrize(
    "datetime_format", [None, "%d.%m.%Y", "%Y-%d-%m %H:%M", "%d.%m.%y %I:%M", "%d.%m.%Y %H:%M %z"]
)
@pytest.mark.parametrize(
    ("held", "meant"),
    [
        (42371, "2016-01-02T00:00:00"),
        (42371.625, "2016-01-02T15:00:00"),
        (42371.5 + 5 / 86400, "2016-01-02T12:00:05"),
    ],
)
def test_a_date_of_a_workbook_is_a_date_and_a_time_whatever_the_format_of_texts(
    path: Path, datetime_format: str | None, held: float, meant: str
) -> None:
    """Also once more, when the row comes from the file of errors, which is text."""
    workbook = path.with_suffix(".xlsx")
    write_xlsx(workbook, [["Order", "Item", "Datetime"], ["7", "1", (held,)]])
    layout = Layout(type="ItemPacked", timezone="Europe/Berlin", datetime_format=datetime_format)
    (row,) = Table(workbook, layout).rows()
    path.write_text("Order,Item,Datetime\n" + ",".join(row.cells))
    (again,) = Table(path, layout).rows()
    for each in (row, again):
        assert each.signal is not None, each.problems
        assert parse(each.signal.datetime, BERLIN) == parse(meant, BERLIN)


@given(st.text("0123456789- :.", max_size=26))
def test_a_text_that_is_no_date_of_a_workbook_is_none(text: str) -> None:
    found = date_of(text)
    assert found is None or found.isoformat(" ") == text


def test_a_workbook_that_is_none_is_said(path: Path) -> None:
    path = path.with_suffix(".XLSX")
    assert "cannot be read: " in told(path, "just text")


def test_without_the_package_for_workbooks_a_sentence_says_what_to_install(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "python_calamine", None)
    assert "pip install 'cloudsignal[xlsx]'" in told(path.with_suffix(".xlsx"), "")
