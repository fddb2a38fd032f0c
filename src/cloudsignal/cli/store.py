"""Looking after a store: ``cloudsignal store check``, ``copy``, ``prune``, ``readers`` and ``forget``."""

import re
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cloudsignal.cli.output import (
    Config,
    Database,
    Failed,
    Json,
    iso,
    note,
    opened,
    plain,
    print_json,
    print_table,
    progress_bars,
    shown,
    told,
)

if TYPE_CHECKING:
    from cloudsignal.server.store.copying import Copied
    from cloudsignal.server.store.digest import Digest
    from cloudsignal.server.store.pruning import Pruned
    from cloudsignal.server.store.rebuilding import Rebuilt
    from cloudsignal.server.store.recounting import Compared

_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

store = typer.Typer(help="The store: check it, copy it, prune its log.", no_args_is_help=True)


@store.command("check")
def check_store(json: Json = False, database: Database = None, config: Config = None) -> None:
    """Read the whole log, compare every item with its signals, and what is counted with both. Nothing is changed.

    The digest is the same for stores with the same log, on whatever they stand. When an item or a count differs
    the exit code is 1. The server may run meanwhile; while it counts, counts are not compared.
    """
    with opened(database, config) as (store, _), progress_bars() as progress:
        schema = store.version()
        log = store.digest(progress=partial(progress, "signals read"))
        items = store.rebuild(mend=False, progress=partial(progress, "signals folded"))
        counts = store.compare_counts(progress=partial(progress, "counted"))
    found = _check_view(schema, log, items, counts)
    if json:
        print_json(found)
    else:
        rows = [[name, str(value)] for name, value in found.items() if name != "uncompared"]
        print_table(f"Store {store.shown}", ["", ""], rows, wrapping=("",))
        if counts.why_not:
            note(f"counts were not compared: {counts.why_not}")
    if items.differed:
        raise Failed(
            f"{items.differed} items are not what their signals say: run cloudsignal rebuild"
        )
    if counts.differed:
        raise Failed(
            f"{counts.differed} counts are not what there is to count: run cloudsignal rebuild"
        )


def _log_view(log: "Digest") -> dict[str, Any]:
    return {"signals": log.signals, "first": log.first, "last": log.last, "digest": log.value}


def _check_view(
    schema: str | None, log: "Digest", items: "Rebuilt", counts: "Compared"
) -> dict[str, Any]:
    return {
        "schema": schema,
        **_log_view(log),
        "items": items.items,
        "differed": items.differed,
        "left": items.left,
        "counts": counts.counts,
        "miscounted": counts.differed,
        "uncompared": counts.why_not,
    }


@store.command("copy")
def copy_store(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="The URL of the store.")],
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="The URL of an empty database, or of the copy.")
    ],
    json: Json = False,
) -> None:
    """Copy a store to another database, on SQLite or PostgreSQL, and compare the two.

    When it is interrupted, run it again: it goes on, and nothing else opens a copy that is not
    complete. A server may run on the source meanwhile, but none on the target. What comes after the
    start is copied by the next run, so the last run must be with the source's server stopped.
    """
    with told(), progress_bars() as progress:
        from cloudsignal.server.store.store import copy_store

        copied = copy_store(source, target, progress=progress)
    if json:
        print_json(_copied_view(copied))
        return
    print(
        f"Everything is copied: {copied.log.signals} signals and {copied.rows['items']} items, up to"
        f" position {copied.log.last}.\nThe logs have the same digest: {copied.log.value}\n"
        "Whoever has a key or a token needs the same secret at the new place: bring PATH.secret\n"
        "there as well, or set CLOUDSIGNAL_SECRET_FILE to it."
    )


def _copied_view(copied: "Copied") -> dict[str, Any]:
    return {**_log_view(copied.log), **copied.rows}


@store.command("prune")
def prune_store(
    before: Annotated[
        str,
        typer.Option(
            metavar="DATE",
            help="Remove what arrived before it: 2026-01-31 (in UTC), or a time with its offset.",
        ),
    ],
    archive: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Write the signals to compressed files in this folder first."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be removed.")
    ] = False,
    json: Json = False,
    database: Database = None,
    config: Config = None,
) -> None:
    """Remove old signals from the log; the items stay. The server may run meanwhile.

    The newest signal stays, and so does what a reader of the log has not passed yet. When it is
    interrupted, run it again.
    """
    instant = _instant(before)
    with opened(database, config) as (store, _), progress_bars() as progress:
        if dry_run:
            pruned = store.plan_prune(instant)
        else:
            pruned = store.prune(instant, folder=archive, progress=progress)
    if json:
        print_json(_pruned_view(pruned))
    else:
        _print_pruned(pruned, "would be removed" if dry_run else "were removed")


def _instant(text: str) -> int:
    """The instant that a date or a time means, in microseconds. Raises Failed."""
    try:
        moment = datetime.fromisoformat(f"{text}T00:00Z" if _DATE.fullmatch(text) else text)
        return (moment - _EPOCH) // _MICROSECOND
    except (ValueError, TypeError):  # The latter for a time without an offset.
        raise Failed(
            f"--before {plain(text)}: write a date like 2026-01-31, or a time with its offset like"
            " 2026-01-31T12:00:00+01:00"
        ) from None


def _pruned_view(pruned: "Pruned") -> dict[str, Any]:
    return {
        "signals": pruned.signals,
        "position": pruned.position,
        "first": iso(pruned.first),
        "last": iso(pruned.last),
        "held_by": pruned.held_by,
    }


def _print_pruned(pruned: "Pruned", done: str) -> None:
    if pruned.signals:
        print(
            f"{pruned.signals} signals {done}, up to position {pruned.position};"
            f" they arrived from {shown(pruned.first)} to {shown(pruned.last)} UTC."
        )
    else:
        print(f"No signals {done}.")
    if pruned.held_by is not None:
        print(f"The reader {plain(pruned.held_by)} has come no further: it keeps the rest.")


@store.command("readers")
def list_readers(json: Json = False, database: Database = None, config: Config = None) -> None:
    """List who reads the log: how far each has come. What it has not passed is not pruned."""
    with opened(database, config) as (store, _):
        last = store.reading.last_position()
        passed = store.cursors.positions()
    readers = [
        {"reader": name, "position": position, "behind": last - position}
        for name, position in sorted(passed.items())
    ]
    if json:
        print_json(readers)
    else:
        rows = [[str(value) for value in each.values()] for each in readers]
        print_table("Readers", ["reader", "position", "behind"], rows, wrapping=("reader",))


@store.command("forget")
def forget_reader(
    reader: Annotated[str, typer.Argument(metavar="READER", help="Its name, as listed.")],
    database: Database = None,
    config: Config = None,
) -> None:
    """Forget a reader of the log that is no more, so that nothing is kept for it.

    One that comes back begins anew: a stream publishes again all that the log holds then.
    """
    with opened(database, config) as (store, _):
        for each in store.endpoints.endpoints():
            if each.cursor == reader:
                raise Failed(f"remove it as what it is: cloudsignal endpoint remove {each.id}")
        store.cursors.remove(reader)
    print(f"The reader {plain(reader)} is forgotten.")
