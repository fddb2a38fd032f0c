"""What people want of endpoints, checked, with its secrets made and sealed."""

import secrets
from collections.abc import Callable
from typing import Annotated, Any, Final

from msgspec import UNSET, Meta, Struct, UnsetType

from cloudsignal.protocol import datetimes, signatures
from cloudsignal.protocol.webhooks import (
    SENT,
    CloudprinterOrderValidated,
    Format,
    ItemWebhook,
    Webhook,
    encode,
)
from cloudsignal.server.bodies import END, Name, Unfit, Wrong
from cloudsignal.server.delivery.recipient import APIKEY, SECRET, URL, sealed_as
from cloudsignal.server.delivery.sealing import Sealer
from cloudsignal.server.delivery.targets import URL_CHARS_MAX, Rules, shown, target_of
from cloudsignal.server.store import messages
from cloudsignal.server.store.deliveries import Noted
from cloudsignal.server.store.endpoints import Endpoint, Sealed, Wanted
from cloudsignal.server.store.store import Store

APIKEY_CHARS_MAX: Final = 255
SECRET_BYTES: Final = 32
HOUR_US: Final = 3600 * 1_000_000
OVERLAP_HOURS: Final = 24.0
OVERLAP_HOURS_MAX: Final = 24.0 * 365
TEST_ORDER: Final = "cloudsignal-test"
"""The order and the item that tests of an endpoint are about: nobody's."""

_TYPES: Final = tuple(each.__name__ for each in SENT)
WebhookType = Annotated[str, Meta(pattern=f"^({'|'.join(_TYPES)}){END}")]
Url = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=URL_CHARS_MAX,
        description="where webhooks are posted; user:password@ in it becomes Basic authorization",
        extra={"rule": "a URL such as https://owner.example/webhooks"},
    ),
]
Types = Annotated[
    list[WebhookType],
    Meta(
        max_length=len(SENT),
        description="which types of webhooks are sent; none for all",
        extra={"rule": f"an array of types of webhooks: {', '.join(_TYPES)}"},
    ),
]
Apikey = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=APIKEY_CHARS_MAX,
        pattern=rf"^[\x21-\x7e]+{END}",
        description="what stands in apikey of every webhook; made if it is left out",
        extra={"rule": f"1 to {APIKEY_CHARS_MAX} visible ASCII characters"},
    ),
]
Secret = Annotated[
    str,
    Meta(
        max_length=128,
        description="what webhooks are signed with, whsec_ and then base64; made if it is left out",
        extra={"rule": "whsec_ and then base64"},
    ),
]
FormatOf = Annotated[
    Format,
    Meta(
        description="2.1 has in ItemShipped where the parcel can be followed",
        extra={"rule": "cloudsignal-2.0 or cloudsignal-2.1"},
    ),
]
NewestOnly = Annotated[
    bool,
    Meta(description="after an outage, send of each item what is newest only"),
]


class EndpointCreation(Struct, frozen=True, forbid_unknown_fields=True):
    """An endpoint to be added."""

    owner: Name
    url: Url
    format: FormatOf = "cloudsignal-2.0"
    types: Types = []
    test: Annotated[bool, Meta(description="send it test signals, and nothing else")] = False
    newest_only: NewestOnly = False
    apikey: Apikey | None = None
    secret: Secret | None = None


class EndpointChange(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is to be another at an endpoint. What is left out stays as it is."""

    url: Url | UnsetType = UNSET
    format: FormatOf | UnsetType = UNSET
    types: Types | UnsetType = UNSET
    newest_only: NewestOnly | UnsetType = UNSET


class Rotation(Struct, frozen=True, forbid_unknown_fields=True):
    """Another secret for an endpoint, and another key if one is given."""

    overlap_hours: Annotated[
        float,
        Meta(
            ge=0,
            le=OVERLAP_HOURS_MAX,
            description="for how long the old secret signs as well",
            extra={"rule": f"a number of hours from 0 to {OVERLAP_HOURS_MAX:g}"},
        ),
    ] = OVERLAP_HOURS
    secret: Secret | None = None
    apikey: Apikey | None = None


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

    def create(self, wish: EndpointCreation, *, now: int) -> Made:
        """Add an endpoint. Raises NotFound when there is no such owner."""
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
        return Made(self._store.endpoints.create(wish.owner, wanted, now=now), apikey, secret)

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
        webhook = kind(apikey="", order=TEST_ORDER, datetime=datetimes.write(now), **about)
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


def _test_type(endpoint: Endpoint) -> type[Webhook]:
    known = {each.__name__: each for each in SENT}
    return known[endpoint.types[0]] if endpoint.types else CloudprinterOrderValidated
