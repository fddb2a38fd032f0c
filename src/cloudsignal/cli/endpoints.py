"""``cloudsignal endpoint``: where order owners are told, and how that goes."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple, TypeVar

import typer

from cloudsignal.cli.output import (
    NUMBER_MAX,
    Config,
    Database,
    Failed,
    Json,
    moment,
    opened,
    plain,
    print_facts,
    print_json,
    print_table,
    program,
    where,
)
from cloudsignal.cli.unseen import HINT, unseen

if TYPE_CHECKING:
    from cloudsignal.server.bodies import Wrong
    from cloudsignal.server.delivery.desk import Desk, Made
    from cloudsignal.server.delivery.views import EndpointView
    from cloudsignal.server.store.endpoints import EndpointState
    from cloudsignal.server.store.store import Store

T = TypeVar("T")

endpoint = typer.Typer(help="Where order owners are told, by webhooks.", no_args_is_help=True)

Number = Annotated[
    int,
    typer.Argument(metavar="ENDPOINT", min=1, max=NUMBER_MAX, help="The endpoint's number."),
]
Url = typer.Option(
    metavar="URL",
    callback=unseen,
    help=f"Where webhooks are posted; a user and a password go with it. {HINT}",
)
Format = typer.Option(help="2.1 has in ItemShipped where the parcel can be followed.")
Types = typer.Option(
    "--type", metavar="TYPE", help="A type of webhooks it is sent; repeat for more."
)
Apikey = Annotated[
    str | None,
    typer.Option(
        "--apikey",
        metavar="KEY",
        callback=unseen,
        help=f"What stands in apikey; else a new one is made. {HINT}",
    ),
]
Secret = Annotated[
    str | None,
    typer.Option(
        "--secret",
        metavar="WHSEC",
        callback=unseen,
        help=f"What webhooks are signed with; else a new one is made. {HINT}",
    ),
]

_FLAGS: Final = {"types": "--type", "messages": "--message", "positions": "--position"}
"""Flags that are repeated are not called as what they make."""


class Place(NamedTuple):
    """Where endpoints are changed: the store, who checks what is wanted, and the time."""

    store: "Store"
    desk: "Desk"
    now: int


@contextmanager
def at_desk(database: str | None, config: Path | None) -> Iterator[Place]:
    """Where endpoints are changed. What is wrong with what is wanted is raised as Failed."""
    with opened(database, config) as (store, settings):
        from cloudsignal.server import clock
        from cloudsignal.server.bodies import Unfit
        from cloudsignal.server.delivery.desk import Desk
        from cloudsignal.server.keys import open_keyring

        open_keyring(
            settings, store
        )  # Or endpoints would be sealed with a secret of another store.
        try:
            yield Place(store, Desk.of(store, settings), clock.now())
        except Unfit as error:
            raise Failed("; ".join(map(_flagged, error.wrong))) from None


def wish(kind: type[T], **given: Any) -> T:
    """What is wanted by flags, less those that were not given. Raises Unfit."""
    from cloudsignal.server.bodies import converted

    return converted({name: value for name, value in given.items() if value is not None}, kind)


def _flagged(wrong: "Wrong") -> str:
    name = wrong.at.partition("[")[0]
    flag = _FLAGS.get(name, f"--{name.replace('_', '-')}")
    return f"{flag}: {wrong.info}" if name else wrong.info


@endpoint.command("create")
def create_endpoint(
    owner: Annotated[str, typer.Option(metavar="NAME", help="Whose it is.")],
    url: Annotated[str, Url],
    format: Annotated[Literal["cloudsignal-2.0", "cloudsignal-2.1"], Format] = "cloudsignal-2.0",
    types: Annotated[list[str] | None, Types] = None,
    test: Annotated[
        bool, typer.Option("--test", help="Tell it of test signals, and of nothing else.")
    ] = False,
    newest_only: Annotated[
        bool,
        typer.Option("--newest-only", help="After an outage, tell of each item the newest only."),
    ] = False,
    apikey: Apikey = None,
    secret: Secret = None,
    json: Json = False,
    database: Database = None,
    config: Config = None,
) -> None:
    """Add an endpoint of an owner, and show its key and its secret: this once.

    Its owner is told there what comes from now on.
    """
    with at_desk(database, config) as place:
        from cloudsignal.server.delivery.wishes import EndpointCreation

        wanted = wish(
            EndpointCreation,
            owner=owner,
            url=url,
            format=format,
            types=types,
            test=test,
            newest_only=newest_only,
            apikey=apikey,
            secret=secret,
        )
        made = place.desk.create(wanted, now=place.now)
        _show_made(place, made, json)
    if not json:
        print("Its owner needs both, to check what comes. Next, while a server runs, a test:")
        print(f"  {program()} endpoint test {made.endpoint.id}{where(database, config)}")


@endpoint.command("list")
def list_endpoints(
    owner: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only those of an owner.")
    ] = None,
    json: Json = False,
    database: Database = None,
    config: Config = None,
) -> None:
    """List the endpoints, and how they are doing; keys and secrets are never shown again."""
    with opened(database, config) as (store, _):
        from cloudsignal.server import clock
        from cloudsignal.server.delivery.views import endpoint_views

        views = endpoint_views(store, owner, now=clock.now())
    if json:
        print_json(views)
        return
    print_table(
        "Endpoints",
        ["no.", "owner", "URL", "test", "state", "failures", "waiting", "dead", "behind"],
        [
            [
                str(each.endpoint),
                each.owner,
                each.url,
                "test" if each.test else "",
                each.state,
                f"{each.failures_percent} %" if each.failures else "",
                *(str(count or "") for count in (each.waiting, each.dead, each.behind)),
            ]
            for each in views
        ],
        wrapping=("owner", "URL"),
    )


@endpoint.command("show")
def show_endpoint(
    number: Number, json: Json = False, database: Database = None, config: Config = None
) -> None:
    """Show an endpoint, how it is doing, and what waits for it."""
    with opened(database, config) as (store, _):
        from cloudsignal.server import clock
        from cloudsignal.server.delivery.views import endpoint_view_of

        view = endpoint_view_of(store, number, now=clock.now())
    if json:
        print_json(view)
    else:
        _print_endpoint(view)


@endpoint.command("change")
def change_endpoint(
    number: Number,
    url: Annotated[str | None, Url] = None,
    format: Annotated[Literal["cloudsignal-2.0", "cloudsignal-2.1"] | None, Format] = None,
    types: Annotated[list[str] | None, Types] = None,
    all_types: Annotated[bool, typer.Option("--all-types", help="Send it every type.")] = False,
    newest_only: Annotated[
        bool | None,
        typer.Option(
            "--newest-only/--everything",
            help="After an outage, tell of each item the newest only, or everything.",
        ),
    ] = None,
    json: Json = False,
    database: Database = None,
    config: Config = None,
) -> None:
    """Change an endpoint. What is not given stays as it is; what waits goes to another URL too, as it was."""
    if types and all_types:
        raise Failed("--type and --all-types contradict each other")
    with at_desk(database, config) as place:
        from cloudsignal.server.delivery.views import view_now
        from cloudsignal.server.delivery.wishes import EndpointChange

        wanted = wish(
            EndpointChange,
            url=url,
            format=format,
            types=[] if all_types else types,
            newest_only=newest_only,
        )
        changed = place.desk.change(number, wanted)
        view = view_now(place.store, changed, now=place.now)
    if json:
        print_json(view)
    else:
        _print_endpoint(view)


@endpoint.command("pause")
def pause_endpoint(
    number: Number, json: Json = False, database: Database = None, config: Config = None
) -> None:
    """Post nothing to an endpoint, until it is resumed. Nothing that is due meanwhile is lost."""
    _set_state(number, "paused", json, database, config)


@endpoint.command("resume")
def resume_endpoint(
    number: Number, json: Json = False, database: Database = None, config: Config = None
) -> None:
    """Go on with an endpoint where it was. One that failed too often is tried with one webhook first."""
    _set_state(number, "active", json, database, config)


@endpoint.command("remove")
def remove_endpoint(
    number: Number,
    yes: Annotated[bool, typer.Option("--yes", help="Ask no question.")] = False,
    json: Json = False,
    database: Database = None,
    config: Config = None,
) -> None:
    """End an endpoint for good, with all that waits for it. What was tried stays in the log of attempts."""
    with opened(database, config) as (store, _):
        from cloudsignal.server import clock
        from cloudsignal.server.delivery.views import endpoint_view_of

        view = endpoint_view_of(store, number, now=clock.now())
        if not yes and not sys.stdin.isatty():
            raise Failed("nothing is removed: say --yes where nobody can be asked")
        if not yes and not typer.confirm(_question(view)):
            raise Failed("nothing is removed")
        store.endpoints.remove(number)
    if json:
        print_json(view)
    else:
        print(f"Endpoint {number} of {plain(view.owner)} is removed.")


@endpoint.command("rotate")
def rotate_endpoint(
    number: Number,
    overlap_hours: Annotated[
        float, typer.Option(min=0, help="For how long the old secret signs as well.")
    ] = 24.0,
    apikey: Annotated[
        str | None,
        typer.Option(
            "--apikey",
            metavar="KEY",
            callback=unseen,
            help=f"Another key, too; else it stays. {HINT}",
        ),
    ] = None,
    secret: Secret = None,
    json: Json = False,
    database: Database = None,
    config: Config = None,
) -> None:
    """Give an endpoint a new secret, and show it: this once. Both sign until the overlap is over."""
    with at_desk(database, config) as place:
        from cloudsignal.server.delivery.wishes import Rotation

        wanted = wish(Rotation, overlap_hours=overlap_hours, apikey=apikey, secret=secret)
        made = place.desk.rotate(number, wanted, now=place.now)
        view = _show_made(place, made, json)
    if not json and view.old_secret_until:
        print(f"The old secret signs as well until {moment(view.old_secret_until)} UTC.")


def _set_state(
    number: int, state: "EndpointState", json: bool, database: str | None, config: Path | None
) -> None:
    with opened(database, config) as (store, _):
        from cloudsignal.server import clock
        from cloudsignal.server.delivery.views import view_now

        view = view_now(store, store.endpoints.set_state(number, state), now=clock.now())
    if json:
        print_json(view)
    else:
        print(f"Endpoint {number} of {plain(view.owner)} is {view.state}.")


def _show_made(place: Place, made: "Made", json: bool) -> "EndpointView":
    """Show an endpoint with what is new of its key and its secret; without them, it is returned."""
    from cloudsignal.server.delivery.views import made_view, view_now

    view = view_now(place.store, made.endpoint, now=place.now)
    if json:
        print_json(made_view(view, made.apikey, made.secret))
        return view
    test = ", for test signals" if view.test else ""
    print(plain(f"Endpoint {view.endpoint} of {view.owner}{test}: {view.url}"))
    print("What is new, shown this once:\n")
    for name, value in (("apikey", made.apikey), ("secret", made.secret)):
        if value is not None:
            print(f"  {name}  {value}")
    print()
    return view


def _question(view: "EndpointView") -> str:
    waits = view.waiting + view.asked + view.dead
    left = f" {waits} deliveries that wait or were given up go with it." if waits else ""
    return plain(f"Remove endpoint {view.endpoint} of {view.owner}, {view.url}?{left}")


def _print_endpoint(view: "EndpointView") -> None:
    print_facts(
        {
            "endpoint": str(view.endpoint),
            "owner": view.owner,
            "URL": view.url,
            "format": view.format,
            "types": ", ".join(view.types) or "all",
            "signals": "those of tests" if view.test else "",
            "after outages": "the newest of each item only" if view.newest_only else "",
            "state": view.state,
            "health": view.health,
            "waiting": str(view.waiting or ""),
            "asked for": str(view.asked or ""),
            "given up": str(view.dead or ""),
            "behind": f"by {view.behind} of the positions in the log" if view.behind else "",
            "since": moment(view.created) + " UTC",
            "old secret": f"signs until {moment(view.old_secret_until)} UTC"
            if view.old_secret_until
            else "",
        }
    )
