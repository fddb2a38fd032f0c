"""``cloudsignal alert``: items that are stalled, what that means, and who is told."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, NamedTuple

import typer

from cloudsignal.cli.awaiting import WAIT_S, Wait, awaited
from cloudsignal.cli.output import (
    Config,
    Database,
    Exit,
    Failed,
    Json,
    moment,
    opened,
    plain,
    print_json,
    print_table,
    program,
    where,
)
from cloudsignal.cli.unseen import HINT, unseen

if TYPE_CHECKING:
    from cloudsignal.server.alerting.desk import AlertDesk
    from cloudsignal.server.alerting.views import AlertView
    from cloudsignal.server.store.alert_messages import Digest, Message
    from cloudsignal.server.store.store import Store

alert = typer.Typer(help="Items that are stalled, and who is told of them.", no_args_is_help=True)

PARTNER: Final = typer.Option(
    "--partner",
    metavar="NAME",
    help="The print partner; else every one that has no rule of its own for the state.",
)
STATE: Final = typer.Argument(metavar="STATE", help="registered, producing, produced or packed.")
Every = Annotated[
    Literal["at-once", "hourly", "daily"] | None,
    typer.Option("--when", help="When they are told; at once if it was never said."),
]
At = Annotated[str, typer.Option("--at", metavar="HH:MM", help="The time of day, for daily.")]
Zone = Annotated[
    str,
    typer.Option("--timezone", metavar="ZONE", help="Its time zone, such as Europe/Berlin."),
]
Off = Annotated[
    bool, typer.Option("--off", help="Tell nothing that way any more; what waits is given up.")
]
WayArgument = Annotated[
    Literal["webhook", "email"], typer.Argument(metavar="WAY", help="webhook or email.")
]


class Place(NamedTuple):
    """Where alerts are changed: the store, who checks what is wanted, and the time."""

    store: "Store"
    desk: "AlertDesk"
    now: int


@contextmanager
def at_desk(database: str | None, config: Path | None) -> Iterator[Place]:
    """Where alerts are changed. What is wrong with what is wanted is raised as Failed."""
    with opened(database, config) as (store, settings):
        from cloudsignal.server import clock
        from cloudsignal.server.alerting.desk import AlertDesk
        from cloudsignal.server.bodies import Unfit
        from cloudsignal.server.keys import open_keyring

        open_keyring(settings, store)  # Or a webhook would be sealed with another store's secret.
        try:
            yield Place(store, AlertDesk.of(store, settings), clock.now())
        except Unfit as error:
            raise Failed("; ".join(str(each) for each in error.wrong)) from None


# ---- alerts ----


@alert.command("list")
def list_alerts(
    partner: Annotated[
        str | None, typer.Option("--partner", metavar="NAME", help="Only those of a print partner.")
    ] = None,
    cleared: Annotated[
        bool, typer.Option("--cleared", help="Those that are over, the last one first.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 100,
    json: Json = False,
    database: Database = None,
    config: Config = None,
) -> None:
    """List the items that are stalled, those that were not heard of for longest first."""
    with opened(database, config) as (store, _):
        from cloudsignal.server.alerting.views import alert_view

        read = store.attention.cleared if cleared else store.attention.stalled
        views = [alert_view(each) for each in read(partner=partner, limit=limit)]
    if json:
        print_json(views)
        return
    # When an alert was raised is left to programs: on 80 columns no more than this is readable.
    last = ["cleared, UTC", "why"] if cleared else ["since, UTC", "may take"]
    print_table(
        "Alerts",
        ["order", "item", "print partner", "state", *last],
        [
            [each.order, each.item, each.partner, each.state, *(_over if cleared else _open)(each)]
            for each in views
        ],
        wrapping=("order", "item", "print partner"),
    )


def _open(view: "AlertView") -> tuple[str, str]:
    return moment(view.since), f"{view.limit_hours:g} h"


def _over(view: "AlertView") -> tuple[str, str]:
    return moment(view.cleared), view.why


# ---- rules ----


@alert.command("rules")
def list_rules(json: Json = False, database: Database = None, config: Config = None) -> None:
    """List for how long items may be in a state, in hours in which their print partner works."""
    with opened(database, config) as (store, _):
        from cloudsignal.server.alerting.views import rule_view

        views = [rule_view(each) for each in store.alerts.rules()]
    if json:
        print_json(views)
        return
    print_table(
        "Rules",
        ["print partner", "state", "period", "grace"],
        [
            [
                each.partner or "every one",
                each.state,
                "any time" if each.period_hours is None else f"{each.period_hours:g} h",
                f"{each.grace_hours:g} h" if each.grace_hours else "",
            ]
            for each in views
        ],
        wrapping=("print partner",),
    )


@alert.command("set")
def set_rule(
    state: Annotated[str, STATE],
    partner: Annotated[str | None, PARTNER] = None,
    period: Annotated[
        float | None,
        typer.Option("--period", metavar="HOURS", help="For how long items may be in the state."),
    ] = None,
    grace: Annotated[
        float,
        typer.Option("--grace", metavar="HOURS", help="And for how long beyond that."),
    ] = 0.0,
    never: Annotated[
        bool, typer.Option("--never", help="Nothing is ever stalled there, whatever else is said.")
    ] = False,
    json: Json = False,
    database: Database = None,
    config: Config = None,
) -> None:
    """Have a rule: an item that is in the state for longer than period and grace is stalled."""
    if (period is None) is not never:
        raise Failed("say either --period or --never")
    with at_desk(database, config) as place:
        place.desk.set_rule(partner, state, period_h=period, grace_h=grace)
    list_rules(json, database, config)


@alert.command("unset")
def unset_rule(
    state: Annotated[str, STATE],
    partner: Annotated[str | None, PARTNER] = None,
    json: Json = False,
    database: Database = None,
    config: Config = None,
) -> None:
    """Have no rule there any more."""
    with at_desk(database, config) as place:
        place.desk.drop_rule(partner, state)
    list_rules(json, database, config)


# ---- who is told ----


@alert.command("ways")
def list_ways(json: Json = False, database: Database = None, config: Config = None) -> None:
    """List how alerts are told, and how that goes."""
    with opened(database, config) as (store, _):
        from cloudsignal.server.alerting.views import way_view

        views = [way_view(each) for each in store.alert_messages.ways()]
    if json:
        print_json(views)
        return
    print_table(
        "Ways",
        ["way", "to", "when", "failures", "since, UTC", "next, UTC"],
        [
            [
                each.way,
                ", ".join(each.to),
                each.when,
                str(each.failures or ""),
                moment(each.failing_since),
                moment(each.due),
            ]
            for each in views
        ],
        wrapping=("to",),
    )


@alert.command("webhook")
def set_webhook(
    url: Annotated[
        str,
        typer.Option(
            metavar="URL",
            callback=unseen,
            help=f"Where webhooks are posted; a user and a password go with it. {HINT}",
        ),
    ] = "",
    when: Every = None,
    at: At = "",
    timezone: Zone = "UTC",
    new_secret: Annotated[
        bool, typer.Option("--new-secret", help="Sign with another secret, which is shown.")
    ] = False,
    off: Off = False,
    json: Json = False,
    database: Database = None,
    config: Config = None,
) -> None:
    """Tell alerts by a signed webhook, and show the secret of a new one: this once.

    What is not given stays as it is.
    """
    with at_desk(database, config) as place:
        secret = None
        if off:
            place.desk.remove("webhook", now=place.now)
        else:
            digest = _digest(when, at, timezone)
            secret = place.desk.set_webhook(url=url, digest=digest, new_secret=new_secret)
    if secret is None:
        list_ways(json, database, config)
    elif json:
        print_json({"secret": secret})
    else:
        print(f"What webhooks are signed with, shown this once:\n\n  {secret}\n")
        print("Next, while a server runs, a test:")
        print(f"  {program()} alert test webhook{where(database, config)}")


@alert.command("email")
def set_email(
    to: Annotated[
        list[str] | None,
        typer.Option("--to", metavar="ADDRESS", help="Who gets the mails; repeat for more."),
    ] = None,
    when: Every = None,
    at: At = "",
    timezone: Zone = "UTC",
    off: Off = False,
    json: Json = False,
    database: Database = None,
    config: Config = None,
) -> None:
    """Tell alerts by e-mail. What is not given stays as it is; the mail server is a setting."""
    with at_desk(database, config) as place:
        if off:
            place.desk.remove("email", now=place.now)
        else:
            place.desk.set_email(recipients=to, digest=_digest(when, at, timezone))
    list_ways(json, database, config)


@alert.command("messages")
def list_messages(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 20,
    json: Json = False,
    database: Database = None,
    config: Config = None,
) -> None:
    """List what was told, or is to be, the newest first, and what became of it."""
    with opened(database, config) as (store, _):
        from cloudsignal.server.alerting.views import message_view

        views = [message_view(each) for each in store.alert_messages.messages(limit=limit)]
    if json:
        print_json(views)
        return
    print_table(
        "Messages",
        ["message", "way", "type", "news", "state", "tries", "made, UTC", "what became of it"],
        [
            [
                each.message,
                each.way,
                each.type,
                str(each.count or ""),
                each.state,
                str(each.attempts),
                moment(each.made),
                each.why,
            ]
            for each in views
        ],
        wrapping=("message", "what became of it"),
    )


@alert.command("test")
def try_way(
    way: WayArgument,
    wait: Wait = WAIT_S,
    json: Json = False,
    database: Database = None,
    config: Config = None,
) -> None:
    """Have a test told, and show what became of it. A server has to run."""
    with at_desk(database, config) as place:
        later = f"{program()} alert messages{where(database, config)}"
        message = place.desk.test(way, now=place.now)
        found = awaited(lambda: _settled(place.store, message), wait, later=later)
    if found is None:
        raise Failed(
            f"the test was not sent within {wait:g} s: is `{program()} serve` running?"
            f" `{later}` says later what became of it",
            Exit.NOT_SENT,
        )
    if found.state == "dead":
        raise Failed(f"the test was not delivered: {found.why}")
    if json:
        from cloudsignal.server.alerting.views import message_view

        print_json(message_view(found))
    else:
        print(plain(f"The test was delivered: {found.why}."))


def _settled(store: "Store", message: str) -> "Message | None":
    """A message, once it waits no more."""
    found = store.alert_messages.message(message)
    return None if found.state == "waiting" else found


def _digest(when: str | None, at: str, timezone: str) -> "Digest | None":
    """When alerts are to be told; None where that was not said. Raises Unfit."""
    from cloudsignal.server.alerting.desk import digest_of

    return None if when is None else digest_of(when.replace("-", " "), at, timezone)
