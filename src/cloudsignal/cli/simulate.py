"""``cloudsignal simulate``: a fleet of print partners, and a comparison at the end."""

import inspect
import os
import secrets
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

import msgspec
import typer

from cloudsignal.cli.flags import with_flags
from cloudsignal.cli.output import (
    Failed,
    Json,
    opened,
    plain,
    print_json,
    print_table,
)
from cloudsignal.simulator.defaults import (
    CONNECTIONS,
    CONNECTIONS_MAX,
    ITEMS,
    ITEMS_MAX,
    ITEMS_PER_DAY,
    PARTNERS,
    PARTNERS_MAX,
    SEED_MAX,
    START,
)
from cloudsignal.simulator.rates import Declared, Rates, declared

if TYPE_CHECKING:
    import asyncio

    from rich.table import Table

    from cloudsignal.partner.client import AsyncClient
    from cloudsignal.partner.keys import ApiKey
    from cloudsignal.server.store.access import Access, Partner
    from cloudsignal.simulator.comparison import Comparison
    from cloudsignal.simulator.ledger import Ledger
    from cloudsignal.simulator.pace import Driving, Sleep
    from cloudsignal.simulator.plan import Plan
    from cloudsignal.simulator.reader import Reader
    from cloudsignal.simulator.simulation import Result

TOKEN: Final = "CLOUDSIGNAL_TOKEN"
"""The environment variable that holds the token to read items with."""
REFRESHES_PER_S: Final = 4
LINE_EVERY_S: Final = 10.0
"""How often a line is written where standard error is no terminal."""
DIFFERENCES_SHOWN_MAX: Final = 20


class Wanted(NamedTuple):
    """Everything a simulation needs from the command line."""

    plan: "Plan"
    driving: "Driving"
    base_url: str
    keys: "list[ApiKey]"
    token: str | None


def with_rates(command: Callable[..., None]) -> Callable[..., None]:
    """The command with a flag for each rate, handed over as ``rates``."""
    return with_flags(command, "rates", [_parameter(rate) for rate in declared()])


def _parameter(rate: Declared) -> inspect.Parameter:
    usual = f"else {rate.default:g}"
    if rate.faults is not None:
        usual += f", with --faults {rate.faults:g}"
    option = typer.Option(
        f"--{rate.name.replace('_', '-')}",
        metavar="SHARE",
        min=0.0,
        max=1.0,
        help=f"{rate.description[0].upper()}{rate.description[1:]}: 0 to 1; {usual}.",
        rich_help_panel="How often",
    )
    return inspect.Parameter(
        rate.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[float | None, option],
    )


@with_rates
def simulate(
    base_url: Annotated[
        str, typer.Option("--base-url", metavar="URL", help="Where the server is.")
    ] = "http://127.0.0.1:8000",
    apikeys_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The keys of the print partners, one in a line."),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The token to read items with; else CLOUDSIGNAL_TOKEN holds it."
        ),
    ] = None,
    database: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="The server's store, to make test interfaces and a token in for this run.",
        ),
    ] = None,
    keep: Annotated[
        bool,
        typer.Option(
            "--keep", help="Leave open what --database made; else it is revoked at the end."
        ),
    ] = False,
    partners: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=PARTNERS_MAX,
            help=f"How many print partners; else one for each key, or {PARTNERS}.",
        ),
    ] = None,
    items: Annotated[int, typer.Option(min=1, max=ITEMS_MAX, help="How many items.")] = ITEMS,
    items_per_day: Annotated[
        int, typer.Option(min=1, max=ITEMS_MAX, help="How many come in a day of the plan.")
    ] = ITEMS_PER_DAY,
    duration: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Make items until then, however many: 60s, 5m, 2h."),
    ] = None,
    speed: Annotated[
        str,
        typer.Option(metavar="TIMES", help="How many times as fast as in life, 3600x, or max."),
    ] = "max",
    rate: Annotated[
        float | None,
        typer.Option(
            min=0.01, metavar="N", help="So many signals a second, whatever times are planned."
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, max=SEED_MAX, help="The same one makes the same signals; else any."),
    ] = None,
    start: Annotated[
        str, typer.Option(metavar="DATETIME", help="When the first day of the plan begins.")
    ] = START,
    faults: Annotated[
        bool | None,
        typer.Option(
            "--faults/--no-faults", help="Disturb as much as helps a test, or nothing at all."
        ),
    ] = None,
    connections: Annotated[
        int, typer.Option(min=1, max=CONNECTIONS_MAX, help="How many posts at once.")
    ] = CONNECTIONS,
    no_compare: Annotated[
        bool, typer.Option("--no-compare", help="Don't look at what the server holds: no token.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the posts, one in a line, and send nothing.")
    ] = False,
    json: Json = False,
    *,
    rates: dict[str, float | None],
) -> None:
    """Be a fleet of print partners, and compare what the server holds with what was sent.

    Zero differences is exit code 0. Ctrl-C ends it early, and compares what was sent until then.
    """
    keys = _keys_in(apikeys_file) if apikeys_file else []
    plan = _plan(
        seed=secrets.randbelow(SEED_MAX) if seed is None else seed,
        partners=partners or len(keys) or PARTNERS,
        items=None if duration else items,
        items_per_day=items_per_day,
        start=start,
        rates=_rates(rates, faults),
    )
    if dry_run:
        _print_posts(plan)
        return
    driving = _driving(speed, rate, connections, duration)
    with _furnished(plan, database, keys, keep=keep) as (found_keys, made_token):
        token = None if no_compare else made_token or _token(token_file)
        wanted = Wanted(plan, driving, base_url, found_keys, token)
        ledger, result = _run(wanted)
    _tell(wanted, ledger, result, json)


