import json
from collections.abc import Callable
from datetime import UTC
from itertools import product
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import example as try_example
from hypothesis import given
from hypothesis import strategies as st

from cloudsignal.protocol import wire
from cloudsignal.protocol.refusals import STATUS, Refusal
from cloudsignal.protocol.signals import BY_NAME, SIGNAL_TYPES, Signal, example
from cloudsignal.protocol.wire import Report
from tests.strategies import (
    APIKEY,
    bodies,
    characters,
    histories,
    json_values,
    post_body,
    report_of,
    signals,
)

REGISTERED: dict[str, Any] = example(BY_NAME["ItemRegistered"])
SHIPPED: dict[str, Any] = example(BY_NAME["ItemShipped"])
DELAY: dict[str, Any] = example(BY_NAME["ItemDelay"])
CANCELED: dict[str, Any] = example(BY_NAME["ItemCanceled"])


def take(body: bytes, **settings: Any) -> list[Report]:
    return wire.validate(wire.decode(body), **({"zone": UTC} | settings))


def refusal_of(act: Callable[[], object]) -> Refusal:
    with pytest.raises(Refusal) as caught:
        act()
    return caught.value


def problems_of(body: bytes, **settings: Any) -> list[tuple[str, str]]:
    refusal = refusal_of(lambda: take(body, **settings))
    return [(problem.at, problem.type) for problem in refusal.problems]


def inside(text: str) -> bytes:
    """A valid body that ends in these members, written as they are."""
    return post_body(**REGISTERED)[:-1] + b", " + text.encode() + b"}"


# ---- what is documented is taken -----------------------------------------------------------------


@pytest.mark.parametrize("signal", SIGNAL_TYPES)
def test_every_documented_body_is_taken_and_kept(signal: type[Signal]) -> None:
    [report] = take(post_body(**example(signal)))
    assert report.signal == msgspec.convert(example(signal), signal)
    assert report.datetime == 1453294800_000000
    assert json.loads(report.body) == example(signal)


def test_the_documented_bundle_is_taken_in_its_order() -> None:
    second = SHIPPED | {"item": "123456780002"}
    reports = take(post_body(items=[REGISTERED, SHIPPED, second]))
    assert [json.loads(report.body) for report in reports] == [REGISTERED, SHIPPED, second]


def test_a_bundle_may_hold_several_orders() -> None:
    reports = take(post_body(items=[REGISTERED, SHIPPED | {"order": "other"}]))
    assert [report.signal.order for report in reports] == ["123456780000", "other"]


@given(st.lists(signals(), min_size=1, max_size=5))
def test_what_is_encoded_reads_back(bundle: list[Signal]) -> None:
    post = wire.decode(wire.encode(APIKEY, *bundle))
    assert post.apikey == APIKEY
    reports = wire.validate(post, zone=UTC)
    assert [report.signal for report in reports] == bundle
    for report in reports:
        assert wire.reread(report.body, report.datetime, report.fingerprint) == report


def test_one_signal_is_sent_as_a_single_post_and_several_as_a_bundle() -> None:
    one = msgspec.convert(SHIPPED, BY_NAME["ItemShipped"])
    assert json.loads(wire.encode(APIKEY, one)) == {"apikey": APIKEY, **SHIPPED}
    assert json.loads(wire.encode(APIKEY, one, one)) == {
        "apikey": APIKEY,
        "items": [SHIPPED, SHIPPED],
    }


def test_a_datetime_without_a_zone_is_read_in_the_interfaces() -> None:
    body = post_body(**REGISTERED | {"datetime": "2016-01-20 14:00:00"})
    [report] = take(body, zone=ZoneInfo("Europe/Berlin"))
    assert report.datetime == 1453294800_000000


@pytest.mark.parametrize("name", ["cause", "message", "delay", "items", "anything"])
def test_null_counts_as_missing(name: str) -> None:
    [report] = take(post_body(**REGISTERED | {"type": "ItemCanceled", name: None}))
    assert getattr(report.signal, name, None) is None
    assert json.loads(report.body)[name] is None


