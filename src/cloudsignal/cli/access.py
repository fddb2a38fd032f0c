"""Who may speak, and who is spoken to: ``cloudsignal partner``, ``interface``, ``owner`` and ``token``."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple

import msgspec
import typer

from cloudsignal.cli.output import (
    NUMBER_MAX,
    Config,
    Database,
    Failed,
    Json,
    curl_line,
    iso,
    opened,
    print_json,
    print_table,
    program,
    shown,
    where,
)

if TYPE_CHECKING:
    from cloudsignal.server.keys import Keyring
    from cloudsignal.server.settings import Settings
    from cloudsignal.server.store.access import Access, Interface, Partner, Token
    from cloudsignal.server.store.orders import Orders

HOUR_US: Final = 3600 * 1_000_000
OVERLAP_HOURS_MAX: Final = 8760.0
NAME_MAX: Final = 255

partner = typer.Typer(help="Print partners.", no_args_is_help=True)
interface = typer.Typer(help="CloudSignal API interfaces and their keys.", no_args_is_help=True)
owner = typer.Typer(help="Owners of orders, and their keys.", no_args_is_help=True)
token = typer.Typer(help="Bearer tokens for the API.", no_args_is_help=True)

Number = Annotated[
    int,
    typer.Argument(metavar="INTERFACE", min=1, max=NUMBER_MAX, help="The interface's number."),
]
GivenKey = Annotated[
    str | None,
    typer.Option("--apikey", metavar="32-HEX", help="The key to use, instead of a new one."),
]

Overlap = Annotated[
    float,
    typer.Option(
        min=0,
        max=OVERLAP_HOURS_MAX,
        help="For how long the old key stays valid beside the new one.",
    ),
]


class Desk(NamedTuple):
    """Where access is given: who may speak, whose orders there are, how keys are digested, the time, and the settings."""

    access: "Access"
    orders: "Orders"
    keyring: "Keyring"
    now: int
    settings: "Settings"


@contextmanager
def _desk(database: str | None, config: Path | None) -> Iterator[Desk]:
    with opened(database, config) as (store, settings):
        from cloudsignal.server import clock
        from cloudsignal.server.keys import open_keyring

        yield Desk(store.access, store.orders, open_keyring(settings, store), clock.now(), settings)


@partner.command("create")
def create_partner(
    name: str, json: Json = False, database: Database = None, config: Config = None
) -> None:
    """Add a print partner."""
    with _desk(database, config) as desk:
        made = desk.access.create_partner(_checked_name(name), now=desk.now)
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
    with _desk(database, config) as desk:
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
    key = _checked_key(apikey)
    with _desk(database, config) as desk:
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
    with _desk(database, config) as desk:
        found = desk.access.interfaces()
        keys = desk.access.apikeys()
    valid = Counter(key.interface for key in keys if key.expires is None or key.expires > desk.now)
    if json:
        print_json([_interface_view(each) | {"keys": valid[each.id]} for each in found])
        return
    print_table(
        "Interfaces",
        ["no.", "print partner", "state", "keys", "test", "time zone", "allowed", "since, UTC"],
        [
            [
                str(each.id),
                each.partner_name,
                each.state,
                str(valid[each.id]),
                "test" if each.test else "",
                each.timezone,
                " ".join(each.allow),
                shown(each.created)[:10],
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
    key = _checked_key(apikey)
    with _desk(database, config) as desk:
        _check_usable(desk.access, number)
        expires = desk.now + int(overlap_hours * HOUR_US)
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
    with _desk(database, config) as desk:
        _check_usable(desk.access, number)
        changed = desk.access.set_disabled(number, True)
    _show_state(changed, json)


@interface.command("enable")
def enable_interface(
    number: Number, json: Json = False, database: Database = None, config: Config = None
) -> None:
    """Open a disabled interface again."""
    with _desk(database, config) as desk:
        _check_usable(desk.access, number)
        changed = desk.access.set_disabled(number, False)
    _show_state(changed, json)


@interface.command("revoke")
def revoke_interface(
    number: Number, json: Json = False, database: Database = None, config: Config = None
) -> None:
    """Close an interface for good: its keys get 403 for ever."""
    with _desk(database, config) as desk:
        changed = desk.access.revoke(number, now=desk.now)
    _show_state(changed, json)


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

    with _desk(database, config) as desk:
        made = desk.orders.create_owner(
            _checked_name(name), unregistered=unregistered, now=desk.now
        )
    if json:
        print_json(owner_view(made))
    else:
        print(f"Owner {made.name} is there. Next: the orders, from a table or a file of JSON:")
        print(f"  {program()} order register FILE{where(database, config)}")


@owner.command("list")
def list_owners(json: Json = False, database: Database = None, config: Config = None) -> None:
    """List the owners; keys are never shown again."""
    from cloudsignal.server.views import owner_view

    with _desk(database, config) as desk:
        found = desk.orders.owners()
        keys = desk.orders.owner_keys()
    valid = Counter(key.owner for key in keys if key.expires is None or key.expires > desk.now)
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
    key = _checked_key(apikey)
    with _desk(database, config) as desk:
        expires = desk.now + int(overlap_hours * HOUR_US)
        digest = desk.keyring.digest(key)
        made = desk.orders.add_owner_key(name, digest, expires=expires, now=desk.now)
    if json:
        print_json({"owner": made.name, "apikey": key, "old_keys_expire": iso(expires)})
        return
    print(f"A key of owner {made.name}, shown this once:\n\n  {key}\n")
    print(f"Keys that were there before work until {shown(expires)} UTC.")


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
    with _desk(database, config) as desk:
        desk.access.create_token(_checked_name(name), role, desk.keyring.digest(made), now=desk.now)
    if json:
        print_json({"name": name, "role": role, "token": made})
    else:
        print(f"Token {name} ({role}), shown this once:\n\n  {made}\n")
        print("Send it as a header: Authorization: Bearer TOKEN")


@token.command("list")
def list_tokens(json: Json = False, database: Database = None, config: Config = None) -> None:
    """List the tokens; they themselves are never shown again."""
    with _desk(database, config) as desk:
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
    with _desk(database, config) as desk:
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


def _checked_name(name: str) -> str:
    if not name.strip() or len(name) > NAME_MAX or not name.isprintable():
        raise Failed(f"a name has 1 to {NAME_MAX} printable characters")
    return name


def _checked_key(apikey: str | None) -> str:
    from cloudsignal.server.keys import APIKEY, new_apikey

    if apikey is None:
        return new_apikey()
    if not APIKEY.fullmatch(apikey):
        raise Failed(
            "--apikey must be 32 lower-case hex characters, such as `openssl rand -hex 16`"
        )
    return apikey


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
