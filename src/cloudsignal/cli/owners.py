"""Whose orders they are: ``cloudsignal owner``."""

from collections import Counter
from typing import Annotated

import msgspec
import typer

from cloudsignal.cli.desk import GivenKey, Overlap, at_desk
from cloudsignal.cli.output import (
    Config,
    Database,
    Json,
    iso,
    opened,
    print_json,
    print_table,
    program,
    shown,
    where,
)

owner = typer.Typer(help="Owners of orders, and their keys.", no_args_is_help=True)


@owner.command("create")
def create_owner(
    name: str,
    unregistered: Annotated[
        bool,
        typer.Option(
            "--unregistered",
            help="Have this one get what nobody registered, and no other any more.",
        ),
    ] = False,
    json: Json = False,
    database: Database = None,
    config: Config = None,
) -> None:
    """Add an owner of orders."""
    from cloudsignal.server.views import owner_view

    with at_desk(database, config) as desk:
        made = desk.create_owner(name, unregistered=unregistered)
    if json:
        print_json(owner_view(made))
    else:
        print(f"Owner {made.name} is there. Next: the orders, from a table or a file of JSON:")
        print(f"  {program()} order register FILE{where(database, config)}")


@owner.command("list")
def list_owners(json: Json = False, database: Database = None, config: Config = None) -> None:
    """List the owners; keys are never shown again."""
    with opened(database, config) as (store, _):
        from cloudsignal.server.clock import now
        from cloudsignal.server.key_desk import is_valid
        from cloudsignal.server.views import owner_view

        found = store.orders.owners()
        keys = store.orders.owner_keys()
        valid = Counter(key.owner for key in keys if is_valid(key, now=now()))
    if json:
        views = [msgspec.to_builtins(owner_view(each)) | {"keys": valid[each.id]} for each in found]
        print_json(views)
        return
    print_table(
        "Owners",
        ["name", "keys", "gets what nobody registered", "since, UTC"],
        [
            [
                each.name,
                str(valid[each.id]),
                "yes" if each.unregistered else "",
                shown(each.created)[:10],
            ]
            for each in found
        ],
        wrapping=("name",),
    )


@owner.command("key")
def make_owner_key(
    name: str,
    overlap_hours: Overlap = 24.0,
    apikey: GivenKey = None,
    json: Json = False,
    database: Database = None,
    config: Config = None,
) -> None:
    """Give an owner a new key to read with, and show it: this once. Old ones expire after the overlap."""
    with at_desk(database, config) as desk:
        made = desk.add_owner_key(name, overlap_hours, apikey)
    if json:
        expires = iso(made.overlap_ends)
        print_json({"owner": made.to.name, "apikey": made.key, "old_keys_expire": expires})
        return
    print(f"A key of owner {made.to.name}, shown this once:\n\n  {made.key}\n")
    print(f"Keys that were there before work until {shown(made.overlap_ends)} UTC.")
