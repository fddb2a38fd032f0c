"""What people want of endpoints, checked, with its secrets made and sealed."""

import secrets
from collections.abc import Callable
from copy import copy
from datetime import UTC
from typing import Any, Final, Self

from msgspec import UNSET, Struct

from cloudsignal.protocol import datetimes, signatures
from cloudsignal.protocol.units import HOUR_US
from cloudsignal.protocol.webhooks import (
    SENT,
    CloudprinterOrderValidated,
    ItemShipped,
    ItemWebhook,
    Webhook,
    encode,
    moment,
)
from cloudsignal.server.bodies import Unfit, Wrong
from cloudsignal.server.delivery.recipient import APIKEY, SECRET, URL, sealed_as
from cloudsignal.server.delivery.sealing import Sealer
from cloudsignal.server.delivery.targets import Rules, shown, target_of
from cloudsignal.server.delivery.wishes import (
    Discarding,
    EndpointChange,
    EndpointCreation,
    Redelivery,
    Rotation,
)
from cloudsignal.server.keys import secret_of
from cloudsignal.server.settings import Settings
from cloudsignal.server.store import messages
from cloudsignal.server.store.changes import Actor
from cloudsignal.server.store.deliveries import Noted
from cloudsignal.server.store.endpoints import Endpoint, Sealed, Wanted
from cloudsignal.server.store.errors import NotFound
from cloudsignal.server.store.store import Store

SECRET_BYTES: Final = 32
TEST_ORDER: Final = "cloudsignal-test"
"""The order and the item that tests of an endpoint are about: nobody's."""


class Made(Struct, frozen=True):
    """An endpoint, and its key and secret if they are new: to be shown this once."""

    endpoint: Endpoint
    apikey: str | None
    secret: str | None


