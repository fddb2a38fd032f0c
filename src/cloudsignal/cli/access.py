"""Who may speak, and who may look: ``cloudsignal partner``, ``interface`` and ``token``."""

from collections import Counter
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import typer

from cloudsignal.cli.desk import GivenKey, Overlap, at_desk
from cloudsignal.cli.output import (
    NUMBER_MAX,
    Config,
    Database,
    Failed,
    Json,
    iso,
    opened,
    print_facts,
    print_json,
    print_table,
    program,
    read_settings,
    shown,
    where,
)
from cloudsignal.protocol.units import DAY_US

if TYPE_CHECKING:
    from cloudsignal.server.key_desk import Given
    from cloudsignal.server.settings import Settings
    from cloudsignal.server.store.access import Interface, Partner, Token
    from cloudsignal.server.store.posts import Traffic

partner = typer.Typer(help="Print partners.", no_args_is_help=True)
interface = typer.Typer(help="CloudSignal API interfaces and their keys.", no_args_is_help=True)
token = typer.Typer(help="Bearer tokens for the API.", no_args_is_help=True)

Number = Annotated[
    int,
    typer.Argument(metavar="INTERFACE", min=1, max=NUMBER_MAX, help="The interface's number."),
]
Zone = typer.Option(metavar="ZONE", help="The zone of datetimes that name none: Europe/Berlin.")


@partner.command("create")
def create_partner(
    name: str, json: Json = False, database: Database = None, config: Config = None
) -> None:
    """Add a print partner."""
    with at_desk(database, config) as desk:
        made = desk.create_partner(name)
    if json:
        print_json(_partner_view(made))
    else:
        print(f"Print partner {made.name} is there. Next: an interface for its signals:")
        print(
            f"  {program()} interface create --partner {quote(made.name)}{where(database, config)}"
        )


@partner.command("list")
def list_partners(json: Json = False, database: Database = None, config: Config = None) -> None:
    """List the print partners."""
    with opened(database, config) as (store, _):
        found = store.access.partners()
    if json:
        print_json([_partner_view(each) for each in found])
    else:
        print_table(
            "Print partners",
            ["name", "since, UTC"],
            [[each.name, shown(each.created)] for each in found],
            wrapping=("name",),
        )


@interface.command("create")
def create_interface(
    partner_name: Annotated[
        str, typer.Option("--partner", metavar="NAME", help="Whose interface it is.")
    ],
    apikey: GivenKey = None,
    timezone: Annotated[str, Zone] = "UTC",
    allow: Annotated[
        list[str] | None,
        typer.Option(metavar="ADDRESS/NET", help="Who may use it; repeat for more. Else anyone."),
    ] = None,
    test: Annotated[bool, typer.Option("--test", help="Mark what comes in as a test.")] = False,
    json: Json = False,
    database: Database = None,
    config: Config = None,
) -> None:
    """Add an interface for a print partner, and show its key: this once."""
    with at_desk(database, config) as desk:
        made = desk.create_interface(
            partner_name, timezone=timezone, allow=allow or (), test=test, apikey=apikey
        )
    if json:
        print_json(_interface_view(made.to) | {"apikey": made.key})
        return
    _print_key(made)
    from cloudsignal.protocol.http import ENDPOINT
    from cloudsignal.server.first_signal import curl, first_signal

    print("Its signals are posted to this server's")
    print(f"\n  {ENDPOINT}\n\nfor instance, if the server listens as it is set here:\n")
    signal = first_signal(made.to.id, now=made.to.created)
    print(curl(_address(read_settings({}, config)), made.key, signal))


@interface.command("list")
def list_interfaces(json: Json = False, database: Database = None, config: Config = None) -> None:
    """List the interfaces; keys are never shown again."""
    with opened(database, config) as (store, _):
        from cloudsignal.server.clock import now
        from cloudsignal.server.key_desk import is_valid

        found = store.access.interfaces()
        keys = store.access.apikeys()
        came = store.posts.of_interfaces(now() - DAY_US)
        valid = Counter(key.interface for key in keys if is_valid(key, now=now()))
    if json:
        print_json(
            [
                _interface_view(each) | {"keys": valid[each.id]} | _traffic_view(came[each.id])
                for each in found
            ]
        )
        return
    print_table(
        "Interfaces",
        [
            *("no.", "print partner", "state", "keys", "test", "time zone", "allowed"),
            *("used, UTC", "posts,\n24 h", "refused,\n24 h"),
        ],
        [
            [
                str(each.id),
                each.partner_name,
                each.state,
                str(valid[each.id]),
                "test" if each.test else "",
                each.timezone,
                " ".join(each.allow),
                shown(came[each.id].last)[:10],
                str(came[each.id].posts or ""),
                str(came[each.id].refusals or ""),
            ]
            for each in found
        ],
        wrapping=("print partner", "time zone", "allowed"),
    )


@interface.command("rotate")
def rotate_interface(
    number: Number,
    overlap_hours: Overlap = 24.0,
    apikey: GivenKey = None,
    json: Json = False,
    database: Database = None,
    config: Config = None,
) -> None:
    """Give an interface a new key, and show it: this once. The old one expires after the overlap."""
    with at_desk(database, config) as desk:
        made = desk.rotate_key(number, overlap_hours, apikey)
    if json:
        expires = {"old_key_expires": iso(made.overlap_ends)}
        print_json(_interface_view(made.to) | {"apikey": made.key} | expires)
        return
    _print_key(made)
    print(f"The old key works until {shown(made.overlap_ends)} UTC.")


