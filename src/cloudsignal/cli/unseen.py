"""Secrets as values of flags: ``-`` has them asked for, or read, where nobody else can see them."""

import sys
from typing import Final

import typer

from cloudsignal.cli.output import Failed

DASH: Final = "-"
HINT: Final = "- asks for it, or reads a line of the input."


def unseen(option: typer.CallbackParam, value: str | None) -> str | None:
    """What is given for an option, for typer to call: arguments stand in the shell's history and the process list.

    Raises Failed when there is nothing to read.
    """
    if value != DASH:
        return value
    if sys.stdin.isatty():
        asked: str = typer.prompt(str(option.name), hide_input=True, err=True)
        return asked
    line = sys.stdin.readline().strip()
    if not line:
        raise Failed(f"{option.opts[0]} -: there is no line left to read it from")
    return line
