"""Who may speak: ``cloudsignal partner``, ``interface`` and ``token``."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from cloudsignal.cli.output import (
    Config,
    Database,
    Failed,
    Json,
    opened,
    print_json,
    print_table,
    shown,
)

if TYPE_CHECKING:
    from cloudsignal.server.keys import Keyring
    from cloudsignal.server.store.access import Access, Interface

HOUR_US: Final = 3600 * 1_000_000
NAME_MAX: Final = 255

partner = typer.Typer(help="Print partners.", no_args_is_help=True)
interface = typer.Typer(help="CloudSignal API interfaces and their keys.", no_args_is_help=True)
token = typer.Typer(help="Bearer tokens for the API.", no_args_is_help=True)

Number = Annotated[int, typer.Argument(metavar="INTERFACE", help="The interface's number.")]
GivenKey = Annotated[
    str | None,
    typer.Option("--apikey", metavar="32-HEX", help="The key to use, instead of a new one."),
]


@contextmanager
def _access(database: str | None, config: Any) -> Iterator[tuple["Access", "Keyring", int]]:
    """Who may speak, how keys are digested, and the time."""
    with opened(database, config) as (store, settings):
        from cloudsignal.server import clock
        from cloudsignal.server.keys import Keyring, secret_of

        keyring = Keyring(secret_of(settings))
        keyring.check(store)
        yield store.access, keyring, clock.now()


@partner.command("create")
def create_partner(
    name: str, json: Json = False, database: Database = None, config: Config = None
) -> None:
    """Add a print partner."""
    with _access(database, config) as (access, _, now):
        made = access.create_partner(_checked_name(name), now=now)
    if json:
        print_json({"partner": made.name, "id": made.id})
    else:
        print(f"Print partner {made.name} is there. Next: an interface for its signals:")
        print(f"  cloudsignal interface create --partner '{made.name}'")


@partner.command("list")
def list_partners(json: Json = False, database: Database = None, config: Config = None) -> None:
    """List the print partners."""
    with _access(database, config) as (access, _, _now):
        found = access.partners()
    if json:
        print_json(
            [
                {"partner": each.name, "id": each.id, "created": shown(each.created)}
                for each in found
            ]
        )
    else:
        print_table(
            "Print partners",
            ["name", "since"],
            [[each.name, shown(each.created)] for each in found],
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
    with _access(database, config) as (access, keyring, now):
        made = access.create_interface(
            access.partner(partner_name),
            keyring.digest(key),
            timezone=_checked_zone(timezone),
            allow=_checked_addresses(allow or []),
            test=test,
            now=now,
        )
    _show_key(made, key, json)


@interface.command("list")
def list_interfaces(json: Json = False, database: Database = None, config: Config = None) -> None:
    """List the interfaces; keys are never shown again."""
    with _access(database, config) as (access, _, now):
        found = access.interfaces()
        keys = access.apikeys()
    valid: dict[int, int] = {}
    for key in keys:
        if key.expires is None or key.expires > now:
            valid[key.interface] = valid.get(key.interface, 0) + 1
    if json:
        print_json([_described(each) | {"keys": valid.get(each.id, 0)} for each in found])
        return
    print_table(
        "Interfaces",
        ["interface", "print partner", "state", "keys", "test", "time zone", "allowed", "since"],
        [
            [
                str(each.id),
                each.partner_name,
                each.state,
                str(valid.get(each.id, 0)),
                "test" if each.test else "",
                each.timezone,
                ", ".join(each.allow) or "anyone",
                shown(each.created),
            ]
            for each in found
        ],
    )


@interface.command("rotate")
def rotate_interface(
    number: Number,
    overlap_hours: Annotated[
        float, typer.Option(min=0, help="For how long the old key stays valid beside the new one.")
    ] = 24.0,
    apikey: GivenKey = None,
    json: Json = False,
    database: Database = None,
    config: Config = None,
) -> None:
    """Give an interface a new key, and show it: this once. The old one expires after the overlap."""
    key = _checked_key(apikey)
    with _access(database, config) as (access, keyring, now):
        expires = now + int(overlap_hours * HOUR_US)
        made = access.rotate_key(number, keyring.digest(key), expires=expires, now=now)
    _show_key(made, key, json, old_key_expires=shown(expires))


@interface.command("disable")
def disable_interface(
    number: Number, json: Json = False, database: Database = None, config: Config = None
) -> None:
    """Close an interface: its keys get 403 until it is enabled again."""
    with _access(database, config) as (access, _, _now):
        changed = access.set_disabled(number, True)
    _show_state(changed, json)


@interface.command("enable")
def enable_interface(
    number: Number, json: Json = False, database: Database = None, config: Config = None
) -> None:
    """Open a disabled interface again."""
    with _access(database, config) as (access, _, _now):
        changed = access.set_disabled(number, False)
    _show_state(changed, json)


@interface.command("revoke")
def revoke_interface(
    number: Number, json: Json = False, database: Database = None, config: Config = None
) -> None:
    """Close an interface for good: its keys get 403 for ever."""
    with _access(database, config) as (access, _, now):
        changed = access.revoke(number, now=now)
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
    with _access(database, config) as (access, keyring, now):
        access.create_token(_checked_name(name), role, keyring.digest(made), now=now)
    if json:
        print_json({"name": name, "role": role, "token": made})
    else:
        print(f"Token {name} ({role}), shown this once:\n\n  {made}\n")
        print("Send it as a header: Authorization: Bearer TOKEN")


@token.command("list")
def list_tokens(json: Json = False, database: Database = None, config: Config = None) -> None:
    """List the tokens; they themselves are never shown again."""
    with _access(database, config) as (access, _, _now):
        found = access.tokens()
    rows = [
        {
            "name": each.name,
            "role": each.role,
            "created": shown(each.created),
            "revoked": shown(each.revoked),
        }
        for each in found
    ]
    if json:
        print_json(rows)
    else:
        print_table(
            "Tokens", ["name", "role", "since", "revoked"], [list(row.values()) for row in rows]
        )


@token.command("revoke")
def revoke_token(
    name: str, json: Json = False, database: Database = None, config: Config = None
) -> None:
    """End a token: from now on it gets 401."""
    with _access(database, config) as (access, _, now):
        ended = access.revoke_token(name, now=now)
    if json:
        print_json({"name": ended.name, "revoked": shown(ended.revoked)})
    else:
        print(f"Token {ended.name} is revoked.")


def _described(each: "Interface") -> dict[str, Any]:
    return {
        "interface": each.id,
        "partner": each.partner_name,
        "state": each.state,
        "test": each.test,
        "timezone": each.timezone,
        "allow": each.allow,
        "created": shown(each.created),
    }


def _show_key(made: "Interface", key: str, json: bool, **more: str) -> None:
    if json:
        print_json(_described(made) | {"apikey": key} | more)
        return
    test = ", a test interface" if made.test else ""
    print(f"Interface {made.id} of {made.partner_name}{test}. Its key, shown this once:\n")
    print(f"  {key}\n")
    if "old_key_expires" in more:
        print(f"The old key works until {more['old_key_expires']}.")


def _show_state(changed: "Interface", json: bool) -> None:
    if json:
        print_json(_described(changed))
    else:
        print(f"Interface {changed.id} of {changed.partner_name} is {changed.state}.")


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