@pytest.mark.parametrize(
    "body",
    [
        post_body(**REGISTERED) + b"\n",
        b" \r\n\t" + post_body(**REGISTERED),
        b"\xef\xbb\xbf" + post_body(**REGISTERED),
        inside('"order": "twice", "order": "123456780000"'),
        inside(r'"\u006frder": "123456780000"'),
        inside(r'"type": "Item\u0052egistered"'),
        inside('"note": "[[[[{{{{" ' + "," + '"more": "' + "[" * 99 + '"'),
        inside(r'"note": "\"[\\\"[\\", "more": "' + "[" * 99 + '"'),
    ],
)
def test_unusual_but_valid_json_is_read(body: bytes) -> None:
    [report] = take(body)
    assert report.signal == msgspec.convert(REGISTERED, BY_NAME["ItemRegistered"])


# ---- the envelope --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" \n",
        b"\xef\xbb\xbf",
        b"{",
        b"[1,",
        b"[NaN]",
        b"nul",
        b"'",
        b"apikey=1&type=ItemProduce",
        b"<xml/>",
        b'{"apikey": "a",}',
        b"{'apikey': 'a'}",
        b'{"apikey": "a"} x',
        b'{"apikey": "a"}{}',
        b'{"apikey": "a"}\x00',
        b'\xef\xbb\xbf\xef\xbb\xbf{"apikey": "a"}',
        '{"apikey": "a"}'.encode("utf-16"),
        b'// {}\n{"apikey": "a"}',
        inside('"x": NaN'),
        inside('"x": Infinity'),
        inside('"x": -Infinity'),
        inside('"x": 01'),
        inside('"x": 1.'),
        inside('"x": .5'),
        inside('"x": +1'),
        inside('"x": True'),
        inside('"x": undefined'),
        inside('"x": "tab\there"'),
        inside('"x": "line\nhere"'),
        inside(r'"x": "\x41"'),
        inside(r'"x": "\u12"'),
        inside(r"x: 1"),
    ],
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    refusal = refusal_of(lambda: wire.decode(body))
    assert (refusal.type, refusal.problems[0].at) == ("invalid_json", "")


@pytest.mark.parametrize(
    "place",
    [
        '"apikey": "%s"',
        '"%s": 1',
        '"message": "%s"',
        '"x": [{"y": "%s"}]',
        '"x": {"%s": 1}',
        '"items": [{"type": "%s"}]',
    ],
)
@pytest.mark.parametrize(
    "half",
    [r"\ud800", r"\udfff", r"\uD83D\uD83D", r"\ud83d\u0041", r"\udc00\ud800", r"a\ud800 b c d"],
)
def test_half_a_surrogate_pair_is_refused_wherever_it_stands(place: str, half: str) -> None:
    assert refusal_of(lambda: wire.decode(inside(place % half))).type == "invalid_json"


