"""Keys for the print partners of a simulation, and a token to read with: given, or made for one run."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cloudsignal.cli.output import Failed, opened
from cloudsignal.cli.simulate_orders import register_orders, set_calendars

if TYPE_CHECKING:
    from cloudsignal.partner.keys import ApiKey
    from cloudsignal.server.store.access import Access, Partner
    from cloudsignal.simulator.plan import Plan

TOKEN: Final = "CLOUDSIGNAL_TOKEN"
"""The environment variable that holds the token to read items with."""


def keys_in(path: Path) -> "list[ApiKey]":
    """The keys in a file, one in a line."""
    from cloudsignal.partner.errors import SetupError
    from cloudsignal.partner.keys import ApiKey

    lines = [line for line in _text_of(path).splitlines() if line.strip()]
    try:
        keys = [ApiKey(line) for line in lines]
    except SetupError as error:
        raise Failed(f"--apikeys-file {path}: {error}") from None
    if not keys:
        raise Failed(f"--apikeys-file {path}: it is empty; write one key in each line")
    return keys


def token_in(path: Path | None) -> str:
    """The token in a file, or in the environment."""
    token = _text_of(path).strip() if path else os.environ.get(TOKEN, "").strip()
    if not token.isascii() or not token.isprintable() or " " in token:
        raise Failed("this is no token: it has blanks, line breaks or other letters in it")
    if not token:
        raise Failed(
            f"there is no token to read items with: set {TOKEN}, or name a file that holds it in"
            " --token-file (`cloudsignal token create NAME` makes one), or say --no-compare"
        )
    return token


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise Failed(f"{path} cannot be read: {why}") from None


@contextmanager
def furnished(
    plan: "Plan",
    database: str | None,
    keys: "list[ApiKey]",
    *,
    keep: bool,
    live_until: int | None,
) -> "Iterator[tuple[list[ApiKey], str | None]]":
    """A key for each print partner, and a token if one was made; they are in memory only.

    What is made is for tests, unless it is ``live_until`` an instant: then all counts, and the store also gets to know
    when the print partners work, and the orders until then.
    """
    if database is None:
        if len(keys) < plan.partners:
            raise Failed(
                f"there are {len(keys)} keys for {plan.partners} print partners: put one for each in a"
                " file, and name it in --apikeys-file; or let --database URL make some for this run"
            )
        yield keys, None
        return
    if keys:
        raise Failed("--database makes keys of its own: leave out --apikeys-file, or --database")
    with _made_access(plan, database, keep=keep, live_until=live_until) as made:
        yield made


@contextmanager
def _made_access(
    plan: "Plan", database: str, *, keep: bool, live_until: int | None
) -> "Iterator[tuple[list[ApiKey], str]]":
    with opened(database, None) as (store, settings):
        from cloudsignal.partner.keys import ApiKey
        from cloudsignal.server import clock
        from cloudsignal.server.keys import new_apikey, new_token, open_keyring

        access, keyring = store.access, open_keyring(settings, store)
        keys = [new_apikey() for _ in range(plan.partners)]
        token, name = new_token(), f"simulation {plan.name} {secrets.token_hex(4)}"
        numbers: list[int] = []
        try:
            access.create_token(name, "reader", keyring.digest(token), now=clock.now())
            for partner, key in zip(_partners(plan, access), keys, strict=True):
                made = access.create_interface(
                    partner,
                    keyring.digest(key),
                    timezone="UTC",
                    allow=(),
                    test=live_until is None,
                    now=clock.now(),
                )
                numbers.append(made.id)
            if live_until is not None:
                set_calendars(store, plan)
                register_orders(store, plan, live_until)
            yield [ApiKey(key) for key in keys], token
        finally:
            if not keep:
                for number in numbers:
                    access.revoke(number, now=clock.now())
                access.revoke_token(name, now=clock.now())


def _partners(plan: "Plan", access: "Access") -> "Iterator[Partner]":
    """The plan's print partners in the store; those that are missing are made."""
    from cloudsignal.server import clock

    known = {each.name: each for each in access.partners()}
    for planned in plan.print_partners():
        name = planned.name
        yield known.get(name) or access.create_partner(name, now=clock.now())