class Desk:
    """Where endpoints are made and changed. Its verbs raise StoreUnavailable, and Unfit with what is wrong."""

    def __init__(
        self,
        store: Store,
        sealer: Sealer,
        rules: Rules,
        *,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._store = store
        self._sealer = sealer
        self._rules = rules
        self._random = random

    @classmethod
    def of(cls, store: Store, settings: Settings) -> Self:
        """The desk of a store, as it is set. Raises SettingsError when the server's secret cannot be had."""
        return cls(store, Sealer(secret_of(settings, make=False)), Rules.of(settings))

    def by(self, actor: Actor) -> Self:
        """The same desk, where what is changed is noted as this one's doing."""
        other = copy(self)
        other._store = self._store.by(actor)
        return other

    def create(self, wish: EndpointCreation, *, now: int) -> Made:
        """Add an endpoint."""
        self._check_url(wish.url)
        apikey = wish.apikey or self._random(16).hex()
        secret = self._secret(wish.secret)

        def seal(number: int) -> Sealed:
            return Sealed(
                self._seal(number, URL, wish.url),
                self._seal(number, APIKEY, apikey),
                self._seal(number, SECRET, secret),
            )

        wanted = Wanted(
            seal=seal,
            shown=shown(wish.url),
            format=wish.format,
            types=tuple(wish.types),
            test=wish.test,
            newest_only=wish.newest_only,
        )
        try:
            made = self._store.endpoints.create(wish.owner, wanted, now=now)
        except NotFound as error:
            raise Unfit([Wrong("owner", str(error))]) from None
        return Made(made, apikey, secret)

    def change(self, number: int, wish: EndpointChange) -> Endpoint:
        """Change an endpoint. Raises NotFound."""
        values: dict[str, Any] = {}
        if wish.url is not UNSET:
            self._check_url(wish.url)
            values |= {"url": self._seal(number, URL, wish.url), "shown": shown(wish.url)}
        for name in ("format", "types", "newest_only"):
            if (value := getattr(wish, name)) is not UNSET:
                values[name] = value
        return self._store.endpoints.change(number, **values)

    def rotate(self, number: int, wish: Rotation, *, now: int) -> Made:
        """Give an endpoint another secret, while the old one still signs. Raises NotFound."""
        secret = self._secret(wish.secret)
        endpoint = self._store.endpoints.rotate(
            number,
            secret=self._seal(number, SECRET, secret),
            apikey=self._seal(number, APIKEY, wish.apikey) if wish.apikey else None,
            overlap_until=now + int(wish.overlap_hours * HOUR_US),
        )
        return Made(endpoint, wish.apikey, secret)

    def test(self, number: int, *, now: int) -> str:
        """Have a webhook sent that is about nothing, of the first type the endpoint wants: its message.

        Raises NotFound.
        """
        endpoint = self._store.endpoints.endpoint(number)
        kind = _test_type(endpoint)
        about = {"item": TEST_ORDER} if issubclass(kind, ItemWebhook) else {}
        url = {"url": ""} if kind is ItemShipped and endpoint.format != "cloudsignal-2.0" else {}
        webhook = kind(apikey="", order=TEST_ORDER, datetime=moment(now), **about, **url)
        message = messages.of_order(self._store.identity(), "test", f"{number} {now}")
        self._store.delivery_log.tell(
            Noted(
                endpoint=number,
                message=message,
                position=0,
                number=0,
                type=kind.__name__,
                order=TEST_ORDER,
                item=about.get("item", ""),
                webhook=encode(webhook).decode(),
                state="asked",
                due=now,
            ),
            now=now,
        )
        return message

    def redeliver(self, number: int, wish: Redelivery, *, now: int) -> int:
        """Have something told once more, as if it had never been tried: how many. Raises NotFound."""
        _check_choice(wish)
        endpoint = self._store.endpoints.endpoint(number)
        log = self._store.delivery_log
        if wish.positions is not UNSET:
            try:
                return len(log.ask(endpoint, wish.positions, now=now))
            except NotFound as error:
                raise Unfit([Wrong("positions", str(error))]) from None
        return log.redeliver(
            number,
            messages=None if wish.messages is UNSET else wish.messages,
            since=None if wish.since is UNSET else instant(wish.since),
            now=now,
        )

    def discard(self, number: int, wish: Discarding) -> int:
        """Forget what was given up: how many. Raises NotFound."""
        _check_choice(wish)
        self._store.endpoints.endpoint(number)
        chosen = None if wish.messages is UNSET else wish.messages
        return self._store.delivery_log.discard(number, messages=chosen)

    def _check_url(self, url: str) -> None:
        try:
            target_of(url, self._rules)
        except ValueError as error:
            raise Unfit([Wrong("url", str(error))]) from None

    def _secret(self, given: str | None) -> str:
        if given is None:
            return signatures.written(self._random(SECRET_BYTES))
        try:
            return signatures.written(signatures.read(given))
        except ValueError as error:
            raise Unfit([Wrong("secret", str(error))]) from None

    def _seal(self, number: int, what: str, plain: str) -> str:
        return self._sealer.seal(plain, of=sealed_as(number, what))


def instant(since: str) -> int:
    """The instant since which something is wanted, in microseconds since 1970. Raises Unfit."""
    try:
        return datetimes.parse(since, UTC)
    except ValueError as error:
        raise Unfit([Wrong("since", f"cannot be read: {error}")]) from None


def _test_type(endpoint: Endpoint) -> type[Webhook]:
    known = {each.__name__: each for each in SENT}
    return known[endpoint.types[0]] if endpoint.types else CloudprinterOrderValidated


def _check_choice(wish: Redelivery | Discarding) -> None:
    """Make sure that one of the ways to choose is used. Raises Unfit."""
    names = wish.__struct_fields__
    if sum(getattr(wish, name) not in (UNSET, False) for name in names) != 1:
        raise Unfit([Wrong("", f"choose deliveries in one way: by {', '.join(names)}")])
