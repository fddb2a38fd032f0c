"""``cloudsignal endpoint``: what is told at an endpoint, what became of it, and what is told once more."""

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from cloudsignal.cli.awaiting import WAIT_S, Wait, awaited
from cloudsignal.cli.endpoints import Number, Place, at_desk, wish
from cloudsignal.cli.output import (
    NUMBER_MAX,
    Config,
    Database,
    Exit,
    Failed,
    Json,
    moment,
    note,
    opened,
    print_facts,
    print_json,
    print_table,
    program,
    where,
)

if TYPE_CHECKING:
    from cloudsignal.server.delivery.views import AttemptView
    from cloudsignal.server.store.deliveries import Attempted
    from cloudsignal.server.store.store import Store

deliveries = typer.Typer()

SHOWN_MAX: Final = 500
"""How much of an answer is shown to people."""

Messages = Annotated[
    list[str] | None,
    typer.Option("--message", metavar="ID", help="A delivery by its message; repeat for more."),
]
Limit = Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")]


@deliveries.command("test")
def post_test(
    number: Number,
    wait: Wait = WAIT_S,
    json: Json = False,
    database: Database = None,
    config: Config = None,
) -> None:
    """Have a webhook posted that is about no real order, and show how it was answered."""
    with at_desk(database, config) as place:
        again = f"{program()} endpoint {{}} {number}{where(database, config)}"
        state = place.store.endpoints.endpoint(number).state
        if state in ("paused", "disabled"):
            raise Failed(f"endpoint {number} is {state}: {again.format('resume')}")
        message = place.desk.test(number, now=place.now)
        later = f"{again.format('attempts')} --message {message}"
        found = awaited(lambda: _first_attempt(place.store, message), wait, later=later)
        if found is None:
            raise Failed(_why_not(place, again, later, wait), Exit.NOT_SENT)
    _show_attempt(found, json)
    if found.error:
        raise Failed(f"the test was not delivered: {found.error}")


def _first_attempt(store: "Store", message: str) -> "Attempted | None":
    found = store.delivery_log.attempts(message=message, limit=1)
    return found[0] if found else None


def _why_not(place: Place, again: str, later: str, wait_s: float) -> str:
    if not place.store.tellers.any():
        return (
            f"the test was not posted within {wait_s:g} s, because no server runs that tells owners: start"
            f" `{program()} serve`, which posts it then"
        )
    return (
        f"the test was not posted within {wait_s:g} s: `{again.format('show')}` says how the endpoint is doing, and"
        f" `{later}` later what became of the test"
    )


def _show_attempt(attempted: "Attempted", json: bool) -> None:
    from cloudsignal.server.delivery.views import attempt_view

    view = attempt_view(attempted)
    if json:
        print_json(view)
        return
    answer = view.answer
    print_facts(
        {
            "message": view.message,
            "type": view.type,
            "posted to": view.address,
            "took": f"{view.took_ms:.0f} ms",
            "answer": str(answer.status) if answer else "",
            "its body": answer.body[:SHOWN_MAX] if answer else "",
        }
    )


@deliveries.command("deliveries")
def list_deliveries(
    number: Number,
    state: Annotated[
        Literal["asked", "waiting", "dead"] | None, typer.Option(help="Only those in this state.")
    ] = None,
    after: Annotated[str, typer.Option(metavar="ID", help="Begin after this message.")] = "",
    limit: Limit = 100,
    json: Json = False,
    database: Database = None,
    config: Config = None,
) -> None:
    """List deliveries that were asked for, wait for another attempt, or were given up."""
    with opened(database, config) as (store, _):
        from cloudsignal.server.delivery.views import delivery_view

        store.endpoints.endpoint(number)
        noted = store.delivery_log.noted(number, state, after=after, limit=limit)
        views = [delivery_view(each) for each in noted]
    if json:
        print_json(views)
    else:
        print_table(
            f"Deliveries of endpoint {number}",
            ["message", "type", "order", "item", "state", "tries", "due, UTC", "why"],
            [
                [
                    each.message,
                    each.type,
                    each.order,
                    each.item,
                    each.state,
                    str(each.attempts or ""),
                    moment(each.due),
                    each.why,
                ]
                for each in views
            ],
            wrapping=("message", "type", "order", "item", "why"),
        )
    if len(views) == limit:
        note(f"there may be more: --after {views[-1].message}")


