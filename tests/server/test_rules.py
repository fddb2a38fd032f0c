"""What people may choose."""

import pytest

from cloudsignal.server import rules
from cloudsignal.server.rules import Unfit

GOOD = "four words nobody says"


@pytest.mark.parametrize(
    ("chosen", "name", "why"),
    [
        ("short", "Ada", "12 to 256 characters"),
        ("x" * 257, "Ada", "12 to 256 characters"),
        ("abababababab", "Ada", "too few different"),
        ("hello Ada.Lovelace!", "ada.lovelace", "must not contain the name"),
    ],
)
def test_passwords_that_are_easily_guessed_are_refused(chosen: str, name: str, why: str) -> None:
    with pytest.raises(Unfit, match=why):
        rules.password(chosen, chosen, name=name)


def test_a_password_is_typed_twice() -> None:
    with pytest.raises(Unfit, match="differ"):
        rules.password(GOOD, GOOD + "!", name="Ada")


@pytest.mark.parametrize("chosen", [GOOD, "ünïcode ✓ wörds", "my ada has 12 letters"])
def test_any_other_password_is_good(chosen: str) -> None:
    assert rules.password(chosen, chosen, name="ada") == chosen


@pytest.mark.parametrize("chosen", ["", "  ", "x" * 256, "two\nlines", "\0"])
def test_a_name_is_something_to_read(chosen: str) -> None:
    with pytest.raises(Unfit, match="1 to 255 printable characters"):
        rules.name(chosen)


def test_a_name_has_no_space_around_it() -> None:
    assert rules.name("  Ada Lovelace ") == "Ada Lovelace"


@pytest.mark.parametrize("chosen", ["short", "0" * 31, "0" * 33, "A" * 32, "0" * 31 + "\n", ""])
def test_a_key_is_32_lower_case_hex_characters(chosen: str) -> None:
    with pytest.raises(Unfit, match="a key is 32 lower-case hex characters") as caught:
        rules.apikey(chosen)
    assert not chosen or chosen not in str(caught.value)
    assert rules.apikey("0123456789abcdef" * 2) == "0123456789abcdef" * 2


@pytest.mark.parametrize("chosen", ["Berlin", "", "Europe", "../../etc/passwd", "/etc/passwd"])
def test_a_time_zone_is_one_that_is_known(chosen: str) -> None:
    with pytest.raises(Unfit, match="is no time zone: write UTC or one like Europe/Berlin"):
        rules.zone(chosen)
    assert rules.zone("America/New_York") == "America/New_York"


def test_an_interface_is_tied_to_a_limited_number_of_addresses() -> None:
    assert rules.networks(["192.0.2.7", "2001:db8::1/32"]) == ("192.0.2.7/32", "2001:db8::/32")
    with pytest.raises(Unfit, match=r"'x' does not appear to be .*: write 192\.0\.2\.7 or"):
        rules.networks(["192.0.2.7", "x"])
    assert len(rules.networks(["192.0.2.7"] * rules.ADDRESSES_MAX)) == rules.ADDRESSES_MAX
    with pytest.raises(Unfit, match="there are 257 addresses, 256 at most"):
        rules.networks(["192.0.2.7"] * (rules.ADDRESSES_MAX + 1))


@pytest.mark.parametrize("chosen", ["", "x", "1,5", "-1", "8761", "nan", "inf", "1e300"])
def test_an_overlap_is_a_year_at_most(chosen: str) -> None:
    with pytest.raises(Unfit, match="for 0 to 8760 hours"):
        rules.overlap_hours(chosen)
    assert [rules.overlap_hours(each) for each in ("0", "1.5", 8760.0)] == [0.0, 1.5, 8760.0]
