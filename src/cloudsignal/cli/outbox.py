"""``cloudsignal outbox``: what waits to be sent, and what became of it."""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from cloudsignal.cli.ending import told_to_end
from cloudsignal.cli.output import (
    NUMBER_MAX,
    Exit,
    Failed,
    Json,
    note,
    plain,
    print_json,
    print_table,
    progress_bars,
    shown,
    telling_if_interrupted,
)
from cloudsignal.cli.profile import (
    ProfileName,
    Reach,
    failing,
    in_force,
    options_of,
    reaching,
)

if TYPE_CHECKING:
    from cloudsignal.partner.outbox.file import File, Health, State
    from cloudsignal.partner.outbox.outbox import Outbox
    from cloudsignal.partner.profiles import Profile

outbox = typer.Typer(help="Signals that wait to be sent.", no_args_is_help=True)

OutboxFile = Annotated[
    Path | None,
    typer.Option("--outbox", metavar="FILE", help="The outbox's file; else the profile's."),
]
Ids = Annotated[list[int] | None, typer.Argument(metavar="[ID]...", min=1, max=NUMBER_MAX)]
All = Annotated[bool, typer.Option("--all", help="All that were refused.")]

OPEN: Final[list["State"]] = ["waiting", "refused"]
"""What people have to look after."""
FLUSH_S: Final = 60.0
TOLD_S: Final = 0.2
"""How often a bar is moved."""


@outbox.command("run")
@reaching
def run_outbox(
    outbox: OutboxFile = None,
    *,
    reach: Reach,
) -> None:
    """Send what waits and what comes, until it is told to end (SIGTERM, Ctrl-C)."""
    with (
        logging_to_stderr(),
        failing(),
        sending(in_force(reach), outbox) as sender,
        told_to_end() as ending,
    ):
        note(f"sending from {sender.path}")
        while not ending.wait(1.0):  # Without a limit, some systems don't let a signal through.
            pass


@outbox.command("flush")
@reaching
def flush_outbox(
    within: Annotated[
        float, typer.Option("--within", metavar="SECONDS", min=0.0, help="How long to wait.")
    ] = FLUSH_S,
    outbox: OutboxFile = None,
    *,
    reach: Reach,
    json: Json = False,
) -> None:
    """Try everything that waits at once, and wait until it is sent. Good for cron."""
    with failing(), sending(in_force(reach), outbox) as sender:
        sender.hurry()
        health = drain(sender, within)
    if json:
        _print_health(health)
    fail_unless_empty(health)
    if not json:
        print("everything else is sent" if health.refused else "everything is sent")
    fail_if_refused(health)


@outbox.command("status")
def show_status(outbox: OutboxFile = None, profile: ProfileName = None, json: Json = False) -> None:
    """Show how many signals wait, and whether they get through."""
    with failing(), opened(outbox, profile) as file:
        health = file.health()
    if json:
        _print_health(health)
        return
    print(f"waiting  {health.waiting}" + _since(health))
    print(
        f"refused  {health.refused}"
        + (": cloudsignal outbox list --state refused" if health.refused else "")
    )
    if health.paused is not None:
        print(
            f"PAUSED   {plain(health.paused)}\n         mend that, then: cloudsignal outbox resume"
        )
    elif health.trouble is not None:
        print(
            f"trouble  {plain(health.trouble.info)}\n         since {shown(health.trouble.since)} UTC,"
            f" {health.trouble.tries} tries"
        )


