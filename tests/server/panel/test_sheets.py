"""Rows as CSV: what comes back is what went in, and none of it is a formula."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudsignal.server.panel import sheets

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
STARTS = st.sampled_from(["", "=", "+", "-", "@", "\t", "\r", "\n", "＝", '"', ","])
CELLS = st.builds(str.__add__, STARTS, TEXTS)


def read(written: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(written.decode(), newline="")))


@given(st.lists(st.lists(CELLS, min_size=2, max_size=4), max_size=4))
def test_every_text_comes_back_and_none_is_a_formula(rows: list[list[str]]) -> None:
    found = read(sheets.written(rows))

    assert found == [[sheets.defused(each) for each in row] for row in rows]
    for row, its in zip(found, rows, strict=True):
        for cell, given_text in zip(row, its, strict=True):
            assert cell in (given_text, f"'{given_text}")
            assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝"))


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1"])
def test_what_may_be_a_formula_is_behind_an_apostrophe(text: str) -> None:
    assert read(sheets.written([["a", text]])) == [["a", f"'{text}"]]


@pytest.mark.parametrize("text", ["", "1Z=9", "a-b", "x@y", "'", " =1", "123456780000"])
def test_anything_else_is_as_it_is(text: str) -> None:
    assert read(sheets.written([["a", text]])) == [["a", text]]


def test_lines_end_as_they_have_to_and_only_what_must_be_is_in_quotes() -> None:
    rows = [["a", 'b "c"', "d,e"], ["two\nlines", "", "ü"]]

    assert sheets.written(rows).decode() == 'a,"b ""c""","d,e"\r\n"two\nlines",,ü\r\n'
