"""The page of alerts: for how long items may be in a state, and how the operator is told of those that are longer."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from litestar import Response, get, post

from cloudsignal.server.alerting.composing import read_mail
from cloudsignal.server.alerting.desk import AlertDesk, digest_of
from cloudsignal.server.bodies import Unfit, Wrong
from cloudsignal.server.clock import now
from cloudsignal.server.insight.stalling import STATES
from cloudsignal.server.panel import pages
from cloudsignal.server.panel.access import OPERATOR, READER
from cloudsignal.server.panel.forms import FORM_BYTES_MAX, form, places, words
from cloudsignal.server.panel.lists import PAGE, Column, Listing, exported, wants_csv
from cloudsignal.server.panel.pages import Asked, Before, page, to
from cloudsignal.server.store.alert_messages import EVERY, WAYS, Digest, Message, Way, WayName
from cloudsignal.server.store.errors import NotFound
from cloudsignal.server.store.store import Store

NEWEST: Final = 10
"""How many messages are on the page itself."""
MESSAGES: Final = Listing[Message](
    path="/alerts/messages",
    title="Messages",
    columns=(
        Column("Made, UTC", lambda each: each.made, "instant"),
        Column("By", lambda each: each.way),
        Column("What", lambda each: each.type),
        Column("News", lambda each: each.count),
        Column("State", lambda each: each.state),
        Column("Attempts", lambda each: each.attempts),
        Column("What became of it", lambda each: each.why),
        Column("Known by", lambda each: each.message),
    ),
    turn="before",
    place=lambda each: each.id,
)
"""As a file: the page has what is shorter."""
WAIT_S: Final = 20.0
"""How long the page of a test waits for what becomes of it."""
LOOK_S: Final = 0.2
RULE: Final = {"partner": "", "state": "packed", "kind": "hours", "period": "", "grace": "0"}
"""The form of a rule as it is at first."""


def desk_for(request: Asked) -> AlertDesk:
    """The desk, where what is changed is noted as the doing of who is signed in."""
    desk: AlertDesk = request.app.state.alerts
    return desk.by(pages.actor(request))


@get("/alerts", guards=[READER])
async def show_alerts(request: Asked) -> Response[Any]:
    """The rules, the ways of telling, and the newest messages."""
    return await _alerts(request)


# ---- rules ----


@post("/alerts/rules", guards=[OPERATOR], request_max_body_size=FORM_BYTES_MAX)
async def set_rule(request: Asked) -> Response[Any]:
    """Have a rule for a state, at a print partner or at every one."""
    given = await form(request, "partner", "state", "kind", "period", "grace")

    def change(desk: AlertDesk) -> None:
        period = None if given["kind"] == "never" else _number("period", given["period"])
        grace = _number("grace", given["grace"] or "0")
        partner = given["partner"].strip() or None
        desk.set_rule(partner, given["state"], period_h=period, grace_h=grace)

    return await _change(request, change, "rule", given)


@post("/alerts/rules/remove", guards=[OPERATOR], request_max_body_size=FORM_BYTES_MAX)
async def drop_rule(request: Asked) -> Response[Any]:
    """Have no rule there any more."""
    given = await form(request, "partner", "state")

    def change(desk: AlertDesk) -> None:
        desk.drop_rule(given["partner"] or None, given["state"])

    return await _change(request, change, "rule", given)


# ---- ways ----


@post("/alerts/webhook", guards=[OPERATOR], request_max_body_size=FORM_BYTES_MAX)
async def set_webhook(request: Asked) -> Response[Any]:
    """Tell by a webhook from now on; a new one's secret is shown, this once."""
    given = await form(request, "url", "when", "at", "timezone")

    def change(desk: AlertDesk) -> str | None:
        digest = digest_of(given["when"], given["at"], given["timezone"])
        return desk.set_webhook(url=given["url"].strip(), digest=digest)

    return await _change(request, change, "webhook", given)


@post("/alerts/webhook/secret", guards=[OPERATOR])
async def replace_secret(request: Asked) -> Response[Any]:
    """Sign with another secret from now on, and show it: this once."""
    return await _change(request, lambda desk: desk.set_webhook(new_secret=True), "webhook", {})


@post("/alerts/email", guards=[OPERATOR], request_max_body_size=FORM_BYTES_MAX)
async def set_email(request: Asked) -> Response[Any]:
    """Tell by mails from now on."""
    given = await form(request, "to", "when", "at", "timezone")

    def change(desk: AlertDesk) -> None:
        digest = digest_of(given["when"], given["at"], given["timezone"])
        desk.set_email(recipients=words(given["to"]), digest=digest)

    return await _change(request, change, "email", given)


