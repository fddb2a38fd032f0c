"""``cloudsignal simulate``: a fleet of print partners, and a comparison at the end."""

import inspect
import re
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

import msgspec
import typer

from cloudsignal.cli.flags import with_flags
from cloudsignal.cli.output import Failed, Json, plain
from cloudsignal.cli.simulate_access import furnished, keys_in, token_in
from cloudsignal.cli.simulate_report import progress, tell
from cloudsignal.simulator.defaults import (
    CONNECTIONS,
    CONNECTIONS_MAX,
    ITEMS,
    ITEMS_MAX,
    ITEMS_PER_DAY,
    LIVE_ITEMS_PER_DAY,
    LIVE_START,
    PARTNERS,
    PARTNERS_MAX,
    SEED_MAX,
    START,
)
from cloudsignal.simulator.rates import Declared, Rates, declared

if TYPE_CHECKING:
    import asyncio

    from cloudsignal.partner.client import AsyncClient
    from cloudsignal.partner.keys import ApiKey
    from cloudsignal.simulator.ledger import Ledger
    from cloudsignal.simulator.pace import Driving, Pace, Sleep
    from cloudsignal.simulator.plan import Plan
    from cloudsignal.simulator.reader import Reader
    from cloudsignal.simulator.simulation import Result


_DAYS_AGO: Final = re.compile(r"([0-9]{1,5})[- ]days?[- ]ago")


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
    live: Annotated[
        bool,
        typer.Option(
            "--live",
            help="With --database: no test interfaces, so that all of it counts; orders are registered, with due"
            " dates, and nothing is sent that comes after now. For stores to try things out in.",
        ),
    ] = False,
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
    items: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=ITEMS_MAX,
            help=f"How many items; else {ITEMS}, or as many as come with --duration, --until or --live.",
        ),
    ] = None,
    items_per_day: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=ITEMS_MAX,
            help=f"How many come in a day of the plan; else {ITEMS_PER_DAY}, or {LIVE_ITEMS_PER_DAY} with --live.",
        ),
    ] = None,
    duration: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Make items for so long: 60s, 5m, 2h."),
    ] = None,
    speed: Annotated[
        str | None,
        typer.Option(
            metavar="TIMES", help="How many times as fast as in life, 3600x; else max: at once."
        ),
    ] = None,
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
        str | None,
        typer.Option(
            metavar="DATETIME",
            help="When the first day of the plan begins: also today, yesterday or 7-days-ago, in UTC;"
            f" else {START}, or {LIVE_START} with --live.",
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="DATETIME",
            help="Send nothing that comes after that: a datetime, or now; else now with --live."
            " With --duration all until then comes in that time, ever more slowly, unless --speed or --rate says how.",
        ),
    ] = None,
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
    if live and not database:
        raise Failed("--live says which interfaces --database makes: say that as well")
    ends = until or ("now" if live else None)
    keys = keys_in(apikeys_file) if apikeys_file else []
    plan = _plan(
        seed=secrets.randbelow(SEED_MAX) if seed is None else seed,
        partners=partners or len(keys) or PARTNERS,
        items=items or (None if duration or ends else ITEMS),
        items_per_day=items_per_day or (LIVE_ITEMS_PER_DAY if live else ITEMS_PER_DAY),
        start=start or (LIVE_START if live else START),
        rates=_rates(rates, faults),
    )
    driving = _driving(plan, ends, speed, rate, connections, duration)
    if dry_run:
        if plan.items is None and driving.until is None:
            raise Failed(
                "--dry-run prints a whole plan, which has no end with --duration: say --items or --until"
            )
        _print_posts(plan, driving.until)
        return
    live_until = driving.until if live else None
    with furnished(plan, database, keys, keep=keep, live_until=live_until) as (
        found_keys,
        made_token,
    ):
        token = None if no_compare else made_token or token_in(token_file)
        wanted = Wanted(plan, driving, base_url, found_keys, token)
        ledger, result = _run(wanted)
    tell(plan, ledger, result, json=json)