# ---- what was asked ------------------------------------------------------------------------------


def _plan(*, start: str, **values: Any) -> "Plan":
    from cloudsignal.simulator.plan import Plan, instant

    try:
        return Plan(start=instant(start), **values)
    except ValueError as error:
        raise Failed(f"--start {plain(start)}: {error}") from None


def _rates(given: dict[str, float | None], faults: bool | None) -> Rates:
    from cloudsignal.simulator.rates import FAULTS, NO_FAULTS

    basis = {None: Rates(), True: FAULTS, False: NO_FAULTS}[faults]
    return msgspec.structs.replace(
        basis, **{name: value for name, value in given.items() if value is not None}
    )


def _driving(speed: str, rate: float | None, connections: int, duration: str | None) -> "Driving":
    from cloudsignal.simulator.pace import Driving, pace_of, span_s

    try:
        pace = pace_of(speed, rate)
    except ValueError as error:
        raise Failed(f"--speed {plain(speed)}: {error}") from None
    try:
        duration_s = span_s(duration) if duration else None
    except ValueError as error:
        raise Failed(f"--duration {plain(str(duration))}: {error}") from None
    return Driving(pace=pace, connections=connections, duration_s=duration_s, now=time.monotonic)


def _keys_in(path: Path) -> "list[ApiKey]":
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


def _token(path: Path | None) -> str:
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


def _print_posts(plan: "Plan") -> None:
    for post in plan.posts():
        print(msgspec.json.encode({"partner": post.partner, "items": post.signals}).decode())


# ---- who speaks ----------------------------------------------------------------------------------


@contextmanager
def _furnished(
    plan: "Plan", database: str | None, keys: "list[ApiKey]", *, keep: bool
) -> "Iterator[tuple[list[ApiKey], str | None]]":
    """A key for each print partner, and a token if one was made; they are in memory only."""
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
    with _made_access(plan, database, keep=keep) as made:
        yield made


@contextmanager
def _made_access(
    plan: "Plan", database: str, *, keep: bool
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
                    test=True,
                    now=clock.now(),
                )
                numbers.append(made.id)
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


# ---- the run -------------------------------------------------------------------------------------


def _run(wanted: Wanted) -> "tuple[Ledger, Result]":
    import asyncio

    from cloudsignal.partner.errors import SetupError
    from cloudsignal.simulator.ledger import Ledger
    from cloudsignal.simulator.reader import ReadFailed

    ledger = Ledger()
    try:
        print(f"cloudsignal: {_repetition(wanted.plan)}", file=sys.stderr)
        with _progress(ledger):
            return ledger, asyncio.run(_simulate(wanted, ledger))
    except (ReadFailed, SetupError) as error:
        raise Failed(str(error)) from None
    except KeyboardInterrupt:
        raise Failed("ended before anything could be compared") from None


def _repetition(plan: "Plan") -> str:
    return f"the seed is {plan.seed}: with it and the same flags the same signals are made again"


async def _simulate(wanted: Wanted, ledger: "Ledger") -> "Result":
    import asyncio

    from cloudsignal.simulator.simulation import run

    stop = asyncio.Event()
    with _stopping(stop):
        async with _reader(wanted) as reader:
            return await run(
                wanted.plan,
                _clients(wanted),
                wanted.driving,
                ledger=ledger,
                reader=reader,
                stop=stop,
                started=datetime.now(UTC),
            )


def _clients(wanted: Wanted) -> "Callable[..., AsyncClient]":
    from httpx2 import AsyncHTTPTransport, create_ssl_context

    from cloudsignal.partner.client import AsyncClient
    from cloudsignal.simulator.fleet import TRIES

    # One for all: reading the authorities takes longer than anything else a client does.
    authorities = create_ssl_context()

    def make(partner: int, *, sleep: "Sleep") -> AsyncClient:
        key, transport = wanted.keys[partner], AsyncHTTPTransport(verify=authorities)
        return AsyncClient(
            wanted.base_url, apikey=key, tries=TRIES, sleep=sleep, transport=transport
        )

    return make


@asynccontextmanager
async def _reader(wanted: Wanted) -> "AsyncIterator[Reader | None]":
    if wanted.token is None:
        yield None
        return
    from cloudsignal.partner.address import address_of
    from cloudsignal.simulator.reader import Reader

    async with Reader(address_of(wanted.base_url).base, wanted.token) as reader:
        yield reader


