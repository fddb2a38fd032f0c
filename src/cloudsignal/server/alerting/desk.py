"""What people want of alerts, checked: rules, and how they are told; secrets made and sealed."""

import re
import secrets
from collections.abc import Callable, Sequence
from copy import copy
from typing import Final, Self
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from cloudsignal.protocol import signatures
from cloudsignal.protocol.units import HOUR_S
from cloudsignal.server.alerting.composing import test_of
from cloudsignal.server.alerting.telling import SECRET, URL, new_message, sealed_as
from cloudsignal.server.bodies import Unfit, Wrong
from cloudsignal.server.delivery.sealing import Sealer
from cloudsignal.server.delivery.targets import Rules, shown, target_of
from cloudsignal.server.insight.stalling import HOURS_MAX, STATES, Rule
from cloudsignal.server.keys import secret_of
from cloudsignal.server.settings import MAIL_ADDRESS, Settings
from cloudsignal.server.store.alert_messages import EVERY, Digest, Way, WayName
from cloudsignal.server.store.changes import Actor
from cloudsignal.server.store.store import Store

SECRET_BYTES: Final = 32
RECIPIENTS_MAX: Final = 50
_TIME: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")


class AlertDesk:
    """Where rules, and ways of telling, are changed.

    Its verbs raise StoreUnavailable, and Unfit with what is wrong.
    """

    def __init__(
        self,
        store: Store,
        sealer: Sealer,
        rules: Rules,
        *,
        mails: bool,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        """``mails`` says whether a mail server is set."""
        self._store = store
        self._sealer = sealer
        self._rules = rules
        self._random = random
        self.mails = mails

    @classmethod
    def of(cls, store: Store, settings: Settings) -> Self:
        """The desk of a store, as it is set. Raises SettingsError when the server's secret cannot be had."""
        sealer = Sealer(secret_of(settings, make=False))
        return cls(store, sealer, Rules.of(settings), mails=bool(settings.smtp_host))

    def by(self, actor: Actor) -> Self:
        """The same desk, where what is changed is noted as this one's doing."""
        other = copy(self)
        other._store = self._store.by(actor)
        return other

    # ---- rules ----

    def set_rule(
        self, partner: str | None, state: str, *, period_h: float | None, grace_h: float = 0.0
    ) -> None:
        """Have items of a print partner, or of every one, be in a state for so long at most; any time, with None.

        Raises NotFound when there is no such print partner.
        """
        self._store.alerts.set_rule(
            partner,
            _state(state),
            Rule(
                None if period_h is None else _seconds("period", period_h, least=1),
                _seconds("grace", grace_h, least=0),
            ),
        )

    def drop_rule(self, partner: str | None, state: str) -> None:
        """Have no rule there any more. Raises NotFound when there is no such print partner."""
        self._store.alerts.set_rule(partner, _state(state), None)

    # ---- ways ----

    def set_webhook(
        self, *, url: str = "", digest: Digest | None = None, new_secret: bool = False
    ) -> str | None:
        """Tell alerts by a webhook from now on: its secret if that is new, to be shown this once.

        What is left out stays as it is.
        """
        known = self._store.alert_messages.way("webhook")
        if known is None and not url:
            raise Unfit([Wrong("url", "is missing: where the webhook is posted")])
        way = known or Way(way="webhook")
        if url:
            way = replace(way, url=self._sealed(self._checked(url), URL), shown=shown(url))
        secret = None
        if new_secret or known is None:
            secret = signatures.written(self._random(SECRET_BYTES))
            way = replace(way, secret=self._sealed(secret, SECRET))
        self._set(way, digest)
        return secret

    def set_email(
        self, *, recipients: Sequence[str] | None = None, digest: Digest | None = None
    ) -> None:
        """Tell alerts by mails from now on. What is left out stays as it is."""
        known = self._store.alert_messages.way("email") or Way(way="email")
        to = known.recipients if recipients is None else _recipients(recipients)
        if not to:
            raise Unfit([Wrong("to", "is missing: who gets the mails")])
        self._set(replace(known, recipients=to), digest)

    def remove(self, name: WayName, *, now: int) -> None:
        """Tell alerts no more by a way; what waits is given up. Raises NotFound."""
        self._store.alert_messages.remove_way(name, now=now)

    def test(self, name: WayName, *, now: int) -> str:
        """Have a test told by a way: what it is known by. Raises NotFound when alerts are not told that way."""
        message = new_message()
        written = test_of(name, now)
        self._store.alert_messages.ask_for_test(name, written, message=message, now=now)
        return message

    def _set(self, way: Way, digest: Digest | None) -> None:
        # Whatever was changed, it is tried at once.
        fresh = {"failures": 0, "failing_since": None, "due": 0}
        changed = replace(way, digest=digest or way.digest, **fresh)
        self._store.alert_messages.set_way(changed)

    def _checked(self, url: str) -> str:
        try:
            target_of(url, self._rules)
        except ValueError as error:
            raise Unfit([Wrong("url", str(error))]) from None
        return url

    def _sealed(self, plain: str, what: str) -> str:
        return self._sealer.seal(plain, of=sealed_as(what))


def digest_of(every: str, at: str = "", timezone: str = "") -> Digest:
    """When news are told, as people write it: a time of the day and its zone count for daily only. Raises Unfit."""
    kind = next((each for each in EVERY if each == every), None)
    if kind is None:
        raise Unfit([Wrong("when", f"must be one of {', '.join(EVERY)}")])
    if kind != "daily":
        return Digest(kind)
    match = _TIME.fullmatch(at.strip())
    if match is None:
        raise Unfit([Wrong("at", "must be a time of the day such as 07:30")])
    return Digest("daily", int(match[1]) * 60 + int(match[2]), _zone(timezone.strip() or "UTC"))


def _zone(name: str) -> str:
    try:
        return ZoneInfo(name).key
    except (KeyError, ValueError, OSError):
        known = "must be a name of the IANA database, such as Europe/Berlin"
        raise Unfit([Wrong("timezone", known)]) from None


def _state(state: str) -> str:
    if state not in STATES:
        raise Unfit([Wrong("state", f"must be one of {', '.join(STATES)}")])
    return state


def _seconds(what: str, hours: float, *, least: int) -> int:
    seconds = round(hours * HOUR_S) if abs(hours) <= HOURS_MAX else -1
    if seconds < least:
        rule = "more than 0" if least else "0"
        raise Unfit([Wrong(what, f"must be a number of hours from {rule} to {HOURS_MAX}")])
    return seconds


def _recipients(given: Sequence[str]) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(each.strip() for each in given if each.strip()))
    if len(found) > RECIPIENTS_MAX:
        raise Unfit([Wrong("to", f"must be at most {RECIPIENTS_MAX} addresses")])
    wrong = [each for each in found if not MAIL_ADDRESS.fullmatch(each)]
    if wrong:
        raise Unfit([Wrong("to", f"{wrong[0][:80]!r} is no address of a mailbox")])
    return found
