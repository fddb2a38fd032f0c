"""Rows as arrays, one a column: a statement then takes any number of rows at the price of one.

The driver's own arrays cost three times as much as the rest of a group, because it asks every element
for its type; a column has one type, so here a column is one join.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from msgspec import Struct


def numbers(column: Iterable[int]) -> str:
    """Whole numbers as PostgreSQL reads an array of them."""
    return "{" + ",".join(map(str, column)) + "}"


def booleans(column: Iterable[bool]) -> str:
    """Truth values likewise."""
    return "{" + ",".join(["t" if value else "f" for value in column]) + "}"


def texts(column: Iterable[str]) -> str:
    """Texts likewise, quoted as they have to be: a backslash before each backslash and quote."""
    quoted = [value.replace("\\", "\\\\").replace('"', '\\"') for value in column]
    return '{"' + '","'.join(quoted) + '"}' if quoted else "{}"


def binaries(column: Iterable[bytes]) -> str:
    """Bytes likewise, in hexadecimal."""
    return texts(f"\\x{value.hex()}" for value in column)


_WRITERS: Final[dict[str, Callable[[Iterable[Any]], str]]] = {
    "bigint": numbers,
    "boolean": booleans,
    "text": texts,
    "bytea": binaries,
}


class Statement(Struct, frozen=True):
    """A statement that takes rows, and the types of their columns."""

    text: str
    types: tuple[str, ...]

    def given(self, rows: Sequence[Sequence[Any]]) -> list[str]:
        """The arguments for rows."""
        columns = list(zip(*rows, strict=True)) or [()] * len(self.types)
        return [_WRITERS[type](column) for type, column in zip(self.types, columns, strict=True)]


def statement(template: str, types: str) -> Statement:
    """A statement whose ``{rows}`` is a set of rows with columns of these types."""
    names = tuple(types.split())
    marks = ", ".join(f"%s::{name}[]" for name in names)
    return Statement(template.format(rows=f"unnest({marks})"), names)
