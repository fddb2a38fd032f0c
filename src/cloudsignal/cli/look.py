"""Finding and looking at items, orders and the log; folding the items again."""

from collections.abc import Sequence
from functools import partial
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Final

import typer
from msgspec import structs

from cloudsignal.cli.ending import told_to_end
from cloudsignal.cli.output import (
    NUMBER_MAX,
    Config,
    Database,
    Failed,
    Json,
    moment,
    note,
    opened,
    plain,
    print_facts,
    print_json,
    print_json_line,
    print_table,
    progress_bars,
)

if TYPE_CHECKING:
    from cloudsignal.server.views import (
        HitView,
        ItemView,
        RegisteredOrderView,
        RegistrationView,
        SignalView,
    )

item = typer.Typer(help="Items.", no_args_is_help=True)
order = typer.Typer(help="Orders.", no_args_is_help=True)
signals = typer.Typer(help="The log of signals.", no_args_is_help=True)

POLL_S: Final = 0.5
"""How often ``signals tail --follow`` looks for more."""
PAGE: Final = 500
ORDERS_MAX: Final = 1000
"""How many orders are listed at once."""
HITS_MAX: Final = 100
"""How much a search finds at most."""


def search(
    text: Annotated[
        str, typer.Argument(help="An id, a tracking number or a reference, or how one begins.")
    ],
    limit: Annotated[int, typer.Option(min=1, max=HITS_MAX, help="How many at most.")] = 20,
    json: Json = False,
    database: Database = None,
    config: Config = None,
) -> None:
    """Find orders, items and parcels by an id, a tracking number or what their owner calls them."""
    with opened(database, config) as (store, _):
        from cloudsignal.server.views import hit_view

        views = [hit_view(each) for each in store.search.find(text, limit=limit)]
    if not views:
        raise Failed(f"nothing is called {plain(text.strip())}, and nothing begins so")
    if json:
        print_json(views)
    else:
        _print_hits(views)
    if len(views) == limit:
        note("there may be more: a longer text or a larger --limit finds it")


def _print_hits(views: "Sequence[HitView]") -> None:
    print_table(
        "Found",
        ["what", "is called", "order", "item"],
        [[each.kind.replace("_", " "), each.text, each.order, each.item or ""] for each in views],
        wrapping=("is called", "order", "item"),
    )


@item.command("show")
def show_item(
    order: str,
    item: str,
    json: Json = False,
    database: Database = None,
    config: Config = None,
) -> None:
    """Show where an item is, and every signal about it."""
    with opened(database, config) as (store, _):
        from cloudsignal.server.views import item_view

        stored, signals = store.reading.item_with_signals(order, item)
        if stored is None:
            raise Failed(f"no signal has come for item {plain(item)} of order {plain(order)}")
        view = item_view(stored, signals)
    if json:
        print_json(view)
    else:
        _print_item(view)


@order.command("show")
def show_order(
    order: str, json: Json = False, database: Database = None, config: Config = None
) -> None:
    """Show the items of an order, and what is registered of it."""
    with opened(database, config) as (store, _):
        from cloudsignal.server.views import order_view

        stored, registered = store.reading.order(order), store.orders.order(order)
        if stored is None and registered is None:
            raise Failed(f"order {plain(order)} is not registered, and no signal has come for it")
        view = order_view(order, stored, registered)
    if len(view.items) < sum(view.states.values()):
        note(f"only the {len(view.items)} items that changed last are shown")
    if json:
        print_json(view)
        return
    if view.registration is not None:
        _print_registration(view.order, view.registration)
    print_table(
        f"Order {view.order}: {_counted(view.states)}" if view.items else "Signals for its items",
        ["item", "print partner", "state", "tracking", "findings", "updated, UTC"],
        [
            [
                each.item,
                each.partner,
                _state(each),
                " ".join(parcel.tracking for parcel in each.parcels),
                " ".join(each.findings),
                moment(each.updated)[:16],
            ]
            for each in view.items
        ],
        wrapping=("item", "print partner", "tracking", "findings"),
    )


