"""Who may speak, and who may look: ``cloudsignal partner``, ``interface`` and ``token``."""

from collections import Counter
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import typer

from cloudsignal.cli.desk import GivenKey, Overlap, at_desk, checked_key, checked_name
from cloudsignal.cli.output import (
    NUMBER_MAX,
    Config,
    Database,
    Failed,
    Json,
    curl_line,
    iso,
    print_json,
    print_table,
    program,
    shown,
    where,
)

if TYPE_CHECKING:
    from cloudsignal.server.settings import Settings
    from cloudsignal.server.store.access import Access, Interface, Partner, Token
    from cloudsignal.server.store.posts import Traffic

partner = typer.Typer(help="Print partners.", no_args_is_help=True)
interface = typer.Typer(help="CloudSignal API interfaces and their keys.", no_args_is_help=True)
token = typer.Typer(help="Bearer tokens for the API.", no_args_is_help=True)

Number = Annotated[
    int,
    typer.Argument(metavar="INTERFACE", min=1, max=NUMBER_MAX, help="The interface's number."),
]


@partner.command("create")
def create_partner(
    name: str, json: Json = False, database: Database = None, config: Config = None
) -> None:
    """Add a print partner."""
    with at_desk(database, config) as desk:
        made = desk.access.create_partner(checked_name(name), now=desk.now)
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
    with at_desk(database, config) as desk:
        found = desk.access.partners()
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
    timezone: Annotated[
        str,
        typer.Option(metavar="ZONE", help="The zone of datetimes that name none: Europe/Berlin."),
    ] = "UTC",
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
    key = checked_key(apikey)
    with at_desk(database, config) as desk:
        made = desk.access.create_interface(
            desk.access.partner(partner_name),
            desk.keyring.digest(key),
            timezone=_checked_zone(timezone),
            allow=_checked_addresses(allow or []),
            test=test,
            now=desk.now,
        )
    if json:
        print_json(_interface_view(made) | {"apikey": key})
        return
    _print_key(made, key)
    from cloudsignal.protocol.http import ENDPOINT

    print("Its signals are posted to this server's")
    print(f"\n  {ENDPOINT}\n\nfor instance, if the server listens as it is set here:\n")
    print(curl_line(_address(desk.settings), key))


@interface.command("list")
def list_interfaces(json: Json = False, database: Database = None, config: Config = None) -> None:
    """List the interfaces; keys are never shown again."""
    with at_desk(database, config) as desk:
        found = desk.access.interfaces()
        keys = desk.access.apikeys()
        came = desk.posts.of_interfaces(desk.hours_from_now(-24))
    valid = Counter(key.interface for key in keys if desk.is_valid(key))
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
    key = checked_key(apikey)
    with at_desk(database, config) as desk:
        _check_usable(desk.access, number)
        expires = desk.hours_from_now(overlap_hours)
        digest = desk.keyring.digest(key)
        made = desk.access.rotate_key(number, digest, expires=expires, now=desk.now)
    if json:
        print_json(_interface_view(made) | {"apikey": key, "old_key_expires": iso(expires)})
        return
    _print_key(made, key)
    print(f"The old key works until {shown(expires)} UTC.")


@interface.command("disable")
def disable_interface(
    number: Number, json: Json = False, database: Database = None, config: Config = None
) -> None:
    """Close an interface: its keys get 403 until it is enabled again."""
    with at_desk(database, config) as desk:
        _check_usable(desk.access, number)
        changed = desk.access.set_disabled(number, True)
    _show_state(changed, json)


@interface.command("enable")
def enable_interface(
    number: Number, json: Json = False, database: Database = None, config: Config = None
) -> None:
    """Open a disabled interface again."""
    with at_desk(database, config) as desk:
        _check_usable(desk.access, number)
        changed = desk.access.set_disabled(number, False)
    _show_state(changed, json)


@interface.command("revoke")
def revoke_interface(
    number: Number, json: Json = False, database: Database = None, config: Config = None
) -> None:
    """Close an interface for good: its keys get 403 for ever."""
    with at_desk(database, config) as desk:
        changed = desk.access.revoke(number, now=desk.now)
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
    from cloudsignal.server.keys import new_token

    made = new_token()
    with at_desk(database, config) as desk:
        desk.access.create_token(checked_name(name), role, desk.keyring.digest(made), now=desk.now)
    if json:
        print_json({"name": name, "role": role, "token": made})
    else:
        print(f"Token {name} ({role}), shown this once:\n\n  {made}\n")
        print("Send it as a header: Authorization: Bearer TOKEN")


@token.command("list")
def list_tokens(json: Json = False, database: Database = None, config: Config = None) -> None:
    """List the tokens; they themselves are never shown again."""
    with at_desk(database, config) as desk:
        found = desk.access.tokens()
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
        ended = desk.access.revoke_token(name, now=desk.now)
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


def _print_key(made: "Interface", key: str) -> None:
    test = ", a test interface" if made.test else ""
    print(f"Interface {made.id} of {made.partner_name}{test}. Its key, shown this once:\n")
    print(f"  {key}\n")


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


def _check_usable(access: "Access", number: int) -> None:
    if access.interface(number).state == "revoked":
        raise Failed(f"interface {number} is revoked for good: create another one")


def _checked_zone(name: str) -> str:
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name).key
    except (KeyError, ValueError, OSError):
        raise Failed(f"{name!r} is no time zone: write UTC or one like Europe/Berlin") from None


def _checked_addresses(allow: list[str]) -> tuple[str, ...]:
    from cloudsignal.server import addresses

    try:
        return addresses.checked(allow)
    except ValueError as error:
        raise Failed(f"--allow: {error}: write 192.0.2.7 or 192.0.2.0/24") from None
