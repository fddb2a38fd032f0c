"""Which addresses webhooks may go to: public ones, and those in networks that the operator allows.

Anybody who may set an endpoint chooses where this server connects to. What only this server can reach, its
own machine and the networks behind it, must not be reached that way.
"""

import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from cloudsignal.server.addresses import Network, network

Address = IPv4Address | IPv6Address


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(network(text) for text in texts)


METADATA: Final = frozenset(
    ip_address(text)
    for text in (
        "169.254.169.254",  # most clouds
        "169.254.170.2",  # AWS, containers
        "169.254.170.23",  # AWS, pods
        "100.100.100.200",  # Alibaba
        "168.63.129.16",  # Azure; a public address, but not there
        "192.0.0.192",  # Oracle
        "fd00:ec2::254",  # AWS
        "fd00:ec2::23",  # AWS, pods
        "fd20:ce::254",  # Google
    )
)
"""Where clouds tell a machine its credentials. No allowed network includes them."""

# Our own tables and not ipaddress.is_global, because what that says changes with the version of Python.
# They follow the special-purpose registries of IANA; where one of these names an exception that is public,
# it is no place for an endpoint, and is refused with the rest.
_SPECIAL: Final[dict[str, tuple[Network, ...]]] = {
    "unspecified": _networks("0.0.0.0/8", "::/128"),
    "loopback": _networks("127.0.0.0/8", "::1/128"),
    "link-local": _networks("169.254.0.0/16", "fe80::/10"),
    "private": _networks("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fec0::/10"),
    "shared by a provider's customers": _networks("100.64.0.0/10"),
    "multicast": _networks("224.0.0.0/4", "ff00::/8"),
    "for documentation": _networks(
        "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20"
    ),
    "reserved": _networks(
        "192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15", "240.0.0.0/4", "2001::/23"
    ),
}
_PUBLIC_IPV6: Final = network("2000::/3")
"""All that has ever been given out of IPv6."""

_MAPPED: Final = network("::ffff:0:0/96")
_NAT64: Final = network("64:ff9b::/96")
_6TO4: Final = network("2002::/16")
_TEREDO: Final = network("2001::/32")
_ISATAP: Final = 0x0000_5EFE
_ISATAP_MASK: Final = 0xFCFF_FFFF
"""An interface that begins with these 32 bits, but for two, has an IPv4 address in the others."""


def refused_as(address: Address, allowed: Iterable[Network] = ()) -> str | None:
    """What an address is that webhooks may not go to, such as ``private``; None if they may.

    An IPv6 address that leads to an IPv4 address is judged by that one.
    """
    allowed = tuple(allowed)
    kinds = (_refused_as(each, allowed) for each in _leads_to(address))
    return next((kind for kind in kinds if kind), None)


def _refused_as(address: Address, allowed: tuple[Network, ...]) -> str | None:
    if address in METADATA:
        return "a cloud's metadata service"
    if any(address in each for each in allowed):
        return None
    for kind, networks in _SPECIAL.items():
        if any(address in each for each in networks):
            return kind
    return "reserved" if address.version == 6 and address not in _PUBLIC_IPV6 else None


def _leads_to(address: Address) -> list[Address]:
    """Where packets to an address can come out: there, or at the IPv4 addresses within it."""
    if address.version == 4:
        return [address]
    bits = int(address)
    if address in _MAPPED or address in _NAT64:
        return [_ipv4(bits)]
    if address in _6TO4:
        return [_ipv4(bits >> 80)]
    if address in _TEREDO:  # The server's, and the client's with each bit turned.
        return [_ipv4(bits >> 64), _ipv4(~bits)]
    # Without the zone of a link, in which nothing here differs.
    plain = IPv6Address(bits)
    return [plain, _ipv4(bits)] if bits >> 32 & _ISATAP_MASK == _ISATAP else [plain]


def _ipv4(bits: int) -> IPv4Address:
    return IPv4Address(bits & 0xFFFF_FFFF)


def literal(host: str) -> Address | None:
    """The address that a URL's host is, in any spelling that the system takes for one; None for a name.

    ``127.1``, ``0x7f000001``, ``017700000001`` and ``2130706433`` all are 127.0.0.1.
    """
    if ":" in host:
        try:
            return ip_address(host)
        except ValueError:
            return None
    try:
        # The parser of the C library, by which a resolver would take it for an address.
        return IPv4Address(socket.inet_aton(host.removesuffix(".")))
    except (OSError, UnicodeEncodeError, ValueError):
        return None
