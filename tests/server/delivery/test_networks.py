"""Which addresses webhooks may go to: no way around, whatever an address is written like."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudsignal.server.addresses import network
from cloudsignal.server.delivery.networks import METADATA, literal, refused_as

ipv4 = st.ip_addresses(v=4)
ipv6 = st.ip_addresses(v=6)
SHARED = "shared by a provider's customers"
CLOUD = "a cloud's metadata service"


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("1.1.1.1", None),
        ("9.255.255.255", None),
        ("11.0.0.0", None),
        ("100.63.255.255", None),
        ("100.128.0.0", None),
        ("172.15.255.255", None),
        ("172.32.0.0", None),
        ("192.0.1.0", None),
        ("223.255.255.255", None),
        ("0.0.0.0", "unspecified"),
        ("0.1.2.3", "unspecified"),
        ("10.0.0.1", "private"),
        ("172.16.0.1", "private"),
        ("172.31.255.255", "private"),
        ("192.168.255.255", "private"),
        ("100.64.0.1", SHARED),
        ("100.127.255.255", SHARED),
        ("127.0.0.1", "loopback"),
        ("127.255.255.255", "loopback"),
        ("169.254.0.1", "link-local"),
        ("169.254.169.254", CLOUD),
        ("168.63.129.16", CLOUD),
        ("100.100.100.200", CLOUD),
        ("192.0.0.192", CLOUD),
        ("192.0.0.8", "reserved"),
        ("192.0.2.1", "for documentation"),
        ("198.51.100.1", "for documentation"),
        ("203.0.113.1", "for documentation"),
        ("192.88.99.1", "reserved"),
        ("198.18.0.1", "reserved"),
        ("198.19.255.255", "reserved"),
        ("224.0.0.1", "multicast"),
        ("239.255.255.255", "multicast"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.255", "reserved"),
        ("2606:4700:4700::1111", None),
        ("2a00::1", None),
        ("2001:4860:4860::8888", None),
        ("::", "unspecified"),
        ("::1", "loopback"),
        ("::2", "reserved"),
        ("fe80::1", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("fc00::1", "private"),
        ("fd12:3456::1", "private"),
        ("fec0::1", "private"),
        ("ff02::1", "multicast"),
        ("ff0e::1", "multicast"),
        ("2001:db8::1", "for documentation"),
        ("3fff::1", "for documentation"),
        ("2001:2::1", "reserved"),
        ("2001:20::1", "reserved"),
        ("100::1", "reserved"),
        ("4000::1", "reserved"),
        ("5f00::1", "reserved"),
        ("fd00:ec2::254", CLOUD),
        ("fd20:ce::254", CLOUD),
        # IPv4-mapped
        ("::ffff:1.1.1.1", None),
        ("::ffff:10.0.0.1", "private"),
        ("::ffff:7f00:1", "loopback"),
        ("::ffff:169.254.169.254", CLOUD),
        # IPv4-compatible and IPv4-translated: nothing public is reached by them
        ("::1.1.1.1", "reserved"),
        ("::127.0.0.1", "reserved"),
        ("::ffff:0:1.1.1.1", "reserved"),
        # NAT64, and the prefix for local use
        ("64:ff9b::1.1.1.1", None),
        ("64:ff9b::10.0.0.1", "private"),
        ("64:ff9b::169.254.169.254", CLOUD),
        ("64:ff9b:1::1.1.1.1", "reserved"),
        # 6to4
        ("2002:101:101::1", None),
        ("2002:7f00:1::1", "loopback"),
        ("2002:a9fe:a9fe::1", CLOUD),
        # Teredo: the server, and the client with each bit turned
        ("2001:0:101:101:0:0:fefe:fefe", None),
        ("2001:0:101:101:0:0:80ff:fffe", "loopback"),
        ("2001:0:a00:1:0:0:fefe:fefe", "private"),
        # ISATAP
        ("2606:4700::5efe:1.1.1.1", None),
        ("2606:4700::5efe:10.0.0.1", "private"),
        ("2606:4700::200:5efe:10.0.0.1", "private"),
        ("fe80::5efe:1.1.1.1", "link-local"),
    ],
)
def test_only_public_addresses_are_dialled(address: str, kind: str | None) -> None:
    assert refused_as(ip_address(address)) == kind


@pytest.mark.parametrize(
    ("address", "allowed", "kind"),
    [
        ("10.0.0.1", "10.0.0.0/8", None),
        ("10.0.0.1", "10.0.0.2/32", "private"),
        ("127.0.0.1", "127.0.0.1/32", None),
        ("::1", "::1/128", None),
        ("::1", "127.0.0.0/8", "loopback"),
        ("fd12::1", "fd00::/8", None),
        ("fe80::1%eth0", "fe80::/10", None),
        ("203.0.113.1", "203.0.113.0/24", None),
        # What leads to an allowed address is allowed, and nothing else is by its outside.
        ("::ffff:10.0.0.1", "10.0.0.0/8", None),
        ("64:ff9b::10.0.0.1", "10.0.0.0/8", None),
        ("2606:4700::5efe:10.0.0.1", "10.0.0.0/8", None),
        ("::ffff:10.0.0.1", "::/0", "private"),
        ("2002:7f00:1::1", "2002::/16", "loopback"),
        ("2001:0:101:101:0:0:80ff:fffe", "2001::/32", "loopback"),
        ("2606:4700::5efe:10.0.0.1", "2606:4700::/32", "private"),
    ],
)
def test_the_operator_allows_networks(address: str, allowed: str, kind: str | None) -> None:
    assert refused_as(ip_address(address), [network(allowed)]) == kind


@pytest.mark.parametrize("address", sorted(METADATA, key=str), ids=str)
def test_credentials_of_clouds_are_out_of_reach_whatever_is_allowed(
    address: IPv4Address | IPv6Address,
) -> None:
    everything = [network("0.0.0.0/0"), network("::/0"), network(str(address))]
    assert refused_as(address, everything) == CLOUD
    if address.version == 4:
        assert refused_as(IPv6Address(f"::ffff:{address}"), everything) == CLOUD


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """What Python knows of it."""
    return address.is_global and not (
        address.is_multicast
        or address.is_private
        or address.is_reserved
        or address.is_link_local
        or address.is_loopback
        or address.is_unspecified
    )


@given(ipv4 | ipv6)
def test_what_is_dialled_is_public_as_python_sees_it(address: IPv4Address | IPv6Address) -> None:
    embeds = isinstance(address, IPv6Address) and (
        address.ipv4_mapped
        or address.sixtofour
        or address.teredo
        or (int(address) >> 32) == 0x64_FF9B << 64
    )
    if refused_as(address) is None and not embeds:
        assert is_public(address)


@given(ipv4)
def test_what_python_takes_for_public_is_dialled(address: IPv4Address) -> None:
    registered = ("192.0.0.0/24", "192.88.99.0/24", "224.0.0.0/4")
    if is_public(address) and not any(address in network(each) for each in registered):
        assert refused_as(address) is None or address in METADATA


@given(ipv4, ipv4, st.integers(0, 2**64 - 1), st.sampled_from([0, 0x0200, 0x0300]))
def test_an_ipv4_address_within_is_what_counts(
    inside: IPv4Address, other: IPv4Address, rest: int, group: int
) -> None:
    kind = refused_as(inside)
    low = int(inside)
    assert refused_as(IPv6Address(0xFFFF << 32 | low)) == kind
    assert refused_as(IPv6Address(0x64_FF9B << 96 | low)) == kind
    assert refused_as(IPv6Address(0x2002 << 112 | low << 80 | rest)) == kind
    server, client = 0x2001 << 112 | int(other) << 64, low ^ 0xFFFF_FFFF
    assert refused_as(IPv6Address(server | client)) == (refused_as(other) or kind)
    assert refused_as(IPv6Address(0x2606 << 112 | group << 48 | 0x5EFE << 32 | low)) == kind


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1.", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("0x7f000001", "127.0.0.1"),
        ("0X7F.1", "127.0.0.1"),
        ("0x7f.0x0.0x0.0x1", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("017700000001", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("127.0.1", "127.0.0.1"),
        ("0", "0.0.0.0"),
        ("::1", "::1"),
        ("::ffff:127.0.0.1", "::ffff:7f00:1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("owner.example", None),
        ("127.0.0.1.example", None),
        ("1.2.3.4.5", None),
        ("256.0.0.1", None),
        ("4294967296", None),
        ("08.0.0.1", None),
        ("1::2::3", None),
        ("cafe", None),
        ("", None),
        (".", None),
        ("127.0.0.1\0", None),
        ("１２７.0.0.1", None),
    ],
)
def test_an_address_is_known_in_all_its_spellings(host: str, address: str | None) -> None:
    assert literal(host) == (None if address is None else ip_address(address))


@given(ipv4)
def test_each_spelling_is_the_same_address(address: IPv4Address) -> None:
    number = int(address)
    first, *rest = address.packed
    for host in (str(number), hex(number), f"0{number:o}", str(address), f"{address}."):
        assert literal(host) == address
    assert literal(f"{first:#x}.{int.from_bytes(bytes(rest))}") == address


@given(st.text())
def test_any_text_is_an_address_or_a_name(host: str) -> None:
    assert literal(host) is None or "." in host or ":" in host or host[0].isdigit()
