"""What is kept of refused posts: what is wrong, and no key in any spelling."""

import json
from datetime import UTC
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudsignal.protocol import wire
from cloudsignal.protocol.excerpts import CHARACTERS_MAX, LEFT_OUT, excerpt
from cloudsignal.protocol.refusals import Problem, Refusal
from cloudsignal.protocol.signals import ItemPacked, ItemRegistered, example
from tests.strategies import APIKEY, json_values, post_body, report_of

OTHER = "ffeeddccbbaa99887766554433221100"
PACKED = example(ItemPacked)


def escaped(text: str) -> str:
    """Every character as an escape of JSON."""
    return "".join(f"\\u{ord(each):04x}" for each in text)


def refused(body: bytes, **how: Any) -> str:
    """The excerpt of a body that is refused."""
    post = wire.decode(body)
    with pytest.raises(Refusal) as raised:
        wire.validate(post, zone=UTC, **how)
    return excerpt(post.members, raised.value.problems)


# ---- what is shown ----


def test_a_signal_is_shown_as_it_was_sent_less_its_key() -> None:
    body = b'{ "apikey": "%s",\n"type": "ItemPacked", "item": 1.10, "x": [true, "\\u00fc"]}'
    assert (
        refused(body % APIKEY.encode()) == '{"type":"ItemPacked","item":1.10,"x":[true,"\\u00fc"]}'
    )


def test_of_a_bundle_the_signals_are_shown_that_have_a_problem() -> None:
    items = [PACKED, PACKED | {"item": 7, "order": ""}, PACKED, "text", PACKED | {"type": "x"}]
    shown = refused(post_body(items=items)).splitlines()
    assert [each.partition(": ")[0] for each in shown] == ["items[1]", "items[3]", "items[4]"]
    one, other, last = (json.loads(each.partition(": ")[2]) for each in shown)
    assert (one, other, last) == (items[1], "text", items[4])


def test_where_no_signal_is_at_fault_all_of_it_is_shown() -> None:
    assert refused(post_body(type="ItemPacked", items=[])) == '{"type":"ItemPacked","items":[]}'
    assert refused(post_body(items={"a": 1})) == '{"items":{"a":1}}'


def test_what_the_store_refused_is_shown_as_well() -> None:
    reports = [
        report_of(msgspec.convert(example(each), each)) for each in (ItemPacked, ItemRegistered)
    ]
    problem = Problem("items[1]", "not_your_item", "items[1]: …")
    assert json.loads(excerpt(reports, [problem]).removeprefix("items[1]: ")) == (
        example(ItemRegistered)
    )
    alone = Problem("", "not_your_item", "…")
    assert json.loads(excerpt(reports[:1], [alone])) == PACKED


# ---- how much ----


def test_what_is_long_is_left_out_and_the_rest_is_not() -> None:
    body = post_body(message="x" * CHARACTERS_MAX, **PACKED | {"item": 1})
    assert json.loads(refused(body)) == {"message": LEFT_OUT} | PACKED | {"item": 1}
    assert json.loads(refused(post_body(**PACKED | {"item": 1, "x" * 65: 1}))) == (
        PACKED | {"item": 1, LEFT_OUT: 1}
    )


@pytest.mark.parametrize(
    "members",
    [
        {f"member {number}": number for number in range(5_000)},
        {"items": [{"type": "x", "message": "y" * 900}] * 1_000},
        {"items": ["y" * 900] * 1_000},
        {"items": [[{}] * 900] * 1_000},
        {"items": [{}] * 1_000},
        {f"member {number}": {"apikey": APIKEY} for number in range(500)},
    ],
)
def test_an_excerpt_is_short_however_large_the_post(members: dict[str, Any]) -> None:
    shown = refused(post_body(**members))
    assert 0 < len(shown) <= CHARACTERS_MAX + 1
    assert APIKEY not in shown


# ---- keys ----


@pytest.mark.parametrize(
    "members",
    [
        f'"type": "{APIKEY}"',
        f'"{APIKEY}": 1',
        f'"apikey": "{APIKEY}", "apikey": "{OTHER}", "apikey": "{APIKEY}"',
        f'"x": {{"apikey": "{APIKEY}", "apikey": "{OTHER}"}}',
        rf'"\u0061pikey": "{APIKEY}"',
        f'"ApiKey": "{APIKEY}", "api_key": "{OTHER}"',
        f'"Authorization": "Bearer {APIKEY}", "url": "https://x/?apikey={OTHER}&y"',
        f'"item": "{APIKEY}", "item": 1',
        f'"x": {{"a": "{APIKEY}", "a": 1}}',
        f'"item": "{APIKEY.upper()}"',
        f'"item": "{escaped(APIKEY)}"',
        f'"item": "{escaped(APIKEY.upper())}"',
        f'"{escaped(APIKEY)}": [{{"x": "{escaped(OTHER[:9])}{OTHER[9:]}"}}]',
        f'"item": "a{APIKEY}b", "x": "{APIKEY}{OTHER}"',
        f'"item": "\\\\{escaped(APIKEY)}"',
        f'"item": {"1234567890" * 4}',
        f'"message": "{"x" * (CHARACTERS_MAX - 60)}", "item": "{APIKEY}"',
        f'"items": [{{"type": "{APIKEY}"}}, "{APIKEY}", ["{OTHER}"], {{"{OTHER}": {{}}}}]',
        f'"items": {{"x": "{APIKEY}"}}',
    ],
)
def test_no_key_is_kept_wherever_it_stands_and_however_it_is_written(members: str) -> None:
    shown = refused(f'{{"apikey": "{APIKEY}", {members}}}'.encode())
    plain = shown.lower() + _unescaped(shown).lower()
    for key in (APIKEY, OTHER, "1234567890" * 4):
        # Nor a part of it that would help to guess the rest.
        assert not any(key[start : start + 12] in plain for start in range(20)), shown


def _unescaped(text: str) -> str:
    return text.encode().decode("unicode_escape")


def test_a_key_that_is_cut_off_leaves_nothing_behind() -> None:
    for length in range(CHARACTERS_MAX - 80, CHARACTERS_MAX + 80):
        body = post_body(x=["y" * length, APIKEY], type=1)
        assert APIKEY[:4] not in refused(body), length


@given(st.dictionaries(st.text(max_size=8), json_values, max_size=6), json_values, st.booleans())
def test_whatever_is_sent_there_is_an_excerpt(
    members: dict[str, Any], value: Any, in_bundle: bool
) -> None:
    sent = members | {"type": "unknown"}
    body = post_body(items=[sent, value]) if in_bundle else post_body(**sent)
    post = wire.decode(body)
    try:
        wire.validate(post, zone=UTC)
    except Refusal as refusal:
        shown = excerpt(post.members, refusal.problems)
        assert len(shown) <= CHARACTERS_MAX + 1
        assert "\0" not in shown
        assert '"apikey":' not in shown