@order.command("list")
def list_orders(
    owner: Annotated[str, typer.Option("--owner", metavar="NAME", help="Whose orders.")],
    after: Annotated[str, typer.Option(metavar="ORDER", help="Begin beyond this order's id.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=ORDERS_MAX, help="How many at most.")] = 100,
    json: Json = False,
    database: Database = None,
    config: Config = None,
) -> None:
    """List what is registered of an owner's orders, by their ids."""
    with opened(database, config) as (store, _):
        from cloudsignal.server.views import registered_order_view

        name = store.orders.owner(owner).name
        found = store.orders.orders(name, after=after, limit=limit)
    views = [registered_order_view(each) for each in found]
    if json:
        print_json(views)
    else:
        _print_orders(name, views)
    if len(views) == limit:
        note(f"there may be more: --after {quote(plain(views[-1].order))} goes on")


def _print_orders(owner: str, views: "Sequence[RegisteredOrderView]") -> None:
    print_table(
        f"Orders of {owner}",
        ["order", "reference", "print partner", "due, UTC", "registered, UTC"],
        [
            [
                each.order,
                each.registration.reference,
                each.registration.partner or "",
                moment(each.registration.due or "")[:16],
                moment(each.registration.registered)[:16],
            ]
            for each in views
        ],
        wrapping=("order", "reference", "print partner"),
    )


@signals.command("tail")
def tail_signals(
    lines: Annotated[
        int, typer.Option("--lines", "-n", min=0, max=NUMBER_MAX, help="How many to begin with.")
    ] = 10,
    after: Annotated[
        int | None,
        typer.Option(min=0, max=NUMBER_MAX, help="Begin after this position instead."),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,
    json: Json = False,
    database: Database = None,
    config: Config = None,
) -> None:
    """Print the newest signals, a line each."""
    with opened(database, config) as (store, _), told_to_end() as ending:
        from cloudsignal.server.views import signal_view

        position = store.reading.position_before(lines) if after is None else after
        while True:
            page = store.reading.signals(after=position, limit=PAGE)
            for logged in page:
                if ending.told:
                    return
                view = signal_view(logged)
                print_json_line(view) if json else print(_line(view), flush=True)
                position = logged.position
            if page:
                continue
            if not follow or ending.wait(POLL_S):
                return


def rebuild(json: Json = False, database: Database = None, config: Config = None) -> None:
    """Fold every item again from the log, and say how many differed; then count everything again that is counted.

    The server may run meanwhile.
    """
    with opened(database, config) as (store, _), progress_bars() as progress:
        rebuilt = store.rebuild(progress=partial(progress, "signals folded"))
        counts = store.count_again(progress=partial(progress, "signals counted"))
    if json:
        print_json(structs.asdict(rebuilt) | {"counts": counts})
        return
    print(
        f"{rebuilt.signals} signals make {rebuilt.items} items;"
        f" {rebuilt.differed} differed" + (" and were put right." if rebuilt.differed else ".")
    )
    if rebuilt.left:
        print(f"{rebuilt.left} items were left as they are: their first signals were pruned.")
    if counts is not None:
        print(f"Everything was counted again: {counts} counts.")


def _print_registration(order: str, view: "RegistrationView") -> None:
    facts = {
        "order": order,
        "owner": view.owner,
        "print partner": view.partner or "",
        "reference": view.reference,
        "due": moment(view.due),
        "tracking": ", ".join(f"{url} ({option})" for option, url in view.tracking_urls.items()),
        "items": ", ".join(
            f"{item} ({reference})" if reference else item
            for item, reference in (view.items or {}).items()
        ),
    }
    print_facts(facts)


def _counted(states: dict[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in states.items())


def _state(view: "ItemView") -> str:
    return view.state + (", delayed" if view.delayed else "") + (", test" if view.test else "")


def _print_item(view: "ItemView") -> None:
    facts = {
        "order": view.order,
        "item": view.item,
        "print partner": view.partner,
        "state": _state(view),
        "parcels": ", ".join(f"{each.tracking} ({each.shipping_option})" for each in view.parcels),
        "cause": view.cause or "",
        "message": view.message or "",
        "delay": "" if view.delay_hours is None else f"{view.delay_hours:g} hours",
        "findings": ", ".join(view.findings),
    }
    print_facts(facts)
    print_table(
        "Signals",
        ["no.", "type", "happened, UTC", "received, UTC", "findings"],
        [
            [
                str(each.position),
                each.type,
                moment(each.datetime),
                moment(each.received)[:16],
                " ".join(each.findings or []),
            ]
            for each in view.signals or []
        ],
        wrapping=("findings",),
    )


def _line(view: "SignalView") -> str:
    return plain(
        f"{view.position:>9}  {moment(view.received)}  {view.type:<14}  {view.order}  {view.item}"
        f"  {view.partner}{'  test' if view.test else ''}"
    )
