"""``cloudsignal watch``: files of a hot folder become signals."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cloudsignal.cli.ending import Ending, told_to_end
from cloudsignal.cli.importing import laid_out
from cloudsignal.cli.outbox import (
    FLUSH_S,
    OutboxFile,
    drain,
    fail_if_refused,
    fail_unless_empty,
    logging_to_stderr,
    sending,
)
from cloudsignal.cli.output import Exit, Failed, Json, note, plain, print_json_line
from cloudsignal.cli.profile import (
    Reach,
    failing,
    in_force,
    reaching,
)

if TYPE_CHECKING:
    from cloudsignal.partner.rows import Layout
    from cloudsignal.partner.watching import Folder, Taken

LOOK_S: Final = 0.5
"""How often the folder is looked at."""


@reaching
@laid_out
def watch_folder(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where files are put.")],
    *,
    once: Annotated[
        bool,
        typer.Option("--once", help="Take what is there, send it, and end. Good for cron."),
    ] = False,
    layout: "Layout",
    json: Json = False,
    outbox: OutboxFile = None,
    reach: Reach,
) -> None:
    """Send the signals in files that are put into a folder: .json, .jsonl, .csv, .tsv or .xlsx.

    A file is taken when it has not changed for two seconds, and moved to done/, or to failed/ beside a text that says
    what is wrong; then none of its signals is sent. Files that are being written can have a name that begins with a dot,
    or ends in .tmp or .part, until they are complete.
    """
    with logging_to_stderr(), failing(), sending(in_force(reach), outbox) as sender:
        from cloudsignal.partner.watching import Folder

        watched = Folder(folder, sender, layout, clock=time.monotonic)
        try:
            note(f"watching {folder}")
            with told_to_end() as ending:
                failed = _watch(watched, ending, once=once, json=json)
        finally:
            watched.close()
        if once:
            fail_unless_empty(drain(sender, FLUSH_S))
            if failed:
                raise Failed(
                    f"{failed} files are in {folder / 'failed'}, beside what is wrong", Exit.REFUSED
                )
            fail_if_refused(sender.health())


def _watch(folder: "Folder", ending: Ending, *, once: bool, json: bool) -> int:
    """Look until told to end, or until nothing is left that would be taken: how many files failed."""
    from cloudsignal.partner.errors import OutboxError

    failed = 0
    trouble = ""
    while True:
        before, trouble = trouble, ""
        try:
            for taken in folder.look():
                _tell(taken, json=json)
                failed += bool(taken.problems)
        except (OutboxError, OSError) as error:
            trouble = plain(f"not everything can be taken just now: {error}")
        if trouble and once:
            raise Failed(trouble, Exit.NOT_SENT)
        if trouble and trouble != before:
            note(trouble)
        if (once and not folder.is_unsettled) or ending.wait(LOOK_S):
            return failed


def _tell(taken: "Taken", *, json: bool) -> None:
    file, problems = plain(str(taken.path)), [plain(each) for each in taken.problems]
    if json:
        print_json_line({"file": file, "signals": taken.signals, "problems": problems})
    elif problems:
        print(f"{file}: {problems[0]}", flush=True)
    else:
        print(f"{file}: {taken.signals} signals", flush=True)
