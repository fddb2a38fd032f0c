"""Profiles: how a print partner reaches its servers, written down once under names.

A file of profiles is TOML, with a table for each: ``[default]``, ``[plant2]``. What a flag says counts
before a profile that is named, that before the environment, and that before ``[default]``.
"""

import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Final, get_type_hints

import msgspec
from msgspec import Meta, Struct

from cloudsignal.partner.answers import Proof
from cloudsignal.partner.errors import SetupError
from cloudsignal.partner.keys import APIKEY, APIKEY_FILE

BASE_URL: Final = "CLOUDSIGNAL_BASE_URL"
"""The environment variable that says where the server is."""
PROFILE: Final = "CLOUDSIGNAL_PROFILE"
"""The one that names a profile."""
PROFILES: Final = "CLOUDSIGNAL_PROFILES"
"""The one that names the file of profiles."""
VARIABLES: Final = frozenset({APIKEY, APIKEY_FILE, BASE_URL, PROFILE, PROFILES})
"""Every environment variable of a print partner."""
DEFAULT: Final = "default"
"""The profile that is taken when none is named, if it is there."""


class Profile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to reach a server. What is None is left to others to say."""

    base_url: Annotated[
        str | None,
        Meta(description="where the server is, such as https://signals.example.com"),
    ] = None
    apikey_file: Annotated[
        str | None, Meta(description="the file that holds the apikey, and nothing else")
    ] = None
    outbox: Annotated[
        str | None, Meta(description="the file in which signals wait until they are sent")
    ] = None
    timeout_s: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="how long an answer may take, in seconds"),
    ] = None
    tries: Annotated[
        Annotated[int, Meta(ge=1)] | None, Meta(description="how often a post is tried")
    ] = None
    proof: Annotated[
        Proof | None,
        Meta(description="what a 200 has to hold so that signals count as stored"),
    ] = None
    bundle_max: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="how many signals go into one post"),
    ] = None

    def over(self, other: "Profile") -> "Profile":
        """This one, and where it says nothing the other."""
        return Profile(**(_said(other) | _said(self)))


_PATHS: Final = ("apikey_file", "outbox")
_NAMES: Final = Profile.__struct_fields__


def names(path: Path) -> list[str]:
    """The profiles that a file holds, none if it cannot be read."""
    try:
        return [name for name, table in _tables(path, None).items() if isinstance(table, dict)]
    except SetupError:
        return []


def describe() -> dict[str, str]:
    """What each key of a profile says."""
    hints = get_type_hints(Profile, include_extras=True)
    return {name: hints[name].__metadata__[0].description for name in _NAMES}


def in_force(
    flags: Profile, *, name: str | None, path: Path, environ: Mapping[str, str]
) -> Profile:
    """What counts: the flags, then a profile that is named, then the environment, then ``default``, if there is one.

    The profile is named by ``name``, else by CLOUDSIGNAL_PROFILE. Raises SetupError.
    """
    name = name or environ.get(PROFILE)
    chosen = Profile() if _is_nothing(name, path, environ) else _read(name, path)
    # What is set to nothing says nothing.
    told = Profile(
        base_url=environ.get(BASE_URL) or None, apikey_file=environ.get(APIKEY_FILE) or None
    )
    if name:
        # Who names one does not want its server to get another one's key.
        below = chosen.over(told)
        is_named = chosen.apikey_file is not None
    else:
        below = told.over(chosen)
        is_named = False
    if environ.get(APIKEY) and not is_named:
        # The key itself is there, and counts before a file that nobody names.
        below = msgspec.structs.replace(below, apikey_file=None)
    return flags.over(below)


def base_url_of(profile: Profile, path: Path) -> str:
    """Where the server is. Raises SetupError when nobody says."""
    if profile.base_url is None:
        raise SetupError(
            "where is the server? Give --base-url https://signals.example.com, or set"
            f' {BASE_URL}, or write base_url = "https://signals.example.com" under [{DEFAULT}] in {path}'
        )
    return profile.base_url


def _said(profile: Profile) -> dict[str, Any]:
    values = msgspec.structs.asdict(profile)
    return {name: value for name, value in values.items() if value is not None}


def _is_nothing(name: str | None, path: Path, environ: Mapping[str, str]) -> bool:
    """Whether no profile is asked for and there is no file either."""
    return not (name or environ.get(PROFILES) or path.exists())


def _read(name: str | None, path: Path) -> Profile:
    tables = _tables(path, name)
    for key, table in tables.items():
        if not isinstance(table, dict):
            raise SetupError(f"{path}: {key} stands outside of a profile: put it under [{DEFAULT}]")
    wanted = name or DEFAULT
    if wanted in tables:
        return _profile(f"{path}: [{wanted}]", tables[wanted], path.parent)
    if name is None:
        return Profile()
    there = ", ".join(sorted(tables)) or "none at all"
    raise SetupError(f"there is no profile {name!r} in {path}: there are {there}")


def _tables(path: Path, name: str | None) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        advice = f"make it, with a table [{name or DEFAULT}], or set {PROFILES} to where it is"
        raise SetupError(f"there is no file {path} with profiles: {advice}") from None
    except OSError as error:
        raise SetupError(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SetupError(f"{path} is not TOML: {error}") from None


def _profile(place: str, table: dict[str, Any], folder: Path) -> Profile:
    for key in table:
        _check(place, key)
    try:
        profile = msgspec.convert(table, Profile)
    except msgspec.ValidationError as error:
        fault, _, key = str(error).partition(" - at `$.")
        raise SetupError(f"{place} {key.rstrip('`')} is not what it must be: {fault}") from None
    paths = {key: getattr(profile, key) for key in _PATHS}
    beside = {key: str(folder / Path(path).expanduser()) for key, path in paths.items() if path}
    return msgspec.structs.replace(profile, **beside)


def _check(place: str, key: str) -> None:
    """Whether a profile may hold such a key. Raises SetupError."""
    if key == "apikey":
        raise SetupError(
            f"{place} holds an apikey, which would be read wherever this file is: put it into a file of its"
            " own that only you can read, and name that in apikey_file"
        )
    if key not in _NAMES:
        near = get_close_matches(key, _NAMES, n=1)
        advice = f"did you mean {near[0]}?" if near else f"there are {', '.join(_NAMES)}"
        raise SetupError(f"{place} has {key}, which is no key of a profile: {advice}")
