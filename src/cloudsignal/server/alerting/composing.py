"""What the operator is told of alerts, as a webhook or as a mail: written once, whatever is tried then."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from msgspec import Struct

from cloudsignal.protocol import datetimes
from cloudsignal.protocol.units import HOUR_S
from cloudsignal.server.alerting.views import AlertView, alert_view
from cloudsignal.server.store.alert_messages import TEST, News, WayName, Written
from cloudsignal.server.store.alerts import Alert, What

DIGEST: Final = "alert.digest"
"""The type of what tells of several alerts."""
TYPE_OF: Final[dict[What, str]] = {"raised": "alert.raised", "cleared": "alert.cleared"}
"""The types of what tells of one alert."""
NEWS_MAX: Final[dict[WayName, int]] = {"webhook": 100, "email": 5_000}
"""How many news one message tells at most."""
LISTED_MAX: Final = 50
"""How many items a mail lists that were raised, and how many that were cleared; it counts all."""
TEST_SENTENCE: Final = "This is a test. Alerts of stalled items will come this way."

_encode: Final = msgspec.json.Encoder().encode


class Links(Struct, frozen=True):
    """Where what is told can be looked at: the page of an order's item, and that of alerts; empty if not known."""

    item: Callable[[str, str], str] = lambda order, item: ""
    alerts: str = ""


NO_LINKS: Final = Links()


class LinkedAlert(AlertView, frozen=True, kw_only=True, omit_defaults=True):
    """An alert, and the page of its item if that is known."""

    url: str = ""


class Webhook(Struct, frozen=True):
    """The body of a webhook about one alert."""

    type: str
    timestamp: str
    data: LinkedAlert


class Mail(Struct, frozen=True):
    """What a mail says: its subject, one line, and its text."""

    subject: str
    text: str


def read_mail(content: str) -> Mail:
    """The mail that a message holds."""
    return msgspec.json.decode(content, type=Mail)


# ---- webhooks ----


def webhook(news: Sequence[News], now: int, links: Links = NO_LINKS) -> Written:
    """A webhook that tells of an alert, or of several."""
    told = [_webhook(each, links) for each in news]
    if len(told) == 1:
        return Written(told[0].type, _encode(told[0]).decode())
    where = {"url": links.alerts} if links.alerts else {}
    return _posted(DIGEST, {"alerts": told} | where, now)


def _webhook(news: News, links: Links) -> Webhook:
    url = links.item(news.alert.order, news.alert.item)
    linked = LinkedAlert(**msgspec.structs.asdict(_view(news)), url=url)
    return Webhook(TYPE_OF[news.what], datetimes.write(news.at), linked)


def _view(news: News) -> AlertView:
    """An alert as it was when there was something to tell of it."""
    view = alert_view(news.alert)
    return view if news.what == "cleared" else msgspec.structs.replace(view, cleared=None, why="")


def _posted(type: str, data: dict[str, Any], now: int) -> Written:
    body = {"type": type, "timestamp": datetimes.write(now), "data": data}
    return Written(type, _encode(body).decode())


# ---- mails ----


def mail(news: Sequence[News], now: int, links: Links = NO_LINKS) -> Written:
    """A mail that tells of an alert, or of several."""
    raised = [each.alert for each in news if each.what == "raised"]
    cleared = [each.alert for each in news if each.what == "cleared"]
    parts = (*_part(RAISED, raised, links), *_part(CLEARED, cleared, links))
    foot = f"{_FOOT}\n{links.alerts}" if links.alerts else _FOOT
    text = "\n".join((*parts, foot, ""))
    kind = TYPE_OF[news[0].what] if len(news) == 1 else DIGEST
    return _mailed(kind, _subject(raised, cleared), text)


def _subject(raised: Sequence[Alert], cleared: Sequence[Alert]) -> str:
    if len(raised) + len(cleared) == 1:
        alert, said = (*raised, *cleared)[0], "stalled" if raised else "no longer stalled"
        return f"{said.capitalize()}: item {plain(alert.item)} of order {plain(alert.order)}"
    counts = [f"{len(raised)} stalled"] if raised else []
    counts += [f"{len(cleared)} no longer stalled"] if cleared else []
    return f"Items: {', '.join(counts)}"


def _part(kind: "_Kind", alerts: Sequence[Alert], links: Links) -> Iterator[str]:
    if not alerts:
        return
    yield f"{kind.head}: {len(alerts)}"
    yield ""
    for each in alerts[:LISTED_MAX]:
        yield f"- item {plain(each.item)} of order {plain(each.order)}, {plain(each.partner_name)}:"
        yield f"  {kind.sentence(each)}"
        if url := links.item(each.order, each.item):
            yield f"  {url}"
    if len(alerts) > LISTED_MAX:
        yield f"- and {len(alerts) - LISTED_MAX} more: the panel lists all."
    yield ""


def _stalled(alert: Alert) -> str:
    allowed = f"{alert.limit_s / HOUR_S:g} h of working time"
    return f"{alert.state} since {_moment(alert.since)}, longer than {allowed}"


def _cleared(alert: Alert) -> str:
    return f"{alert.why} (it was {alert.state} since {_moment(alert.since)})"


class _Kind(Struct, frozen=True):
    """How one kind of news is listed."""

    head: str
    sentence: Callable[[Alert], str]


RAISED: Final = _Kind("Stalled", _stalled)
CLEARED: Final = _Kind("No longer stalled", _cleared)
_FOOT: Final = "Times are in UTC. The rules, and who is told, are on the page Alerts of the panel."


def _mailed(type: str, subject: str, text: str) -> Written:
    return Written(type, _encode(Mail(f"[cloudsignal] {subject}", text)).decode())


def _moment(instant: int) -> str:
    return f"{datetime.fromtimestamp(instant / 1e6, UTC):%Y-%m-%d %H:%M}"


def plain(text: str) -> str:
    """What others wrote, in one line: whatever is no letter, digit or mark in it is a question mark."""
    return "".join(each if each.isprintable() else "?" for each in text)


# ---- tests ----


def test_of(way: WayName, now: int) -> Written:
    """What tells nothing but that it arrives."""
    if way == "webhook":
        return _posted(TEST, {"message": TEST_SENTENCE}, now)
    return _mailed(TEST, "Test of alerts", f"{TEST_SENTENCE}\n")


WRITE: Final[dict[WayName, Callable[[Sequence[News], int, Links], Written]]] = {
    "webhook": webhook,
    "email": mail,
}
"""How each way is told."""
