"""Looking after a store: ``cloudsignal store check``, ``copy`` and ``prune``."""

from functools import partial
from typing import TYPE_CHECKING, Any

import typer

from cloudsignal.cli.output import (
    Config,
    Database,
    Failed,
    Json,
    opened,
    print_json,
    print_table,
    progress_bars,
)

if TYPE_CHECKING:
    from cloudsignal.server.store.digest import Digest
    from cloudsignal.server.store.rebuilding import Rebuilt

store = typer.Typer(help="The store: check it, copy it, prune its log.", no_args_is_help=True)


@store.command("check")
def check_store(json: Json = False, database: Database = None, config: Config = None) -> None:
    """Read the whole log, and compare every item with its signals. Nothing is changed.

    The digest is the same for stores with the same log, on whatever they stand. When an item differs
    the exit code is 1. The server may run meanwhile.
    """
    with opened(database, config) as (store, _), progress_bars() as progress:
        schema = store.version()
        log = store.digest(progress=partial(progress, "signals read"))
        items = store.rebuild(mend=False, progress=partial(progress, "signals folded"))
    found = _check_view(schema, log, items)
    if json:
        print_json(found)
    else:
        rows = [[name, str(value)] for name, value in found.items()]
        print_table(f"Store {store.shown}", ["", ""], rows, wrapping=("",))
    if items.differed:
        raise Failed(
            f"{items.differed} items are not what their signals say: run cloudsignal rebuild"
        )


def _check_view(schema: str | None, log: "Digest", items: "Rebuilt") -> dict[str, Any]:
    return {
        "schema": schema,
        "signals": log.signals,
        "first": log.first,
        "last": log.last,
        "digest": log.value,
        "items": items.items,
        "differed": items.differed,
        "left": items.left,
    }