@given(st.data())
def test_bytes_that_are_not_utf_8_are_refused_wherever_they_stand(data: st.DataObject) -> None:
    body = inside('"note": "naïve 📦"')
    at = data.draw(st.integers(0, len(body)))
    junk = data.draw(
        st.sampled_from(
            [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xe4", b"\x80"]
        )
    )
    refusal = refusal_of(lambda: wire.decode(body[:at] + junk + body[at:]))
    assert refusal.type == "invalid_json"
    assert "UTF-8" in refusal.info


@pytest.mark.parametrize(
    "body", [b"[]", b"[{}]", b'"text"', b"1", b"1e999", b"true", b"null", b" [] "]
)
def test_json_that_is_no_object_is_refused(body: bytes) -> None:
    assert refusal_of(lambda: wire.decode(body)).type == "not_an_object"


def nested(depth: int, opening: str) -> str:
    """A value of so many levels, that repeats the openings of ``opening``."""
    opened = "".join(opening[level % len(opening)] for level in range(depth))
    members = "".join(level if level == "[" else '{"a":' for level in opened)
    return members + "1" + "".join("]" if level == "[" else "}" for level in reversed(opened))


@pytest.mark.parametrize("opening", ["[", "{", "[{", "{[["])
@pytest.mark.parametrize("around", ["{}", '"]}}", {}', '{}, "\\"]]["', "[[], {{}}, [[{{}}]]], {}"])
def test_nesting_is_limited_to_32_levels(opening: str, around: str) -> None:
    def body(depth: int) -> bytes:
        # The body is one level and the array around the value another.
        return inside('"x": [' + around.format(nested(depth - 2, opening)) + "]")

    take(body(32))
    refusal = refusal_of(lambda: wire.decode(body(33)))
    assert refusal.type == "invalid_json"
    assert "32 levels" in refusal.info


@pytest.mark.parametrize("opening", ["[", '{"a":'])
@pytest.mark.parametrize("depth", [33, 1_000, 200_000])
@pytest.mark.parametrize("is_closed", [True, False])
@pytest.mark.parametrize("start", ["", '{"apikey": "a", "x": '])
def test_any_deeper_nesting_is_no_more_than_refused(
    opening: str, depth: int, is_closed: bool, start: str
) -> None:
    ending = ("]" if opening == "[" else "}") * depth if is_closed else ""
    body = (start + opening * depth + "1" + ending + ("}" if start else "")).encode()
    assert refusal_of(lambda: wire.decode(body)).type == "invalid_json"


def test_wide_is_not_deep() -> None:
    take(inside('"x": [' + "[],{}," * 1000 + "[]]"))


@pytest.mark.parametrize("apikey", ["", ', "apikey": null', ', "apikey": 1', ', "apikey": ["a"]'])
def test_a_post_without_a_key_is_refused(apikey: str) -> None:
    refusal = refusal_of(lambda: wire.decode(b'{"type": "ItemProduce"' + apikey.encode() + b"}"))
    assert [(p.at, p.type) for p in refusal.problems] == [("apikey", "missing_parameter")]


@pytest.mark.parametrize("apikey", ["", " ", APIKEY, "ü", 'quo"ted'])
def test_any_string_is_a_key_to_be_looked_up(apikey: str) -> None:
    assert wire.decode(post_body(apikey=apikey)).apikey == apikey


@pytest.mark.parametrize(
    "members",
    [{}, {"type": "Nothing"}, {"items": 7}, {"items": []}, {"type": "ItemProduce", "items": [{}]}],
)
def test_who_asks_is_known_before_the_signals_are_looked_at(members: dict[str, Any]) -> None:
    post = wire.decode(post_body(**members))
    assert post.apikey == APIKEY
    refusal_of(lambda: wire.validate(post, zone=UTC))


# ---- what is kept --------------------------------------------------------------------------------


def written(text: str) -> Any:
    """JSON with its numbers as they are spelt."""
    return json.loads(text, parse_int=lambda n: ("number", n), parse_float=lambda n: ("number", n))


@pytest.mark.parametrize(
    "value",
    [
        "1.10",
        "1e5",
        "1E+5",
        "-0",
        "9" * 400,
        "1" + "0" * 5000,
        "1e999",
        "0.1000000000000000055",
        "null",
        "true",
        '"\\u00fc\\/"',
        '"ü📦"',
        "[]",
        "{}",
        '[1.10, {"a": [1e5, null]}]',
    ],
)
@pytest.mark.parametrize("name", ["x", "Order", "", "ü", "items_", "position"])
def test_unlisted_fields_are_kept_as_they_are_written(name: str, value: str) -> None:
    sent = inside(f'"{name}": {value}')
    [report] = take(sent)
    assert written(report.body.decode()) == {**REGISTERED, name: written(value)}
    assert value in report.body.decode()


def test_the_last_of_repeated_members_counts() -> None:
    body = inside('"item": "a", "x": 1, "item": "b", "x": 2, "datetime": "2016-01-20 13:00:01 GMT"')
    [report] = take(body)
    assert report.signal.item == "b"
    assert report.datetime == 1453294801_000000
    assert json.loads(report.body)["x"] == 2
    assert report.body.count(b'"item"') == 1


@pytest.mark.parametrize(
    "members",
    [
        f'"apikey": "{APIKEY}", "apikey": "{APIKEY}"',
        rf'"\u0061pikey": "{APIKEY}"',
        rf'"apike\u0079": "{APIKEY}", "apikey": "{APIKEY}"',
        f'"x": {{"apikey": "{APIKEY}", "y": 1.10}}',
        rf'"x": [1, {{"\u0061\u0070ikey": "{APIKEY}"}}]',
        f'"x": {{"apikey": {{"apikey": "{APIKEY}"}}, "apikey": ["{APIKEY}"]}}',
    ],
)
@pytest.mark.parametrize("in_bundle", [False, True])
def test_no_key_is_kept(members: str, in_bundle: bool) -> None:
    body = inside(members)
    if in_bundle:
        body = b'{"apikey": "%s", "items": [%s]}' % (APIKEY.encode(), body)
    post = wire.decode(body)
    assert post.apikey == APIKEY
    [report] = wire.validate(post, zone=UTC)
    assert APIKEY.encode() not in report.body
    assert "apikey" not in str(json.loads(report.body))


def test_dropping_a_nested_key_keeps_the_rest_as_written() -> None:
    [report] = take(inside('"x": {"a": 1.10, "apikey": 1, "b": [1e5, {"apikey": 2}, "\\u00fc"]}'))
    assert written(report.body.decode())["x"] == written('{"a": 1.10, "b": [1e5, {}, "ü"]}')


def less_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: less_keys(inner) for name, inner in value.items() if name != "apikey"}
    return [less_keys(inner) for inner in value] if isinstance(value, list) else value