@deliveries.command("attempts")
def list_attempts(
    number: Annotated[
        int | None,
        typer.Argument(metavar="[ENDPOINT]", min=1, max=NUMBER_MAX, help="Else of every endpoint."),
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only those that failed.")] = False,
    message: Annotated[
        str | None, typer.Option(metavar="ID", help="Only those of this message.")
    ] = None,
    order: Annotated[
        str | None, typer.Option(metavar="ID", help="Only those of this order.")
    ] = None,
    item: Annotated[
        str | None, typer.Option(metavar="ID", help="Only those of this item of the order.")
    ] = None,
    before: Annotated[
        int | None, typer.Option(min=1, max=NUMBER_MAX, help="Begin before this attempt.")
    ] = None,
    limit: Limit = 50,
    json: Json = False,
    database: Database = None,
    config: Config = None,
) -> None:
    """List attempts to tell owners, the newest first; with --json, what was sent and answered as well."""
    if item is not None and order is None:
        raise Failed("an item is known by its order as well: add --order")
    with opened(database, config) as (store, _):
        from cloudsignal.server.delivery.views import attempt_view

        found = store.delivery_log.attempts(
            endpoint=number,
            message=message,
            order=order,
            item=item,
            failed=True if failed else None,
            before=before,
            limit=limit,
        )
        views = [attempt_view(each) for each in found]
    if json:
        print_json(views)
    else:
        print_table(
            "Attempts",
            [
                "id",
                "at, UTC",
                "endpoint",
                "type",
                "order",
                "item",
                "try",
                "ms",
                "what became of it",
            ],
            [_attempt_row(each) for each in views],
            wrapping=("type", "order", "item", "what became of it"),
        )
    if len(views) == limit:
        note(f"there may be more: --before {views[-1].id}")


def _attempt_row(view: "AttemptView") -> list[str]:
    return [
        str(view.id),
        moment(view.at),
        str(view.endpoint),
        view.type,
        view.order,
        view.item,
        str(view.attempt),
        f"{view.took_ms:.0f}",
        view.error or "delivered",
    ]


@deliveries.command("redeliver")
def redeliver(
    number: Number,
    messages: Messages = None,
    positions: Annotated[
        list[int] | None,
        typer.Option(
            "--position",
            metavar="N",
            min=1,
            help="A signal by its place in the log, whatever became of it; repeat for more.",
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="DATETIME", help="What was given up then or later."),
    ] = None,
    all: Annotated[bool, typer.Option("--all", help="All that was given up.")] = False,
    json: Json = False,
    database: Database = None,
    config: Config = None,
) -> None:
    """Have something told once more, as it was, and as often as if it had never been tried."""
    chosen = {"messages": messages, "positions": positions, "since": since, "all": all or None}
    _check_choice(chosen, "--message, --position, --since or --all")
    with at_desk(database, config) as place:
        from cloudsignal.server.delivery.wishes import Redelivery

        count = place.desk.redeliver(number, wish(Redelivery, **chosen), now=place.now)
    _tell_count(count, "told once more", json)
    if messages and count < len(messages):
        note(
            "the others neither wait nor were given up: what was delivered is told again by --position, its"
            " signal's place in the log"
        )
    if positions and count < len(positions):
        note("the others are of types that the endpoint is not sent, or of tests")


@deliveries.command("discard")
def discard(
    number: Number,
    messages: Messages = None,
    all: Annotated[bool, typer.Option("--all", help="All that was given up.")] = False,
    json: Json = False,
    database: Database = None,
    config: Config = None,
) -> None:
    """Forget deliveries that were given up. What was tried stays in the log of attempts."""
    chosen = {"messages": messages, "all": all or None}
    _check_choice(chosen, "--message or --all")
    with at_desk(database, config) as place:
        from cloudsignal.server.delivery.wishes import Discarding

        count = place.desk.discard(number, wish(Discarding, **chosen))
    _tell_count(count, "forgotten", json)


def _check_choice(chosen: dict[str, Any], flags: str) -> None:
    if sum(bool(each) for each in chosen.values()) != 1:
        raise Failed(f"choose deliveries in one way: {flags}", Exit.USAGE)


def _tell_count(count: int, what: str, json: bool) -> None:
    if json:
        print_json({"deliveries": count})
    else:
        print(f"{count} deliveries are {what}." if count != 1 else f"1 delivery is {what}.")