@interface.command("change")
def change_interface(
    number: Number,
    timezone: Annotated[str | None, Zone] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS/NET", help="Who alone may use it from now on; repeat for more."
        ),
    ] = None,
    allow_anyone: Annotated[
        bool, typer.Option("--allow-anyone", help="Let it be used from everywhere.")
    ] = False,
    test: Annotated[
        bool | None,
        typer.Option("--test/--no-test", help="Whether what comes in is marked as a test."),
    ] = None,
    json: Json = False,
    database: Database = None,
    config: Config = None,
) -> None:
    """Change an interface for what comes in from now on. What is not given stays as it is."""
    if allow and allow_anyone:
        raise Failed("--allow and --allow-anyone contradict each other")
    with at_desk(database, config) as desk:
        changed = desk.change_interface(
            number, timezone=timezone, allow=[] if allow_anyone else allow, test=test
        )
    if json:
        print_json(_interface_view(changed))
        return
    print(f"Interface {changed.id} of {changed.partner_name}, {changed.state}:\n")
    print_facts(
        {
            "time zone": changed.timezone,
            "allowed": " ".join(changed.allow) or "from everywhere",
            "test": "yes" if changed.test else "no",
        }
    )


@interface.command("disable")
def disable_interface(
    number: Number, json: Json = False, database: Database = None, config: Config = None
) -> None:
    """Close an interface: its keys get 403 until it is enabled again."""
    with at_desk(database, config) as desk:
        changed = desk.set_disabled(number, True)
    _show_state(changed, json)


@interface.command("enable")
def enable_interface(
    number: Number, json: Json = False, database: Database = None, config: Config = None
) -> None:
    """Open a disabled interface again."""
    with at_desk(database, config) as desk:
        changed = desk.set_disabled(number, False)
    _show_state(changed, json)


@interface.command("revoke")
def revoke_interface(
    number: Number, json: Json = False, database: Database = None, config: Config = None
) -> None:
    """Close an interface for good: its keys get 403 for ever."""
    with at_desk(database, config) as desk:
        changed = desk.revoke(number)
    _show_state(changed, json)


@token.command("create")
def create_token(
    name: str,
    role: Annotated[
        Literal["reader", "operator", "admin"], typer.Option(help="What the token may do.")
    ] = "reader",
    json: Json = False,
    database: Database = None,
    config: Config = None,
) -> None:
    """Make a bearer token for the API, and show it: this once."""
    with at_desk(database, config) as desk:
        made = desk.create_token(name, role)
    if json:
        print_json({"name": made.to.name, "role": made.to.role, "token": made.key})
    else:
        print(f"Token {made.to.name} ({made.to.role}), shown this once:\n\n  {made.key}\n")
        print("Send it as a header: Authorization: Bearer TOKEN")


@token.command("list")
def list_tokens(json: Json = False, database: Database = None, config: Config = None) -> None:
    """List the tokens; they themselves are never shown again."""
    with opened(database, config) as (store, _):
        found = store.access.tokens()
    if json:
        print_json([_token_view(each) for each in found])
    else:
        print_table(
            "Tokens",
            ["name", "role", "since, UTC", "revoked, UTC"],
            [[each.name, each.role, shown(each.created), shown(each.revoked)] for each in found],
            wrapping=("name",),
        )


@token.command("revoke")
def revoke_token(
    name: str, json: Json = False, database: Database = None, config: Config = None
) -> None:
    """End a token: from now on it gets 401."""
    with at_desk(database, config) as desk:
        ended = desk.revoke_token(name)
    if json:
        print_json(_token_view(ended))
    else:
        print(f"Token {ended.name} is revoked.")


def _partner_view(partner: "Partner") -> Any:
    from cloudsignal.server.views import partner_view

    return partner_view(partner)


def _interface_view(interface: "Interface") -> dict[str, Any]:
    from cloudsignal.server.views import interface_view

    view: dict[str, Any] = msgspec.to_builtins(interface_view(interface))
    return view


def _traffic_view(traffic: "Traffic") -> dict[str, Any]:
    from cloudsignal.server.views import traffic_view

    view: dict[str, Any] = msgspec.to_builtins(traffic_view(traffic))
    return view


def _token_view(token: "Token") -> dict[str, Any]:
    return {
        "name": token.name,
        "role": token.role,
        "created": iso(token.created),
        "revoked": iso(token.revoked),
    }


def _print_key(made: "Given[Interface]") -> None:
    test = ", a test interface" if made.to.test else ""
    print(f"Interface {made.to.id} of {made.to.partner_name}{test}. Its key, shown this once:\n")
    print(f"  {made.key}\n")


def _address(settings: "Settings") -> str:
    """Where the server is asked on this machine."""
    from cloudsignal.server import addresses

    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    return addresses.url(host, settings.port)


def _show_state(changed: "Interface", json: bool) -> None:
    if json:
        print_json(_interface_view(changed))
    else:
        print(f"Interface {changed.id} of {changed.partner_name} is {changed.state}.")