@given(signals(), st.dictionaries(st.text(characters).map("x".__add__), json_values), st.booleans())
def test_a_body_is_kept_as_sent_less_its_keys(
    signal: Signal, unlisted: dict[str, Any], is_ascii: bool
) -> None:
    sent = {"apikey": APIKEY, **msgspec.to_builtins(signal), **unlisted}
    [report] = take(json.dumps(sent, ensure_ascii=is_ascii).encode())
    assert written(report.body.decode()) == written(json.dumps(less_keys(sent)))


def test_a_key_is_not_shown_where_variables_are() -> None:
    assert APIKEY not in repr(wire.decode(post_body(**REGISTERED)))


def test_a_key_put_in_the_wrong_place_is_not_repeated_in_an_error() -> None:
    wrong = CANCELED | {"datetime": APIKEY, "delay": f"is {APIKEY}", "cause": APIKEY}
    refusal = refusal_of(lambda: take(post_body(**wrong), strict_causes=True))
    assert len(refusal.problems) == 3
    assert APIKEY.encode() not in refusal.body()
    refusal = refusal_of(lambda: take(post_body(**wrong | {"type": APIKEY})))
    assert APIKEY.encode() not in refusal.body()


# ---- repeats -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (SHIPPED, SHIPPED),
        (SHIPPED, dict(reversed(SHIPPED.items()))),
        (SHIPPED, SHIPPED | {"datetime": "2016-01-20T14:00:00+01:00"}),
        (SHIPPED, SHIPPED | {"unlisted": 1}),
        (DELAY, DELAY | {"message": "unlisted for ItemDelay"}),
        (REGISTERED | {"type": "ItemDelay"}, REGISTERED | {"type": "ItemDelay", "cause": None}),
        (REGISTERED | {"type": "ItemDelay"}, REGISTERED | {"type": "ItemDelay", "cause": ""}),
        (CANCELED | {"cause": None}, CANCELED | {"cause": ""}),
    ],
)
def test_the_same_signal_has_the_same_identity(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert identity(one) == identity(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (SHIPPED, SHIPPED | {"tracking": "other"}),
        (SHIPPED, SHIPPED | {"shipping_option": "DHL"}),
        (SHIPPED, SHIPPED | {"tracking": "GLS", "shipping_option": "1A2B3C4D5E6F"}),
        (SHIPPED, SHIPPED | {"order": "1"}),
        (SHIPPED, SHIPPED | {"item": "1"}),
        (SHIPPED, SHIPPED | {"datetime": "2016-01-20 13:00:00.000001 GMT"}),
        (DELAY, DELAY | {"type": "ItemError"}),
        (DELAY, DELAY | {"delay": "48"}),
        (DELAY, DELAY | {"delay": None}),
        (CANCELED, CANCELED | {"message": "other"}),
        (CANCELED | {"cause": "a", "message": None}, CANCELED | {"cause": None, "message": "a"}),
    ],
)
def test_another_signal_has_another(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert identity(one) != identity(other)


def identity(members: dict[str, Any]) -> tuple[str, str, str, int, str]:
    [report] = take(post_body(**members))
    signal = report.signal
    return (
        type(signal).__name__,
        signal.order,
        signal.item,
        report.datetime,
        report.fingerprint,
    )


def own(signal: Signal) -> list[Any]:
    return [getattr(signal, name) or None for name in signal.__struct_fields__[3:]]


@given(histories(max_size=5))
def test_fingerprints_differ_exactly_when_the_types_own_fields_do(history: list[Signal]) -> None:
    for one, other in product(history, history):
        if type(one) is type(other):
            same = report_of(one).fingerprint == report_of(other).fingerprint
            assert same is (own(one) == own(other))
        assert (report_of(one).fingerprint == "") is not any(own(one))


# ---- what is wrong -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "at", "type", "info"),
    [
        (
            {"type": None},
            "type",
            "missing_parameter",
            "type is missing: say which signal it is, one",
        ),
        ({"type": 5}, "type", "invalid_parameter", "type must be a string, not a number"),
        ({"type": "OrderRegistered"}, "type", "type_removed", "send ItemRegistered for each item"),
        ({"type": "itemshipped"}, "type", "unknown_type", "did you mean ItemShipped?"),
        ({"type": "ItemCancelled"}, "type", "unknown_type", "did you mean ItemCanceled?"),
        ({"type": "Zzz"}, "type", "unknown_type", "the types are ItemRegistered, ItemProduce,"),
        ({"type": ""}, "type", "unknown_type", 'there is no type "": the types are'),
        ({"order": None}, "order", "missing_parameter", "ItemCanceled needs order: the order id"),
        (
            {"item": 12},
            "item",
            "invalid_parameter",
            "must be a string, not a number: put it in quotes",
        ),
        ({"item": 1e999}, "item", "invalid_parameter", "item must be a string, not a number"),
        (
            {"order": True},
            "order",
            "invalid_parameter",
            "order must be a string, not true or false",
        ),
        ({"order": ["1"]}, "order", "invalid_parameter", "order must be a string, not an array"),
        ({"order": {}}, "order", "invalid_parameter", "order must be a string, not an object"),
        ({"order": ""}, "order", "invalid_parameter", 'not only white space, not ""'),
        ({"order": "1\n"}, "order", "invalid_parameter", r'not "1\n"'),
        ({"order": "ü" * 129}, "order", "invalid_parameter", '…" (129 characters)'),
        ({"datetime": None}, "datetime", "missing_parameter", "needs datetime: when it happened"),
        ({"datetime": 1453294800}, "datetime", "invalid_datetime", "put it in quotes"),
        ({"datetime": {}}, "datetime", "invalid_datetime", "must be a string, not an object"),
        ({"datetime": ""}, "datetime", "invalid_datetime", "2016-01-20 13:00:00 GMT"),
        ({"datetime": "1453294800"}, "datetime", "invalid_datetime", "2016-01-20 13:00:00 GMT"),
        ({"datetime": "2016-02-30 13:00:00"}, "datetime", "invalid_datetime", "day"),
        ({"datetime": "1999-12-31 13:00:00"}, "datetime", "invalid_datetime", "2000 and 2100"),
        ({"datetime": "x" * 65}, "datetime", "invalid_datetime", "(65 characters)"),
        (
            {"delay": 24},
            "delay",
            "invalid_delay",
            "delay must be a string, not a number: put it in",
        ),
        ({"delay": []}, "delay", "invalid_delay", "delay must be a string, not an array"),
        ({"delay": ""}, "delay", "invalid_delay", 'such as "24" or "1.5", not ""'),
        ({"delay": "8760.1"}, "delay", "invalid_delay", 'from "0" to "8760"'),
        ({"delay": "1,5"}, "delay", "invalid_delay", 'not "1,5"'),
        ({"cause": 190}, "cause", "invalid_parameter", "put it in quotes"),
        ({"cause": "x" * 256}, "cause", "invalid_parameter", "at most 255 characters"),
        ({"message": "x" * 2001}, "message", "invalid_parameter", "at most 2000 characters"),
    ],
)
def test_an_error_says_where_what_and_what_to_do(
    members: dict[str, Any], at: str, type: str, info: str
) -> None:
    body = (
        json.dumps({"apikey": APIKEY, **CANCELED, **members}).replace("Infinity", "1e999").encode()
    )
    refusal = refusal_of(lambda: take(body))
    assert [(p.at, p.type) for p in refusal.problems] == [(at, type)]
    assert info in refusal.info
    bundle = refusal_of(lambda: take(b'{"apikey": "a", "items": [%s]}' % body))
    assert [(p.at, p.type) for p in bundle.problems] == [(f"items[0].{at}", type)]
    assert bundle.info == f"items[0]: {refusal.info}"