# ---- what was asked ------------------------------------------------------------------------------


def _plan(*, start: str, **values: Any) -> "Plan":
    from cloudsignal.simulator.plan import Plan, instant

    try:
        plan = Plan(start=instant(_day(start)), **values)
        plan.check_years()
        return plan
    except ValueError as error:
        raise Failed(f"--start {plain(start)}: {error}") from None


def _day(start: str) -> str:
    """A date instead of a word for one."""
    ago = _DAYS_AGO.fullmatch({"today": "0-days-ago", "yesterday": "1-day-ago"}.get(start, start))
    return str(datetime.now(UTC).date() - timedelta(days=int(ago[1]))) if ago else start


def _rates(given: dict[str, float | None], faults: bool | None) -> Rates:
    from cloudsignal.simulator.rates import FAULTS, NO_FAULTS

    basis = {None: Rates(), True: FAULTS, False: NO_FAULTS}[faults]
    return msgspec.structs.replace(
        basis, **{name: value for name, value in given.items() if value is not None}
    )


def _driving(
    plan: "Plan",
    until: str | None,
    speed: str | None,
    rate: float | None,
    connections: int,
    duration: str | None,
) -> "Driving":
    from cloudsignal.simulator.pace import Braking, Driving

    duration_s = _duration_s(duration)
    driving = Driving(
        pace=_pace(speed or "max", rate),
        connections=connections,
        duration_s=duration_s,
        until=_end(plan, until) if until else None,
        now=time.monotonic,
    )
    if not until or not duration_s or speed or rate:
        return driving
    # It ends with what is now then.
    end = _end(plan, until, duration_s)
    return msgspec.structs.replace(driving, pace=Braking(plan.start, end, duration_s), until=end)


def _duration_s(duration: str | None) -> float | None:
    from cloudsignal.simulator.pace import span_s

    try:
        return span_s(duration) if duration else None
    except ValueError as error:
        raise Failed(f"--duration {plain(str(duration))}: {error}") from None


def _end(plan: "Plan", until: str, now_in_s: float = 0.0) -> int:
    """The instant until which the plan is sent; ``now`` is so many seconds after this."""
    from cloudsignal.simulator.plan import instant

    now = datetime.now(UTC) + timedelta(seconds=now_in_s)
    try:
        end = instant(now.isoformat() if until == "now" else until)
    except ValueError as error:
        raise Failed(f"--until {plain(until)}: {error}") from None
    if end <= plan.start:
        raise Failed(f"--until {plain(until)}: the plan begins later; --start it before that")
    return end


def _pace(speed: str, rate: float | None) -> "Pace":
    from cloudsignal.simulator.pace import pace_of

    try:
        return pace_of(speed, rate)
    except ValueError as error:
        raise Failed(f"--speed {plain(speed)}: {error}") from None


def _print_posts(plan: "Plan", until: int | None) -> None:
    for post in plan.posts(until=until):
        print(msgspec.json.encode({"partner": post.partner, "items": post.signals}).decode())


# ---- the run -------------------------------------------------------------------------------------


def _run(wanted: Wanted) -> "tuple[Ledger, Result]":
    import asyncio

    from cloudsignal.partner.errors import SetupError
    from cloudsignal.simulator.ledger import Ledger
    from cloudsignal.simulator.reader import ReadFailed

    ledger = Ledger()
    try:
        print(f"cloudsignal: {_repetition(wanted.plan)}", file=sys.stderr)
        with progress(ledger):
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
    from cloudsignal.partner.client import AsyncClient
    from cloudsignal.simulator.fleet import TRIES

    def make(partner: int, *, sleep: "Sleep") -> AsyncClient:
        return AsyncClient(wanted.base_url, apikey=wanted.keys[partner], tries=TRIES, sleep=sleep)

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
    """Let the first SIGINT or SIGTERM stop the sending, and the next end everything, but for tidying up."""
    import asyncio

    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)

    def asked() -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    for number in numbers:
        loop.add_signal_handler(number, asked)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
