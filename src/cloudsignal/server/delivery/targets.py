"""An endpoint's URL: checked, with its user and password taken out, and as it may be shown."""

import re
from base64 import b64encode
from typing import Final, Self

from msgspec import Struct
from yarl import URL

from cloudsignal.server.addresses import Network, network
from cloudsignal.server.delivery.networks import Address, literal, refused_as
from cloudsignal.server.settings import Settings

URL_CHARS_MAX: Final = 2_000
SECRET_CHARS_MIN: Final = 4

_HOST: Final = re.compile(r"(?=.{1,253}$)(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?")
"""A name that can be resolved, as it is once it is encoded."""
_QUERY: Final = re.compile(r"[?#]")
_USER: Final = re.compile(r"//[^/?#]*@")
_BASIC: Final = "Basic "


class Rules(Struct, frozen=True):
    """Where webhooks may go beside public addresses, and whether unencrypted."""

    networks: tuple[Network, ...] = ()
    http: bool = False

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The rules that the operator has set."""
        return cls(tuple(map(network, settings.webhook_networks)), settings.webhook_http)

    def check(self, host: str, address: Address) -> None:
        """Make sure that webhooks may go to an address of a host. Raises ValueError with a sentence."""
        if kind := refused_as(address, self.networks):
            # Without the address: what names inside the operator's network mean is not the owner's affair.
            raise ValueError(
                f"the address of {host} is {kind}: webhooks go to public addresses, and to those that the"
                " setting webhook_networks allows"
            )


class Target(Struct, frozen=True):
    """Where webhooks are posted: the URL without user and password, and these as a header's value.

    It shows neither, and nothing that follows a question mark.
    """

    url: URL
    authorization: str | None

    @property
    def host(self) -> str:
        """The name or address in the URL."""
        return self.url.raw_host or ""

    def __str__(self) -> str:
        return shown(str(self.url))

    def __repr__(self) -> str:
        return f"Target({str(self)!r})"


def target_of(text: str, rules: Rules) -> Target:
    """Where a URL leads to. Raises ValueError with a sentence, which never holds the URL's secrets.

    A name is not resolved here: what it leads to is checked each time it is dialled.
    """
    url = _parsed(text)
    if url.scheme not in ("https", "http"):
        raise ValueError("the URL of an endpoint begins with https://")
    if url.scheme == "http" and not rules.http:
        raise ValueError(
            "the URL of an endpoint begins with https://, unless the setting webhook_http is on"
        )
    host = url.raw_host or ""
    if address := literal(host):
        rules.check(host, address)
        # In its usual spelling there is only one way to read it.
        url = url.with_host(str(address))
    elif not _HOST.fullmatch(host):
        raise ValueError("the URL of an endpoint has to name a host, such as https://owner.example")
    return Target(url.with_user(None).with_fragment(None), _authorization(url))


def shown(url: str) -> str:
    """A URL without what may be secret: user, password, and what follows ``?`` or ``#``."""
    end = _QUERY.search(url)
    return _USER.sub("//", url[: end.start()] + "?…" if end else url)


def secrets_of(url: str) -> set[str]:
    """What is secret in a URL that was checked, in each spelling in which an answer may repeat it.

    What is very short hides nothing, and is found in every answer.
    """
    parsed = URL(url)
    found = {parsed.password, parsed.raw_password, parsed.raw_query_string, *parsed.query.values()}
    if authorization := _authorization(parsed):
        found.add(authorization.removeprefix(_BASIC))
    return {each for each in found if each and len(each) >= SECRET_CHARS_MIN}


def _parsed(text: str) -> URL:
    if len(text) > URL_CHARS_MAX:
        raise ValueError(f"the URL of an endpoint has {URL_CHARS_MAX} characters at most")
    if not text.isprintable() or " " in text:
        raise ValueError("the URL of an endpoint has no spaces and no control characters")
    try:
        url = URL(text)
        is_dialled = url.port != 0
    except ValueError:  # Its message would repeat the URL.
        raise ValueError(
            "that is no URL: an endpoint's is like https://owner.example/webhooks"
        ) from None
    if not is_dialled:
        raise ValueError("the port in the URL of an endpoint is from 1 to 65535")
    if "%" in (url.raw_host or ""):
        raise ValueError("the host in the URL of an endpoint has no percent sign")
    return url


def _authorization(url: URL) -> str | None:
    if not url.user and not url.password:
        return None
    pair = f"{url.user or ''}:{url.password or ''}"
    return _BASIC + b64encode(pair.encode()).decode()
