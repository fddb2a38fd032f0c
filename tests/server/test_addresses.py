"""Addresses: who is on a list, and whom to count as one."""

import pytest

from cloudsignal.server import addresses


@pytest.mark.parametrize(
    ("address", "networks", "within"),
    [
        ("192.0.2.7", ("192.0.2.7/32",), True),
        ("192.0.2.8", ("192.0.2.7/32",), False),
        ("192.0.2.8", ("198.51.100.0/24", "192.0.2.0/24"), True),
        ("192.0.3.0", ("192.0.2.0/24",), False),
        ("192.0.2.7", (), False),
        ("192.0.2.7", ("0.0.0.0/0",), True),
        ("192.0.2.7", ("::/0",), False),
        ("2001:db8::1", ("2001:db8::/32",), True),
        ("2001:DB8:0::1", ("2001:db8::1/128",), True),
        ("2001:db9::1", ("2001:db8::/32",), False),
        ("2001:db8::1", ("0.0.0.0/0",), False),
        ("::ffff:192.0.2.7", ("192.0.2.0/24",), True),
        ("::ffff:192.0.2.7", ("198.51.100.0/24",), False),
        ("fe80::1%eth0", ("fe80::/10",), True),
        ("::1", ("127.0.0.0/8", "::1/128"), True),
        ("", ("0.0.0.0/0", "::/0"), False),
        ("/run/cloudsignal.sock", ("0.0.0.0/0", "::/0"), False),
    ],
)
def test_an_address_is_on_a_list_or_not(
    address: str, networks: tuple[str, ...], within: bool
) -> None:
    assert addresses.is_within(address, networks) is within


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.7", "192.0.2.7", True),
        ("192.0.2.7", "192.0.2.8", False),
        ("192.0.2.7", "::ffff:192.0.2.7", True),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8:0:0:1::", "2001:db8:0:0:ffff:ffff:ffff:ffff", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("fe80::1%eth0", "fe80::1", True),
        ("", "", True),
        ("/run/a.sock", "/run/b.sock", False),
    ],
)
def test_an_ipv6_host_is_its_64_bit_network_all_others_are_themselves(
    one: str, other: str, same: bool
) -> None:
    assert (addresses.neighbourhood(one) == addresses.neighbourhood(other)) is same


@pytest.mark.parametrize(
    ("texts", "normal"),
    [
        ([], ()),
        (["192.0.2.7"], ("192.0.2.7/32",)),
        ([" 192.0.2.7/24 "], ("192.0.2.0/24",)),
        (["2001:DB8::1/32", "::1"], ("2001:db8::/32", "::1/128")),
    ],
)
def test_a_list_is_written_in_normal_form(texts: list[str], normal: tuple[str, ...]) -> None:
    assert addresses.checked(texts) == normal


@pytest.mark.parametrize("text", ["", "192.0.2", "192.0.2.0/33", "press.example", "1", "*"])
def test_what_is_neither_address_nor_network_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="does not appear to be"):
        addresses.checked(["192.0.2.7", text])
