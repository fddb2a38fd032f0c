"""Rows as CSV, for spreadsheets: what others wrote stays words there too."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Final

MEDIA_TYPE: Final = "text/csv; charset=utf-8; header=present"
MARK: Final = "\ufeff"
"""What a file begins with, so that Excel reads it as UTF-8."""
DEFUSED: Final = "'"
_ACTIVE: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001
"""What a formula begins with, or what hides that one does."""


def written(rows: Iterable[Sequence[str]]) -> bytes:
    """Rows as RFC 4180 has them: commas, quotes where they are needed, CR LF."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows([defused(each) for each in row] for row in rows)
    return text.getvalue().encode()


def defused(text: str) -> str:
    """A text that no spreadsheet takes for a formula: one that might be is behind an apostrophe."""
    return f"{DEFUSED}{text}" if text.startswith(_ACTIVE) else text
