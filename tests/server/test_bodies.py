"""What is told in bodies, and that everything that is wrong with it is said."""

from typing import Annotated, Any

import pytest
from msgspec import Meta, Struct

from cloudsignal.server.bodies import LIST_MAX, Unfit, converted

Word = Annotated[str, Meta(min_length=1, extra={"rule": "a word"})]
Few = Annotated[list[Word], Meta(max_length=2, extra={"rule": "an array of at most 2 words"})]


class Part(Struct):
    name: Word


class Whole(Struct, forbid_unknown_fields=True):
    words: Few = []
    parts: list[Part] = []


def wrong(value: Any) -> list[str]:
    with pytest.raises(Unfit) as raised:
        converted(value, Whole)
    return [str(each) for each in raised.value.wrong]


def test_what_is_wrong_with_a_member_of_a_list_is_told_with_its_place() -> None:
    told = wrong({"words": ["good", "", 7], "parts": [{"name": "good"}, {}, "part"]})
    assert told == [
        "words[1]: must be a word",
        "words[2]: must be a word",
        "parts[1].name: is missing: it must be a word",
        "parts[2]: must be an object",
    ]


def test_a_list_of_good_things_can_be_too_long() -> None:
    assert wrong({"words": ["a", "b", "c"]}) == ["words: must be an array of at most 2 words"]


def test_what_is_no_list_is_told_what_it_must_be() -> None:
    assert wrong({"words": "good", "parts": {}}) == [
        "words: must be an array of at most 2 words",
        f"parts: must be an array of at most {LIST_MAX} items",
    ]


def test_a_field_without_a_name_is_none_that_there_is() -> None:
    assert wrong({"": None}) == ["there is no such field, there are words, parts"]
