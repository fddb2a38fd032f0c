"""How those are told who wait for something long."""

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Told how much of how much is done."""
Steps = Callable[[str, int, int], None]
"""Told how much of how much is done of a step."""


def silent(*_: object) -> None:
    """A progress that nobody watches."""
