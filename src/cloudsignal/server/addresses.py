"""Addresses of peers: who is on a list, and whom to count as one."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network


def network(text: str) -> Network:
    """An address or network such as ``192.0.2.7`` or ``2001:db8::/32``. Raises ValueError."""
    return ip_network(text.strip(), strict=False)


@lru_cache(maxsize=4096)
def is_within(address: str, networks: tuple[str, ...]) -> bool:
    """Whether an address is on a list; one that is none (a socket's path, say) never is."""
    try:
        found = _plain(address)
    except ValueError:
        return False
    return any(found in network(text) for text in networks)


@lru_cache(maxsize=4096)
def neighbourhood(address: str) -> str:
    """Whom to count as one: the address, or the /64 that an IPv6 host can roam."""
    try:
        found = _plain(address)
    except ValueError:
        return address
    return str(ip_network(f"{found}/64", strict=False)) if found.version == 6 else str(found)


def url(host: str, port: int) -> str:
    """The address of a web server there."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def checked(texts: Iterable[str]) -> tuple[str, ...]:
    """The list in normal form. Raises ValueError for what is neither address nor network."""
    return tuple(str(network(text)) for text in texts)


def _plain(address: str):  # type: ignore[no-untyped-def]
    found = ip_address(address)
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found
