"""How commands of a print partner reach the server: the flags for it, and what went wrong as exit codes."""

import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from msgspec import Struct

from cloudsignal.cli.flags import with_flags
from cloudsignal.cli.output import Exit, Failed, plain

if TYPE_CHECKING:
    from cloudsignal.partner.client import Client
    from cloudsignal.partner.errors import CloudSignalError, SendError
    from cloudsignal.partner.profiles import Profile

PANEL: Final = "The server"

BaseUrl = Annotated[
    str | None,
    typer.Option(
        "--base-url",
        metavar="URL",
        rich_help_panel=PANEL,
        help="Where the server is; else a named profile's, else CLOUDSIGNAL_BASE_URL, else that of `default`.",
    ),
]
ApikeyFile = Annotated[
    Path | None,
    typer.Option(
        "--apikey-file",
        metavar="FILE",
        rich_help_panel=PANEL,
        help="The file that holds the apikey; else a named profile's, else CLOUDSIGNAL_APIKEY or"
        " CLOUDSIGNAL_APIKEY_FILE, else that of `default`. No flag takes the key itself, because every user of the machine could read it.",
    ),
]


def _completed(incomplete: str) -> list[str]:
    """The names of profiles that begin like this, for a shell that completes them."""
    from cloudsignal.partner import profiles

    return [name for name in profiles.names(profiles_path()) if name.startswith(incomplete)]


ProfileName = Annotated[
    str | None,
    typer.Option(
        "--profile",
        metavar="NAME",
        autocompletion=_completed,
        rich_help_panel=PANEL,
        help="A profile of the file profiles.toml; else CLOUDSIGNAL_PROFILE, else `default`.",
    ),
]
TimeoutS = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        metavar="SECONDS",
        rich_help_panel=PANEL,
        min=0.001,
        help="How long an answer may take; else the profile's, else 10.",
    ),
]


class Reach(Struct, frozen=True, kw_only=True):
    """What the flags say of how to reach the server."""

    base_url: str | None = None
    apikey_file: Path | None = None
    profile: str | None = None
    timeout_s: float | None = None

    def over(self, other: "Reach") -> "Reach":
        """These flags, and where they say nothing the others."""
        names = self.__struct_fields__
        own = {name: getattr(self, name) for name in names}
        return Reach(**{n: getattr(other, n) if own[n] is None else own[n] for n in names})


_REACH: Final = [
    inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
    for name, annotation in {
        "base_url": BaseUrl,
        "apikey_file": ApikeyFile,
        "profile": ProfileName,
        "timeout_s": TimeoutS,
    }.items()
]


def reaching(command: Callable[..., None]) -> Callable[..., None]:
    """The command with flags that say how to reach the server, in the place of its parameter ``reach``."""
    return with_flags(command, "reach", _REACH, Reach)


def profiles_path() -> Path:
    """Where profiles are written down: what CLOUDSIGNAL_PROFILES says, else a file of this user's."""
    from cloudsignal.partner.profiles import PROFILES

    return Path(os.environ.get(PROFILES) or Path(typer.get_app_dir("cloudsignal"), "profiles.toml"))


def in_force(reach: Reach) -> "Profile":
    """What counts of flags, environment and profile. Raises SetupError."""
    from cloudsignal.partner import profiles

    flags = profiles.Profile(
        base_url=reach.base_url,
        apikey_file=None if reach.apikey_file is None else str(reach.apikey_file),
        timeout_s=reach.timeout_s,
    )
    path = profiles_path()
    return profiles.in_force(flags, name=reach.profile, path=path, environ=os.environ)


def client_of(profile: "Profile") -> "Client":
    """A client that reaches the server as this profile says. Raises SetupError."""
    base_url, options = options_of(profile)
    from cloudsignal.partner.client import Client

    return Client(base_url, **options)


def options_of(profile: "Profile") -> tuple[str, Any]:
    """Where the server of a profile is, and the options of a client for it. Raises SetupError."""
    from cloudsignal.partner.profiles import base_url_of

    return base_url_of(profile, profiles_path()), {
        name: value
        for name in ("apikey_file", "timeout_s", "tries", "proof", "bundle_max")
        if (value := getattr(profile, name)) is not None
    }


@contextmanager
def failing() -> Iterator[None]:
    """Turn what goes wrong at the print partner's side into Failed, with its sentence and exit code."""
    from cloudsignal.partner.errors import CloudSignalError, SendError

    try:
        yield
    except SendError as error:
        told = plain("; ".join(error.sentences)) + _before(error)
        raise Failed(told, code_of(error)) from None
    except CloudSignalError as error:
        raise Failed(plain(str(error)), code_of(error)) from None


def _before(error: "SendError") -> str:
    """What was stored before it went wrong."""
    if error.stored is None or not error.stored.signals:
        return ""
    return (
        f" ({error.stored.signals} signals were stored before this; what is stored is recognised, so the same can"
        " be sent again)"
    )


def code_of(error: "CloudSignalError") -> Exit:
    """The exit code for what went wrong."""
    from cloudsignal.partner.errors import (
        InvalidSignals,
        KeyRefused,
        NotSent,
        OutboxFull,
        OutboxUnusable,
        SetupError,
        WrongAddress,
    )

    match error:
        case InvalidSignals():
            return Exit.REFUSED
        case KeyRefused():
            return Exit.KEY_REFUSED
        case NotSent() | OutboxFull():
            return Exit.NOT_SENT
        case SetupError() | WrongAddress() | OutboxUnusable():
            return Exit.SETUP
        case _:
            return Exit.FAILED