@pytest.mark.parametrize("name", ["tracking", "shipping_option"])
@pytest.mark.parametrize("value", [None, ""])
def test_shipping_needs_its_parcel(name: str, value: str | None) -> None:
    refusal = refusal_of(lambda: take(post_body(**SHIPPED | {name: value})))
    assert (refusal.type, refusal.problems[0].at) == ("missing_parameter", name)
    assert refusal.info.startswith(f"ItemShipped needs {name}: the ")


@pytest.mark.parametrize(
    ("body", "info"),
    [
        (b"", "the body is empty: send one JSON object"),
        (b'{"apikey": "a', "the body is not JSON: it ends in the middle of a value"),
        (b"{'apikey': 'a'}", "the body is not JSON: expected"),
        (b"\x1f\x8b\x08\x00\x00\x00\x00\x00", "compressed with gzip: send it uncompressed"),
        (b'{"apikey": "\xe4"}', "byte 12 (0xe4) does not belong there; encode the text as UTF-8"),
        (b"[]", "one JSON object, not an array; send several signals as a bundle"),
        (b"{}", "apikey is missing: put the key of your CloudSignal API interface there"),
    ],
)
def test_an_error_about_the_body_says_what_to_do(body: bytes, info: str) -> None:
    assert info in refusal_of(lambda: wire.decode(body)).info.replace(
        "object keys must be strings", "expected"
    )