@post("/alerts/ways/{way:str}/remove", guards=[OPERATOR])
async def remove_way(request: Asked, way: str) -> Response[Any]:
    """Tell no more by a way."""
    name = _way(way)
    return await _change(request, lambda desk: desk.remove(name, now=now()), name, {})


@post("/alerts/ways/{way:str}/test", guards=[OPERATOR])
async def test_way(request: Asked, way: str) -> Response[Any]:
    """Have a test told by a way, and go to the page that shows what became of it."""
    desk = desk_for(request)
    message = await asyncio.to_thread(desk.test, _way(way), now=now())
    return to(f"/alerts/messages/{message}")


# ---- messages ----


@get("/alerts/messages", guards=[READER])
async def list_messages(request: Asked, before: Before = None) -> Response[Any]:
    """The newest messages, or those before one."""
    read = request.app.state.store.alert_messages.messages
    if wants_csv(request):
        return await exported(request, MESSAGES, read)
    found = await asyncio.to_thread(read, before=before, limit=PAGE)
    next = found[-1].id if len(found) == PAGE else None
    return page(request, "alert_messages.html", messages=found, next=next)


@get("/alerts/messages/{message:str}", guards=[READER])
async def show_message(request: Asked, message: str) -> Response[Any]:
    """What the operator is told, and what became of it; of a test that is waited for."""
    found = await _message(request.app.state.store, message)
    mail = read_mail(found.content) if found.way == "email" and found.content else None
    return page(request, "alert_message.html", message=found, mail=mail)


async def _message(store: Store, name: str) -> Message:
    """A message; a test once it is over, or has been waited for long enough. Raises NotFound."""
    read = store.alert_messages.message
    for _ in range(int(WAIT_S / LOOK_S)):
        found = await asyncio.to_thread(read, name)
        if not (found.is_test and found.state == "waiting"):
            return found
        await asyncio.sleep(LOOK_S)
    return await asyncio.to_thread(read, name)


# ---- what they have in common ----


async def _change(
    request: Asked,
    change: Callable[[AlertDesk], str | None],
    part: str,
    given: dict[str, str],
) -> Response[Any]:
    """Change something; show a secret that is new, or what is wrong, at the part of the page that it is about."""
    try:
        secret = await asyncio.to_thread(change, desk_for(request))
    except Unfit as unfit:
        return await _alerts(request, part, given, places(unfit, given))
    except NotFound as error:
        return await _alerts(request, part, given, {"": str(error)})
    if secret is not None:
        return page(request, "alert_secret.html", secret=secret)
    return to(f"/alerts#{part}")


async def _alerts(
    request: Asked,
    part: str = "",
    given: dict[str, str] | None = None,
    wrong: dict[str, str] | None = None,
) -> Response[Any]:
    """The page; with what was ``given`` to one of its forms, and is ``wrong`` with it."""
    told = await asyncio.to_thread(_told, request.app.state.store)
    forms = {name: form(told["ways"].get(name)) for name, form in FORMS.items()}
    if given is not None:
        forms[part] |= given
    return page(
        request,
        "alerts.html",
        status=400 if wrong else 200,
        forms=forms,
        wrong={name: wrong or {} if name == part else {} for name in forms},
        states={each: each for each in STATES},
        every={each: each for each in EVERY},
        mails=request.app.state.alerts.mails,
        **told,
    )


def _digest(way: Way | None) -> dict[str, str]:
    """When one is told, as the forms have it."""
    digest = way.digest if way else Digest("at once")
    is_daily = digest.every == "daily"
    return {
        "when": digest.every,
        "at": digest.time if is_daily else "08:00",
        "timezone": digest.timezone if is_daily else "UTC",
    }


FORMS: Final[dict[str, Callable[[Way | None], dict[str, str]]]] = {
    "rule": lambda _: dict(RULE),
    "webhook": lambda way: {"url": "", **_digest(way)},
    "email": lambda way: {"to": ", ".join(way.recipients) if way else "", **_digest(way)},
}
"""What is in the forms of the page before somebody writes into them."""


def _told(store: Store) -> dict[str, Any]:
    """What the page shows."""
    return {
        "rules": store.alerts.rules(),
        "partners": [each.name for each in store.access.partners()],
        "ways": {each.way: each for each in store.alert_messages.ways()},
        "messages": store.alert_messages.messages(limit=NEWEST),
    }


def _way(name: str) -> WayName:
    """The way of that name. Raises NotFound."""
    for each in WAYS:
        if each == name:
            return each
    raise NotFound(f"there is no way {name!r}")


def _number(field: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise Unfit([Wrong(field, "must be a number of hours")]) from None


ROUTES: Final = [
    show_alerts,
    set_rule,
    drop_rule,
    set_webhook,
    replace_secret,
    set_email,
    remove_way,
    test_way,
    list_messages,
    show_message,
]
