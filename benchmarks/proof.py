"""Looks whether owners were told all that the log has for them: nothing else, and in order for each item."""

from collections.abc import Sequence
from contextlib import closing
from typing import Any

from msgspec import Struct

from benchmarks.places import Place
from benchmarks.receiver import Arrival
from cloudsignal import webhooks
from cloudsignal.protocol.signals import BY_NAME
from cloudsignal.protocol.webhooks import WEBHOOK_OF
from cloudsignal.server.delivery.desk import Made
from cloudsignal.server.store import messages
from cloudsignal.server.store.owned import Owned
from cloudsignal.server.store.store import open_store

PAGE = 5000


class Told(Struct, frozen=True):
    """An endpoint that is to be told everything: its number at the receivers, and what is known of it."""

    number: int
    made: Made


class Expected:
    """What has to come: the log's signals for the owner of each endpoint, by the ids of their webhooks."""

    def __init__(self, signals: dict[int, dict[str, Owned]], told: Sequence[Told]) -> None:
        self._told = {each.number: each.made for each in told}
        self._signals = signals
        self.count = sum(len(self._its(made)) for made in self._told.values())

    def position(self, arrival: Arrival) -> int:
        """That of the signal an arrival tells of; 0 if it is none of these."""
        made = self._told.get(arrival.endpoint)
        found = self._its(made).get(arrival.headers["webhook-id"]) if made else None
        return found.position if found else 0

    def faults(self, arrivals: Sequence[Arrival]) -> dict[str, int]:
        came: dict[int, dict[str, Arrival]] = {number: {} for number in self._told}
        for each in arrivals:
            if each.endpoint in came:  # The first of repeats is the one whose order counts.
                came[each.endpoint].setdefault(each.headers["webhook-id"], each)
        untold = mistold = 0
        for number, made in self._told.items():
            its, last = self._its(made), dict[int, int]()
            untold += len(its.keys() - came[number].keys())
            for id, arrival in came[number].items():
                signal = its.get(id)
                if signal is None or not is_told(arrival, signal, made):
                    mistold += 1
                    continue
                mistold += signal.position < last.get(signal.number, 0)
                last[signal.number] = signal.position
        return {"untold": untold, "mistold": mistold}

    def _its(self, made: Made) -> dict[str, Owned]:
        return self._signals.get(made.endpoint.owner, {})


def expected(place: Place, told: Sequence[Told], after: int) -> Expected:
    """What has to come of the log beyond a position, as it is now."""
    found: dict[int, dict[str, Owned]] = {}
    with closing(open_store(place.url)) as store:
        identity, is_cut = store.identity(), True
        while is_cut:
            look = store.deliveries.look((), after=after, limit=PAGE)
            for each in look.signals:
                if each.owner is not None:
                    its = found.setdefault(each.owner, {})
                    its[messages.of_signal(identity, each.position)] = each
            after, is_cut = look.until, look.is_cut
    return Expected(found, told)


def is_told(arrival: Arrival, signal: Owned, made: Made) -> bool:
    """Whether it is signed, has the key, and says what the print partner said."""
    try:
        verified = webhooks.verify(
            arrival.headers, arrival.body, secret=made.secret or "", apikey=made.apikey
        )
    except webhooks.WebhookError:
        return False
    told: Any = verified.webhook
    report: Any = signal.report.signal
    return (
        type(told) is WEBHOOK_OF[BY_NAME[signal.type]]
        and (told.order, told.item) == (signal.order, signal.item)
        and getattr(told, "tracking", "") == getattr(report, "tracking", "")
    )
