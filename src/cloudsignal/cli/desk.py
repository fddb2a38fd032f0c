"""Where keys are given out: what the commands share that make print partners, owners, keys and tokens."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cloudsignal.cli.output import Failed, opened
from cloudsignal.cli.unseen import HINT, unseen

if TYPE_CHECKING:
    from cloudsignal.server.key_desk import KeyDesk

GivenKey = Annotated[
    str | None,
    typer.Option(
        "--apikey",
        metavar="32-HEX",
        callback=unseen,
        help=f"The key to use, instead of a new one. {HINT}",
    ),
]


def _checked_hours(hours: float) -> float:
    from cloudsignal.server import rules

    try:
        return rules.overlap_hours(hours)
    except rules.Unfit as error:
        raise typer.BadParameter(str(error)) from None


Overlap = Annotated[
    float,
    typer.Option(
        callback=_checked_hours, help="For how long the old key stays valid beside the new one."
    ),
]


@contextmanager
def at_desk(database: str | None, config: Path | None) -> Iterator["KeyDesk"]:
    """The desk of the store that a flag or the settings name. What is wrong with a wish is raised as Failed."""
    with opened(database, config) as (store, settings):
        from cloudsignal.server import clock
        from cloudsignal.server.key_desk import KeyDesk
        from cloudsignal.server.keys import open_keyring
        from cloudsignal.server.rules import Unfit

        try:
            yield KeyDesk(store, open_keyring(settings, store), now=clock.now())
        except Unfit as error:
            raise Failed(str(error)) from None
