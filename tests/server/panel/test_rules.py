"""What people may choose."""

import pytest

from cloudsignal.server.panel import rules
from cloudsignal.server.panel.rules import Unfit

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
    with pytest.raises(Unfit, match="1 to 255 characters"):
        rules.name(chosen)


def test_a_name_has_no_space_around_it() -> None:
    assert rules.name("  Ada Lovelace ") == "Ada Lovelace"
