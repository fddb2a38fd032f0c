"""An endpoint while its owner is told: what is known of it, opened, its lineup and its pace."""

from typing import Final

from msgspec import Struct

from cloudsignal.protocol import signatures
from cloudsignal.protocol.units import SECOND_US
from cloudsignal.protocol.webhooks import encode
from cloudsignal.server.delivery.lineup import Lineup
from cloudsignal.server.delivery.pace import Pace
from cloudsignal.server.delivery.sealing import Sealer
from cloudsignal.server.delivery.targets import secrets_of
from cloudsignal.server.store.endpoints import Endpoint, EndpointState

URL: Final = "url"
APIKEY: Final = "apikey"
SECRET: Final = "secret"
HIDDEN: Final = "…".encode()
"""What stands in an answer in place of a secret."""


def sealed_as(number: int, what: str) -> str:
    """Whose a sealed text of an endpoint is, for the seal."""
    return f"endpoint {number} {what}"


class Opened(Struct, frozen=True, repr_omit_defaults=True):
    """What is secret of an endpoint. It shows nothing of it."""

    url: str
    apikey: str
    secret: bytes
    old_secret: bytes | None
    old_secret_until: int
    hidden: tuple[bytes, ...] = ()
    """What nobody may read in an answer, the longest first."""

    def __repr__(self) -> str:
        return "Opened(…)"

    def headers(self, id: str, *, now: int, body: bytes) -> dict[str, str]:
        """The headers that sign a body, with both secrets while one takes the place of the other."""
        secrets = [self.secret]
        if self.old_secret is not None and now < self.old_secret_until:
            secrets.append(self.old_secret)
        return signatures.headers(secrets, id=id, now_s=now // SECOND_US, body=body)

    def hide(self, told: bytes, *, is_cut: bool) -> bytes:
        """What an endpoint told, without what is secret of it; if it ``is_cut``, without the beginning of that too."""
        for each in self.hidden:
            told = told.replace(each, HIDDEN)
            if is_cut:
                told = _without_beginning(told, each)
        return told


def _without_beginning(told: bytes, secret: bytes) -> bytes:
    """What was told, without the beginning of a secret at its end."""
    for length in range(len(secret) - 1, 0, -1):
        if told.endswith(secret[:length]):
            return told[:-length] + HIDDEN
    return told


def opened(endpoint: Endpoint, sealer: Sealer) -> Opened:
    """The secrets of an endpoint. Raises SealError."""

    def open(sealed: str, what: str) -> str:
        return sealer.open(sealed, of=sealed_as(endpoint.id, what))

    url, apikey = open(endpoint.sealed.url, URL), open(endpoint.sealed.apikey, APIKEY)
    # A key may have letters that JSON writes in another way.
    hidden = {apikey, encode(apikey)[1:-1].decode(), *secrets_of(url)}
    old = endpoint.old_secret
    return Opened(
        url,
        apikey,
        signatures.read(open(endpoint.sealed.secret, SECRET)),
        signatures.read(open(old, SECRET)) if old else None,
        endpoint.old_secret_until or 0,
        tuple(sorted((each.encode() for each in hidden), key=len, reverse=True)),
    )


def pace_of(endpoint: Endpoint) -> Pace:
    """How fast an endpoint is told at first."""
    pace = Pace(failures=endpoint.failures, failing_since=endpoint.failing_since)
    if endpoint.state == "probing" or pace.is_down:
        pace.at_once = 1
    return pace


class Recipient:
    """One endpoint, from when this node begins to tell it until it ends."""

    def __init__(self, endpoint: Endpoint, secrets: Opened, *, held_max: int) -> None:
        self.endpoint = endpoint
        self.secrets = secrets
        self.state: EndpointState = endpoint.state
        self.why = endpoint.why
        self.lineup = Lineup(position=endpoint.position, held_max=held_max)
        self.pace = pace_of(endpoint)
        self.saved = endpoint.position
        """The position that is on disk."""
        self.is_over = False
        """Whether it is not for this node to tell it any more."""
        self.is_stale = False
        """Whether another node may have told it meanwhile: then it is never gone on with."""

    def resume(self) -> None:
        """Go on, as the endpoint is now."""
        self.is_over = False
        self.state, self.why = self.endpoint.state, self.endpoint.why
        self.pace = pace_of(self.endpoint)

    @property
    def id(self) -> int:
        """The endpoint's number."""
        return self.endpoint.id

    @property
    def is_told(self) -> bool:
        """Whether anything may be sent to it."""
        return not self.is_over and self.state in ("active", "probing")

    @property
    def wants_more(self) -> bool:
        """Whether more of the log may be taken in."""
        return self.is_told and self.lineup.has_room

    def may_send(self, now: int) -> bool:
        """Whether another attempt may begin."""
        return self.is_told and self.pace.may_send(self.lineup.under_way, now)

    @property
    def is_busy(self) -> bool:
        """Whether as many attempts are under way as may be at the same time."""
        return self.lineup.under_way >= self.pace.at_once

    def next_at(self) -> int | None:
        """When the next attempt may begin, None for not before something happens."""
        at = self.lineup.next_at() if self.is_told else None
        return None if at is None or self.is_busy else max(at, self.pace.rests_until)

    def takes_newest_only(self, *, catching_up: bool) -> bool:
        """Whether it is told of the latest of each item only, because it could not be told in time."""
        return self.endpoint.newest_only and (catching_up or self.pace.failures > 0)
