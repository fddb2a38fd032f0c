"""How commands that have a test told to somebody wait for what becomes of it."""

import time
from collections.abc import Callable
from typing import Annotated, Final, TypeVar

import typer

from cloudsignal.cli.output import telling_if_interrupted

WAIT_S: Final = 20.0
"""An attempt may take 15 s, and it may begin a second later."""
POLL_S: Final = 0.1

T = TypeVar("T")
Wait = Annotated[
    float,
    typer.Option(
        "--wait", metavar="SECONDS", min=0.0, help="How long to wait for what becomes of it."
    ),
]


def awaited(look: Callable[[], T | None], wait_s: float, *, later: str) -> T | None:
    """What ``look`` finds, once it finds something; None if it does not within so many seconds.

    ``later`` is the command that shows the same at any time: who breaks it off is told so.
    """
    end = time.monotonic() + wait_s
    with telling_if_interrupted(lambda: f"`{later}` says later what became of the test"):
        while (found := look()) is None and time.monotonic() < end:
            time.sleep(POLL_S)
    return found