@outbox.command("list")
def list_signals(
    state: Annotated[
        Literal["waiting", "refused", "sent", "discarded"] | None,
        typer.Option(help="Only those in this state; else those that wait or are refused."),
    ] = None,
    after: Annotated[int, typer.Option(min=0, max=NUMBER_MAX, help="Begin after this id.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 100,
    outbox: OutboxFile = None,
    profile: ProfileName = None,
    json: Json = False,
) -> None:
    """List signals, the oldest first."""
    with failing(), opened(outbox, profile) as file:
        found = file.entries(states=[state] if state else OPEN, after=after, limit=limit)
        paused = file.paused()
    if paused is not None:
        note(f"the outbox is PAUSED: {plain(paused)}")
    if json:
        from cloudsignal.partner.outbox.views import entry_view

        print_json([entry_view(each) for each in found])
    else:
        print_table(
            f"Outbox {outbox or ''}".rstrip(),
            ["id", "type", "order", "item", "put, UTC", "state", "why"],
            [[str(e.id), e.type, e.order, e.item, shown(e.put), e.state, e.info] for e in found],
            wrapping=("order", "item", "why"),
        )
    if len(found) == limit:
        note(f"there may be more: --after {found[-1].id}")


@outbox.command("show")
def show_signal(
    id: Annotated[int, typer.Argument(min=1, max=NUMBER_MAX)],
    outbox: OutboxFile = None,
    profile: ProfileName = None,
    json: Json = False,
) -> None:
    """Show one signal, and what became of it."""
    with failing(), opened(outbox, profile) as file:
        entry = file.entry(id)
    if entry is None:
        raise Failed(f"there is no signal {id} in the outbox, or no more")
    if json:
        from cloudsignal.partner.outbox.views import entry_view

        print_json(entry_view(entry))
        return
    print(
        f"signal {entry.id}: {entry.state}"
        + (f" since {shown(entry.settled)} UTC" if entry.settled else "")
    )
    print(f"put      {shown(entry.put)} UTC")
    if entry.info:
        print(f"why      {plain(entry.info)}")
    print(plain(bytes(entry.signal).decode()))


@outbox.command("retry")
def retry_signals(
    ids: Ids = None,
    all: All = False,
    outbox: OutboxFile = None,
    profile: ProfileName = None,
    json: Json = False,
) -> None:
    """Let refused signals wait again, behind those that do, once what they were refused for is mended."""
    with failing(), opened(outbox, profile) as file:
        _told(file.retry(_chosen(ids, all), _now()), ids, "waiting again", json)


@outbox.command("discard")
def discard_signals(
    ids: Ids = None,
    all: All = False,
    outbox: OutboxFile = None,
    profile: ProfileName = None,
    json: Json = False,
) -> None:
    """Give up signals that are refused, or wait. They can be looked up for some days yet."""
    with failing(), opened(outbox, profile) as file:
        _told(file.discard(_chosen(ids, all), _now()), ids, "discarded", json)


@outbox.command("resume")
def resume_outbox(outbox: OutboxFile = None, profile: ProfileName = None) -> None:
    """Send again, after the key was mended for which everything was paused."""
    with failing(), opened(outbox, profile) as file:
        was_paused = file.paused() is not None
        file.resume()
    print("sent again" if was_paused else "it was not paused")


# ---- for other commands too ----------------------------------------------------------------------


def path_of(outbox: Path | None, profile: "Profile") -> Path:
    """The file that a flag or a profile names. Raises Failed."""
    if outbox is not None:
        return outbox
    if profile.outbox is None:
        raise Failed("say which --outbox, or name it in a profile", Exit.SETUP)
    return Path(profile.outbox)


@contextmanager
def sending(profile: "Profile", outbox: Path | None) -> Iterator["Outbox"]:
    """An outbox from which signals are sent in the background, as this profile says."""
    from cloudsignal.partner.outbox.outbox import Outbox

    base_url, options = options_of(profile)
    with Outbox(path_of(outbox, profile), base_url, **options) as opened:
        yield opened


@contextmanager
def opened(outbox: Path | None, profile: str | None) -> Iterator["File"]:
    """The file of an outbox that is there. Raises Failed."""
    from cloudsignal.partner.outbox.file import File

    path = path_of(outbox, in_force(Reach(profile=profile)))
    if not path.exists():
        raise Failed(f"there is no outbox {path}", Exit.SETUP)
    file = File(path)
    try:
        yield file
    finally:
        file.close()


@contextmanager
def logging_to_stderr() -> Iterator[None]:
    """Let people see what the outbox has to say."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("cloudsignal")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def drain(sender: "Outbox", within_s: float) -> "Health":
    """Wait until everything is sent, or so many seconds, with a bar: how it stands then."""
    before = sender.health()
    waiting = before.waiting
    with (
        telling_if_interrupted(lambda: _how_far(before, sender.health())),
        progress_bars() as told,
    ):
        end = time.monotonic() + within_s
        while (left_s := end - time.monotonic()) > 0:
            left = sender.drain(min(TOLD_S, left_s))
            told("signals sent", max(0, waiting - left), waiting)
            if not left or sender.health().paused is not None:
                break
    return sender.health()


def fail_unless_empty(health: "Health") -> None:
    """Raises Failed when signals wait still."""
    if health.paused is not None:
        told = f"{health.waiting} signals wait, and the outbox is PAUSED: {plain(health.paused)}"
        raise Failed(told, Exit.KEY_REFUSED)
    if health.waiting:
        why = "they are not sent yet" if health.trouble is None else plain(health.trouble.info)
        raise Failed(f"{health.waiting} signals wait: {why}", Exit.NOT_SENT)


def fail_if_refused(health: "Health") -> None:
    """Raises Failed when there are signals that need a person."""
    if health.refused:
        advice = "see cloudsignal outbox list --state refused, then outbox retry or discard"
        raise Failed(f"{health.refused} signals were refused: {advice}", Exit.REFUSED)


# ---- details -------------------------------------------------------------------------------------


def _print_health(health: "Health") -> None:
    from cloudsignal.partner.outbox.views import health_view

    print_json(health_view(health))


def _how_far(before: "Health", now: "Health") -> str:
    refused = max(0, now.refused - before.refused)
    sent = max(0, before.waiting - now.waiting - refused)
    told = f"{sent} signals are sent" + (f", {refused} refused" if refused else "")
    return f"{told}; {now.waiting} wait still, and cloudsignal outbox flush or run sends them"


def _chosen(ids: list[int] | None, all: bool) -> list[int] | None:
    if bool(ids) == all:
        raise typer.BadParameter("say which ids, or --all that were refused")
    return ids or None


def _told(count: int, ids: list[int] | None, became: str, json: bool) -> None:
    if json:
        print_json({"count": count})
    elif count:
        print(f"{count} {became}")
    if not count:
        raise Failed("none of these signals is there to do that with: cloudsignal outbox list")
    missing = len(set(ids or [])) - count
    if missing > 0:
        note(f"{missing} of these signals are not there to do that with: cloudsignal outbox list")


def _since(health: "Health") -> str:
    return "" if health.oldest is None else f", the oldest since {shown(health.oldest)} UTC"


def _now() -> int:
    return time.time_ns() // 1000
