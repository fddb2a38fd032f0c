"""``cloudsignal user``: who may sign in to the panel."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cloudsignal.cli.output import (
    Config,
    Database,
    Failed,
    Json,
    iso,
    opened,
    plain,
    print_json,
    print_table,
)

if TYPE_CHECKING:
    from cloudsignal.server.store.store import Store
    from cloudsignal.server.store.users import User

user = typer.Typer(help="Who may sign in to the panel.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Whose.")]
Role = Annotated[str, typer.Option(help="What they may do and see.")]
Of = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="The print partner or owner, for the role of that name."),
]
Url = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Where the panel is reached, to make the link of, if not at the setting public_url.",
    ),
]


@user.command("create")
def create_user(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What they sign in as.")],
    role: Role = "reader",
    of: Of = None,
    url: Url = None,
    json: Json = False,
    database: Database = None,
    config: Config = None,
) -> None:
    """Add somebody, and show the link by which they choose a password: this once.

    The roles: a reader sees everything, an operator administers it, an admin manages users as well; partner and
    owner see what is their own.
    """
    with opened(database, config) as (store, settings):
        from cloudsignal.server import rules
        from cloudsignal.server.clock import now

        try:
            made = store.users.create(rules.name(name), **_granted(store, role, of), now=now())
        except rules.Unfit as error:
            raise Failed(str(error)) from None
        _invite(store, settings, made, url, json)


@user.command("invite")
def invite_user(
    name: Name,
    url: Url = None,
    json: Json = False,
    database: Database = None,
    config: Config = None,
) -> None:
    """Show a new link by which somebody chooses a password, in place of any earlier one."""
    with opened(database, config) as (store, settings):
        _invite(store, settings, _find(store, name), url, json)


@user.command("list")
def list_users(json: Json = False, database: Database = None, config: Config = None) -> None:
    """List who may sign in."""
    with opened(database, config) as (store, _):
        views = [_view(each) for each in store.users.users()]
    if json:
        print_json(views)
        return
    print_table(
        "Users",
        ["name", "role", "of", "second factor", "state"],
        [
            [
                each["name"],
                each["role"],
                each["of"] or "",
                "yes" if each["factor"] else "",
                each["state"],
            ]
            for each in views
        ],
        wrapping=("name", "of"),
    )


@user.command("role")
def change_role(
    name: Name,
    role: Annotated[str, typer.Argument(metavar="ROLE", help="What they may do and see now.")],
    of: Of = None,
    json: Json = False,
    database: Database = None,
    config: Config = None,
) -> None:
    """Have somebody do and see something else from now on."""
    _change(
        name,
        lambda store, found: store.users.set_role(found.id, **_granted(store, role, of)),
        json,
        database,
        config,
    )


@user.command("disable")
def disable_user(
    name: Name, json: Json = False, database: Database = None, config: Config = None
) -> None:
    """Keep somebody out from now on."""
    _change(
        name, lambda store, found: store.users.set_disabled(found.id, True), json, database, config
    )


@user.command("enable")
def enable_user(
    name: Name, json: Json = False, database: Database = None, config: Config = None
) -> None:
    """Let somebody in again."""
    _change(
        name, lambda store, found: store.users.set_disabled(found.id, False), json, database, config
    )


@user.command("drop-factor")
def drop_factor(
    name: Name, json: Json = False, database: Database = None, config: Config = None
) -> None:
    """Ask somebody for codes no more, who has lost what makes them."""
    _change(name, lambda store, found: store.users.set_totp(found.id, None), json, database, config)


@user.command("remove")
def remove_user(
    name: Name, json: Json = False, database: Database = None, config: Config = None
) -> None:
    """End somebody's access for good. What they changed stays noted."""
    _change(
        name,
        lambda store, found: store.users.remove(found.id),
        json,
        database,
        config,
        done="is removed",
    )


def _change(
    name: str,
    act: "Callable[[Store, User], User]",
    json: bool,
    database: str | None,
    config: Path | None,
    done: str = "",
) -> None:
    with opened(database, config) as (store, _):
        view = _view(act(store, _find(store, name)))
    if json:
        print_json(view)
    else:
        of = f" of {view['of']}" if view["of"] else ""
        said = done or f"is {view['state']} as {view['role']}{of}"
        print(plain(f"{name} {said}."))


def _find(store: "Store", name: str) -> "User":
    found = store.users.find(name)
    if found is None:
        raise Failed(f"there is no user called {name!r}")
    return found


def _granted(store: "Store", role: str, of: str | None) -> dict[str, Any]:
    from cloudsignal.server import rules
    from cloudsignal.server.panel import roles

    try:
        return roles.granted(store, role, of or "")
    except rules.Unfit as error:
        raise Failed(str(error)) from None


def _invite(store: "Store", settings: Any, found: "User", url: str | None, json: bool) -> None:
    from cloudsignal.server import addresses
    from cloudsignal.server.clock import now
    from cloudsignal.server.invitations import GOOD_HOURS, invite
    from cloudsignal.server.keys import open_keyring

    keyring = open_keyring(settings, store)
    path = invite(store, keyring, found.id, now=now())
    here = settings.public_url or addresses.url(settings.host, settings.port)
    link = (url or here).rstrip("/") + path
    if json:
        print_json(_view(found) | {"link": link})
        return
    print(plain(f"{found.name} chooses a password here, once, within {GOOD_HOURS} hours:"))
    print(f"  {link}")


def _view(found: "User") -> dict[str, Any]:
    from cloudsignal.server.panel.roles import state_of

    return {
        "name": found.name,
        "role": found.role,
        "of": found.partner_name or found.owner_name,
        "factor": found.totp is not None,
        "state": state_of(found),
        "created": iso(found.created),
    }
