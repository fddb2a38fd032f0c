"""Where a server is: a base URL, as people write it."""

from typing import Final

import httpx2
from msgspec import Struct

from cloudsignal.partner.errors import SetupError
from cloudsignal.protocol.http import ENDPOINT

PORT_MAX: Final = 65_535

_EXAMPLE: Final = "write it like https://signals.example.com"
_NEAR: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class Address(Struct, frozen=True):
    """Where signals are posted.

    ``endpoint`` is the whole URL without user and password, which are in ``login`` if it had them.
    """

    endpoint: str
    login: tuple[str, str] | None = None

    def __repr__(self) -> str:
        return f"Address({self.endpoint!r})"  # Without the password.

    @property
    def base(self) -> str:
        """The base URL, without a slash at its end."""
        return self.endpoint.removesuffix(ENDPOINT)

    @property
    def host_and_port(self) -> tuple[str, int]:
        """Where connections go."""
        url = httpx2.URL(self.endpoint)
        return url.host, url.port or (443 if url.scheme == "https" else 80)

    @property
    def is_in_the_open(self) -> bool:
        """Whether whoever stands between can read the key."""
        url = httpx2.URL(self.endpoint)
        return url.scheme == "http" and url.host not in _NEAR


def address_of(base_url: str) -> Address:
    """The address that a base URL stands for; the URL of the endpoint itself will do as well.

    Raises SetupError when it is none.
    """
    try:
        url = httpx2.URL(base_url.strip())
        url.raw_host.decode().encode("idna")  # As it will be looked up.
    except (httpx2.InvalidURL, UnicodeError) as error:
        raise SetupError(f"base_url cannot be read: {error}; {_EXAMPLE}") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise SetupError(f"base_url has to begin with https:// or http://: {_EXAMPLE}")
    if url.port is not None and not 0 < url.port <= PORT_MAX:
        raise SetupError(f"base_url has the port {url.port}, which cannot be: {_EXAMPLE}")
    if url.query or url.fragment:
        raise SetupError(f"base_url has something behind its path: {_EXAMPLE}")
    login = (url.username, url.password) if url.userinfo else None
    path = url.path.rstrip("/").removesuffix(ENDPOINT.rstrip("/")) + ENDPOINT
    return Address(str(url.copy_with(path=path, username=None, password=None)), login)