@contextmanager
def _stopping(stop: "asyncio.Event") -> Iterator[None]:
    """Let the first SIGINT or SIGTERM stop the sending, and the next do what it always does."""
    import asyncio

    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)

    def asked() -> None:
        stop.set()
        for number in numbers:
            loop.remove_signal_handler(number)

    for number in numbers:
        loop.add_signal_handler(number, asked)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


# ---- how it goes ---------------------------------------------------------------------------------


@contextmanager
def _progress(ledger: "Ledger") -> Iterator[None]:
    """A table that is kept up to date on a terminal; elsewhere a line now and then."""
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True, markup=False, emoji=False, highlight=False)
    began = time.monotonic()
    if console.is_terminal:
        with Live(
            get_renderable=lambda: _table(ledger, time.monotonic() - began),
            console=console,
            refresh_per_second=REFRESHES_PER_S,
            transient=True,
        ):
            yield
        return
    ended = threading.Event()

    def write_lines() -> None:
        while not ended.wait(LINE_EVERY_S):
            print(f"cloudsignal: {_line(ledger, time.monotonic() - began)}", file=sys.stderr)

    writer = threading.Thread(target=write_lines, daemon=True)
    writer.start()
    try:
        yield
    finally:
        ended.set()
        writer.join()


def _figures(ledger: "Ledger", seconds: float) -> dict[str, str]:
    states = {state: count for state, count in dict(ledger.states).items() if count}
    return {
        "signals sent": f"{ledger.signals}",
        "signals per second": f"{ledger.signals / max(seconds, 0.001):.0f}",
        "items": ", ".join(f"{count} {state}" for state, count in states.items()) or "0",
        "retries": f"{ledger.retries}",
        "posts that failed": f"{ledger.errors}",
    }


def _line(ledger: "Ledger", seconds: float) -> str:
    return "; ".join(f"{name}: {value}" for name, value in _figures(ledger, seconds).items())


def _table(ledger: "Ledger", seconds: float) -> "Table":
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    for name, value in _figures(ledger, seconds).items():
        table.add_row(name, value)
    return table


# ---- how it went ---------------------------------------------------------------------------------


def _tell(wanted: Wanted, ledger: "Ledger", result: "Result", json: bool) -> None:
    """The summary; Failed when something is not as it must be."""
    if json:
        print_json(_view(wanted, ledger, result))
    else:
        _print_summary(ledger, result)
    if ledger.troubles:
        name, trouble = next(iter(ledger.troubles.items()))
        raise Failed(f"{ledger.errors} posts failed; the first: {name}: {plain(trouble.info)}")
    if result.comparison and result.comparison.differences:
        raise Failed(f"{len(result.comparison.differences)} differences: see above")


def _view(wanted: Wanted, ledger: "Ledger", result: "Result") -> dict[str, Any]:
    return {
        "seed": wanted.plan.seed,
        "plan": wanted.plan.name,
        "seconds": round(result.seconds, 3),
        "stopped": result.was_stopped,
        "posts": ledger.posts,
        "signals": ledger.signals,
        "distinct": ledger.distinct,
        "accepted": ledger.accepted if ledger.has_receipts else None,
        "duplicates": ledger.duplicates if ledger.has_receipts else None,
        "retries": ledger.retries,
        "failed": ledger.troubles,
        "states": ledger.states,
        "comparison": result.comparison,
    }


def _print_summary(ledger: "Ledger", result: "Result") -> None:
    figures = _figures(ledger, result.seconds) | {
        "posts": f"{ledger.posts}",
        "accepted": f"{ledger.accepted}" if ledger.has_receipts else "not told",
        "duplicates": f"{ledger.duplicates}" if ledger.has_receipts else "not told",
        "seconds": f"{result.seconds:.1f}",
    }
    title = "Stopped early; until then" if result.was_stopped else "Sent"
    print_table(title, ["", ""], [[*each] for each in figures.items()], wrapping=("",))
    print()
    if result.comparison is None:
        print("Nothing was compared.")
    else:
        _print_comparison(result.comparison, ledger)


def _print_comparison(comparison: "Comparison", ledger: "Ledger") -> None:
    print(
        f"{comparison.items} items compared with their signals, {comparison.against_plan} of them also"
        " with how the plan ended them."
    )
    if comparison.uncertain:
        print(f"{comparison.uncertain} items left out: something of theirs got no answer.")
    if ledger.beyond:
        print(f"{ledger.beyond} signals were of more items than are kept to be compared.")
    found = comparison.differences
    if not found:
        print("Zero differences.")
        return
    print_table(
        f"{len(found)} differences, the first {min(len(found), DIFFERENCES_SHOWN_MAX)}",
        ["item", "what", "expected", "found", "by"],
        [
            [each.item, each.what, each.expected, each.found, each.measure]
            for each in found[:DIFFERENCES_SHOWN_MAX]
        ],
        wrapping=("item", "expected", "found"),
    )
