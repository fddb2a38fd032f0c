"""``cloudsignal serve`` and ``settings``: flags made from the declaration of the settings."""

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cloudsignal.cli.flags import with_flags
from cloudsignal.cli.output import (
    Config,
    Json,
    find_settings,
    print_json,
    print_table,
    program,
    told,
    where,
)

if TYPE_CHECKING:
    from cloudsignal.server.keys import Keyring
    from cloudsignal.server.logs import Logger
    from cloudsignal.server.settings import Setting
    from cloudsignal.server.store.store import Store

FIRST_PARTNER = "My print partner"


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """The command with a flag for every setting that is no secret, handed over as ``flags``."""
    from cloudsignal.server.settings import declared

    settings = [setting for setting in declared() if not setting.secret]
    return with_flags(command, "flags", [_parameter(setting) for setting in settings])


def _parameter(setting: "Setting") -> inspect.Parameter:
    default = ",".join(setting.default) if isinstance(setting.default, tuple) else setting.default
    flags = [setting.flag]
    if isinstance(setting.default, bool):
        flags = [f"{setting.flag}/--no-{setting.flag[2:]}"]
    option = typer.Option(
        *flags,
        help=f"{setting.description[0].upper()}{setting.description[1:]}.",
        show_default=str(default),
        rich_help_panel="Settings",
    )
    kind = str if isinstance(setting.default, tuple) else type(setting.default)
    return inspect.Parameter(
        setting.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[kind | None, option],
    )


def _typed(flags: dict[str, Any]) -> dict[str, Any]:
    """The flags as the settings want them: a list is given in one flag, with commas."""
    from cloudsignal.server.settings import Settings, parts

    defaults = Settings()
    return {
        name: parts(value)
        if value is not None and isinstance(getattr(defaults, name), tuple)
        else value
        for name, value in flags.items()
    }


@with_settings
def serve(
    flags: dict[str, Any],
    config: Config = None,
    welcome: Annotated[
        bool,
        typer.Option(
            "--welcome",
            help="On an empty store, make a print partner with an interface, and show how to send.",
        ),
    ] = False,
) -> None:
    """Run the server until SIGTERM or Ctrl-C."""
    in_force = find_settings(_typed(flags), config)
    settings = in_force.settings
    key: str | None = None
    invitation: str | None = None

    def prepare(store: "Store", keyring: "Keyring") -> None:
        nonlocal key, invitation
        key = _first_key(store, keyring) if welcome else None
        invitation = _first_invitation(store, keyring) if settings.panel else None

    def ready(logger: "Logger", address: str) -> None:
        shown = backend_of(settings.database).shown
        logger.info("listening", address=address, database=shown)
        if key is not None:
            _greet(address, key, where(flags["database"] and shown, config))
        if invitation is not None:
            link = (settings.public_url or address) + invitation
            print(f"Nobody can sign in to the panel yet. Set it up: {link}", flush=True)

    with told():
        from cloudsignal.server.store.backends import backend_of

        if settings.workers == 1:
            from cloudsignal.server import process

            process.run(in_force, ready, prepare=prepare)
        else:
            from cloudsignal.server import workers

            workers.run(in_force, ready, prepare=prepare)


@with_settings
def settings(flags: dict[str, Any], config: Config = None, json: Json = False) -> None:
    """Print the settings in force. Secrets are not shown."""
    in_force = find_settings(_typed(flags), config)
    with told():
        from cloudsignal.server.views import setting_views

        views = setting_views(in_force)
    if json:
        print_json({each.setting: each.value for each in views})
        return
    print_table(
        "Settings in force",
        ["setting", "value", "from", "what it does"],
        [[each.setting, each.text, each.source or "", each.description] for each in views],
        wrapping=("value", "from", "what it does"),
    )
    print(
        "Each can be a flag (--queue-max), a variable (CLOUDSIGNAL_QUEUE_MAX) or a line\n"
        "of the TOML file (queue_max = …); a secret cannot be a flag."
    )


def _first_key(store: "Store", keyring: "Keyring") -> str | None:
    from cloudsignal.server.clock import now
    from cloudsignal.server.keys import new_apikey

    if store.access.partners():
        return None
    key = new_apikey()
    made = store.access.create_partner(FIRST_PARTNER, now=now())
    store.access.create_interface(
        made, keyring.digest(key), timezone="UTC", allow=(), test=False, now=now()
    )
    return key


def _first_invitation(store: "Store", keyring: "Keyring") -> str | None:
    from cloudsignal.server.clock import now
    from cloudsignal.server.invitations import invite_first

    return invite_first(store, keyring, now=now())


def _greet(address: str, key: str, store: str) -> None:
    from cloudsignal.protocol.http import ENDPOINT
    from cloudsignal.protocol.signals import ItemRegistered, example
    from cloudsignal.server.first_signal import curl

    signal = example(ItemRegistered)
    print(f"\nThe store is new: it has a print partner now, {FIRST_PARTNER!r}, with an interface.")
    print(f"\n  endpoint  {address}{ENDPOINT}\n  apikey    {key}   (shown this once)\n")
    print(f"Send a first signal from another terminal:\n\n{curl(address, key, signal)}\n")
    look = f"{program()} item show {signal['order']} {signal['item']}{store}"
    # At once: where standard output is no terminal, it would wait for more to print.
    print(f"and look at the item: {look}\n", flush=True)