@pytest.mark.parametrize(
    ("members", "at", "type"),
    [
        ({**REGISTERED, "items": [REGISTERED]}, "items", "ambiguous_post"),
        ({"type": 7, "items": 7}, "items", "ambiguous_post"),
        ({"items": []}, "items", "empty_bundle"),
        ({"items": [REGISTERED] * 4}, "items", "bundle_too_large"),
        ({"items": [1, 2, 3, 4]}, "items", "bundle_too_large"),
        ({"items": {}}, "items", "invalid_parameter"),
        ({"items": "[]"}, "items", "invalid_parameter"),
        ({"items": 0}, "items", "invalid_parameter"),
        ({"items": False}, "items", "invalid_parameter"),
    ],
)
def test_a_bundle_is_one_list_of_so_many_signals(
    members: dict[str, Any], at: str, type: str
) -> None:
    assert problems_of(post_body(**members), bundle_max=3) == [(at, type)]


def test_a_bundle_holds_up_to_its_limit() -> None:
    assert len(take(post_body(items=[REGISTERED] * 1000))) == 1000
    assert problems_of(post_body(items=[REGISTERED] * 1001)) == [("items", "bundle_too_large")]


def test_type_null_beside_items_is_a_bundle() -> None:
    assert len(take(post_body(type=None, items=[REGISTERED]))) == 1


def test_every_problem_of_a_post_is_listed_at_its_place() -> None:
    bundle = [
        REGISTERED,
        {"type": "ItemShipped", "order": 1, "datetime": "now", "tracking": ""},
        "text",
        {**CANCELED, "delay": "soon", "cause": "x" * 256},
        {"type": "ItemSent", "order": "1"},
        None,
        {},
    ]
    assert problems_of(post_body(items=bundle)) == [
        ("items[1].order", "invalid_parameter"),
        ("items[1].item", "missing_parameter"),
        ("items[1].datetime", "invalid_datetime"),
        ("items[1].tracking", "missing_parameter"),
        ("items[1].shipping_option", "missing_parameter"),
        ("items[2]", "not_an_object"),
        ("items[3].cause", "invalid_parameter"),
        ("items[3].delay", "invalid_delay"),
        ("items[4].type", "unknown_type"),
        ("items[4].item", "missing_parameter"),
        ("items[4].datetime", "missing_parameter"),
        ("items[5]", "not_an_object"),
        ("items[6].type", "missing_parameter"),
        ("items[6].order", "missing_parameter"),
        ("items[6].item", "missing_parameter"),
        ("items[6].datetime", "missing_parameter"),
    ]


@pytest.mark.parametrize("member", [7, {}, {**REGISTERED, "item": 7}])
def test_no_more_than_100_problems_are_listed(member: Any) -> None:
    problems = problems_of(post_body(items=[REGISTERED, *[member] * 500]))
    assert len(problems) == 100
    assert problems[0][0].startswith("items[1]")


