"""The parts of the log: each holds so many positions, and can be dropped as a whole.

A part is begun long before it is needed. It is made as a table of its own and then attached, which
waits for no reader and keeps none waiting.
"""

from typing import Final

SIGNALS: Final = 5_000_000
"""How many positions one part holds: a gigabyte or two, a few days of a busy platform."""


def start_of(position: int) -> int:
    """Where the part begins that holds a position."""
    return position - position % SIGNALS


def name(start: int) -> str:
    """The table that holds the part which begins there."""
    return f"signals_{start}"


def make(position: int) -> tuple[str, ...]:
    """The statements that make the part for a position."""
    start = start_of(position)
    return (
        f"CREATE TABLE {name(start)} (LIKE signals INCLUDING DEFAULTS)",
        f"ALTER TABLE signals ATTACH PARTITION {name(start)}"
        f" FOR VALUES FROM ({start}) TO ({start + SIGNALS})",
    )
