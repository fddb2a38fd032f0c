"""Rows as arrays, one a column: a statement then takes any number of rows at the price of one.

The driver's own arrays cost three times as much as the rest of a group, because it asks every element
for its type; a column has one type, so here a column is one join.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from msgspec import Struct

_NUL: Final = "\0"


def numbers(column: Sequence[int]) -> str:
    """Whole numbers as PostgreSQL reads an array of them."""
    return "{" + ",".join(map(str, column)) + "}"


def booleans(column: Sequence[bool]) -> str:
    """Truth values likewise."""
    return "{" + ",".join(["t" if value else "f" for value in column]) + "}"


def texts(column: Sequence[str]) -> str:
    """Texts likewise, quoted as they have to be: a backslash before each backslash and quote.

    All at once: no text in PostgreSQL holds a NUL, so one can stand for what is between them.
    """
    joined = _NUL.join(column)
    quoted = joined.replace("\\", "\\\\").replace('"', '\\"').replace(_NUL, '","')
    return f'{{"{quoted}"}}' if column else "{}"


def binaries(column: Sequence[bytes]) -> str:
    """Bytes likewise, in hexadecimal."""
    return '{"\\\\x' + '","\\\\x'.join([value.hex() for value in column]) + '"}' if column else "{}"


_WRITERS: Final[dict[str, Callable[[Sequence[Any]], str]]] = {
    "bigint": numbers,
    "boolean": booleans,
    "text": texts,
    "bytea": binaries,
}


class Statement(Struct, frozen=True):
    """A statement that takes sets of rows, each as so many arrays, and the types of their columns."""

    name: str
    text: str
    sets: tuple[tuple[str, ...], ...]

    def given(self, *sets: Sequence[Sequence[Any]]) -> list[str]:
        """The arguments for sets of rows."""
        return [
            _WRITERS[type](column)
            for types, rows in zip(self.sets, sets, strict=True)
            for type, column in zip(
                types, list(zip(*rows, strict=True)) or [()] * len(types), strict=True
            )
        ]

    @property
    def preparation(self) -> str:
        """What prepares it, for as long as the session lasts."""
        first, *others = self.text.split("%s")
        numbered = [f"${place}{part}" for place, part in enumerate(others, 1)]
        return f"PREPARE {self.name} AS {first}{''.join(numbered)}"


def statement(name: str, template: str, **sets: str) -> Statement:
    """A statement in which each name in braces is a set of rows with columns of these types."""
    types = {name: tuple(columns.split()) for name, columns in sets.items()}
    rows = {
        name: "unnest(" + ", ".join(f"%s::{column}[]" for column in columns) + ")"
        for name, columns in types.items()
    }
    return Statement(name, template.format(**rows), tuple(types.values()))