@pytest.mark.parametrize(
    ("cause", "info"),
    [
        ("cancelbooksize", "did you mean CancelBookSize?"),
        ("CancelBookSise", "did you mean CancelBookSize?"),
        ("190", "CancelMiscError is for everything else"),
        ("x" * 255, "CancelMiscError is for everything else"),
    ],
)
def test_strict_causes_refuse_an_unlisted_cause(cause: str, info: str) -> None:
    body = post_body(**CANCELED | {"cause": cause})
    assert len(take(body)) == 1
    refusal = refusal_of(lambda: take(body, strict_causes=True))
    assert [(p.at, p.type) for p in refusal.problems] == [("cause", "unlisted_cause")]
    assert info in refusal.info


@pytest.mark.parametrize("cause", ["CancelBookSize", "", None])
def test_strict_causes_take_a_listed_or_no_cause(cause: str | None) -> None:
    assert len(take(post_body(**CANCELED | {"cause": cause}), strict_causes=True)) == 1


def test_strict_causes_say_one_thing_about_a_cause() -> None:
    body = post_body(**CANCELED | {"cause": "x" * 256})
    assert problems_of(body, strict_causes=True) == [("cause", "invalid_parameter")]


def test_strict_causes_are_about_cancellations() -> None:
    assert len(take(post_body(**DELAY), strict_causes=True)) == 1


# ---- whatever comes ------------------------------------------------------------------------------


def outcome(body: bytes) -> list[Report] | Refusal:
    try:
        return take(body, strict_causes=bool(len(body) % 2))
    except Refusal as refusal:
        return refusal


def assert_taken_or_refused(body: bytes) -> None:
    came_of_it = outcome(body)
    if isinstance(came_of_it, Refusal):
        assert_is_an_answer(came_of_it)
    else:
        assert came_of_it
        for report in came_of_it:
            assert_can_be_stored(report)


def assert_is_an_answer(refusal: Refusal) -> None:
    assert refusal.status == 400
    assert 1 <= len(refusal.problems) <= 100
    answer = json.loads(refusal.body())["error"]
    assert answer["type"] in STATUS
    assert answer["details"][0]["info"] == answer["info"]


def assert_can_be_stored(report: Report) -> None:
    kept = json.loads(report.body)
    json.dumps(kept, ensure_ascii=False).encode()
    assert kept == less_keys(kept)
    assert msgspec.to_builtins(report.signal).items() <= kept.items()


@given(st.binary())
def test_random_bytes_are_refused(body: bytes) -> None:
    assert_taken_or_refused(body)


@given(json_values)
def test_random_json_is_taken_or_refused(value: Any) -> None:
    assert_taken_or_refused(json.dumps(value).encode())


NAMES = ["type", "order", "item", "datetime", "cause", "delay", "items", "x"]
TYPES = [*BY_NAME, "OrderRegistered", "Item"]


@given(
    signals(),
    st.dictionaries(st.sampled_from(NAMES), json_values | st.sampled_from(TYPES), max_size=3),
    json_values,
)
def test_valid_bodies_with_random_members_are_taken_or_refused(
    signal: Signal, changed: dict[str, Any], other: Any
) -> None:
    members = msgspec.to_builtins(signal) | changed
    assert_taken_or_refused(post_body(**members))
    assert_taken_or_refused(post_body(items=[REGISTERED, members]))
    assert_taken_or_refused(post_body(items=[members, other]))


PIECES = [
    b"{",
    b"}",
    b"[",
    b"]",
    b'"',
    b"\\",
    b"\\ud800",
    b"\\u0000",
    b":",
    b",",
    b"null",
    b"1e999",
]
PIECES += [b'"apikey":', b'"items":[', b"NaN", b"-", b"\x00", b"\xff", b"[" * 40, b" "]


@given(bodies(), st.data())
@try_example(post_body(**REGISTERED), None)
def test_mutated_bodies_are_taken_or_refused(body: bytes, data: st.DataObject | None) -> None:
    for _ in range(data.draw(st.integers(1, 3)) if data else 0):
        assert data is not None
        start = data.draw(st.integers(0, len(body)))
        cut = data.draw(st.integers(0, 5))
        body = (
            body[:start]
            + data.draw(st.sampled_from(PIECES) | st.binary(max_size=3))
            + body[start + cut :]
        )
    assert_taken_or_refused(body)
