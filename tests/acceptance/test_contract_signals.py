"""Signals, bundles and what they do, row by row of the wire contract (sections 3, 4 and 5)."""

import itertools
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cloudsignal.protocol.refusals import STATUS
from cloudsignal.protocol.signals import CANCELLATION_CAUSES
from tests.acceptance.conftest import Answer, MakeServer, Server, fresh, signal

FLAGS = ("--refused-lines-per-minute", "100000")
BUNDLE_MAX = 1000


def ids(told: dict[str, Any]) -> tuple[str, str]:
    return told["order"], told["item"]


def accepted(server: Server, key: str, told: dict[str, Any]) -> Any:
    """The item, after this signal was accepted."""
    answer = server.post({"apikey": key} | told)
    assert answer.status == 200, answer
    assert answer.json["accepted"] == 1
    return server.item(*ids(told))


def refused(answer: Answer, type: str, at: str | None = None) -> dict[str, Any]:
    """The error of an answer, which must be this one, in this place."""
    assert (answer.status, answer.error["type"]) == (400, type), answer
    if at is not None:
        assert answer.error["details"][0]["at"] == at
    return answer.error


# ---- 3. the types --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("type", "state", "delayed"),
    [
        ("ItemRegistered", "registered", False),
        ("ItemProduce", "producing", False),
        ("ItemProduced", "produced", False),
        ("ItemPacked", "packed", False),
        ("ItemShipped", "shipped", False),
        ("ItemDelay", "unknown", True),
        ("ItemError", "unknown", True),
        ("ItemCanceled", "canceled", False),
    ],
)
def test_each_type_sets_its_state(
    server: Server, key: str, type: str, state: str, delayed: bool
) -> None:
    told = signal(type)
    item = accepted(server, key, told)
    assert (item["state"], item["delayed"]) == (state, delayed)
    assert item["signals"][0]["type"] == type, "stored as sent"
    assert item["signals"][0]["body"] == told


def test_a_removed_type_says_what_to_send_instead(server: Server, key: str) -> None:
    error = refused(
        server.post({"apikey": key} | signal("OrderRegistered")), "type_removed", "type"
    )
    assert "send ItemRegistered for each item" in error["info"]


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ("ItemPakced", "ItemPacked"),
        ("itemshipped", "ItemShipped"),
        ("ItemCancelled", "ItemCanceled"),
        ("Item Registered", "ItemRegistered"),
        ("ItemDelayed", "ItemDelay"),
        ("Shipped!!", ""),
    ],
)
def test_of_an_unknown_type_the_closest_is_suggested(
    server: Server, key: str, sent: str, meant: str
) -> None:
    error = refused(server.post({"apikey": key} | signal(sent)), "unknown_type", "type")
    assert meant in error["info"]


REQUIRED = {
    "ItemRegistered": ("type", "order", "item", "datetime"),
    "ItemShipped": ("type", "order", "item", "datetime", "tracking", "shipping_option"),
    "ItemDelay": ("type", "order", "item", "datetime"),
    "ItemError": ("type", "order", "item", "datetime"),
    "ItemCanceled": ("type", "order", "item", "datetime"),
}
OPTIONAL = {
    "ItemDelay": ("cause", "delay"),
    "ItemError": ("cause", "delay"),
    "ItemCanceled": ("cause", "message", "delay"),
}


@pytest.mark.parametrize("value", [..., None])
@pytest.mark.parametrize(
    ("type", "field"), [(type, field) for type, fields in REQUIRED.items() for field in fields]
)
def test_a_required_field_that_is_missing_or_null_is_refused(
    server: Server, key: str, type: str, field: str, value: Any
) -> None:
    body = {"apikey": key} | signal(type, **({} if field == "type" else {field: value}))
    if field == "type":
        body = {name: kept for name, kept in body.items() if name != "type"}
        body |= {} if value is ... else {"type": None}
    refused(server.post(body), "missing_parameter", field)


@pytest.mark.parametrize("value", [..., None, ""])
@pytest.mark.parametrize(
    ("type", "field"),
    [(type, field) for type, fields in OPTIONAL.items() for field in fields if field != "delay"],
)
def test_an_optional_field_may_be_missing_null_or_empty(
    server: Server, key: str, type: str, field: str, value: Any
) -> None:
    assert server.post({"apikey": key} | signal(type, **{field: value})).status == 200


ERRORS = {"datetime": "invalid_datetime", "delay": "invalid_delay"}


@pytest.mark.parametrize("value", [5, 1.5, True, [], {}, ["x"], {"x": "y"}])
@pytest.mark.parametrize(
    ("type", "field"),
    [
        ("ItemRegistered", "type"),
        ("ItemRegistered", "order"),
        ("ItemRegistered", "item"),
        ("ItemRegistered", "datetime"),
        ("ItemShipped", "tracking"),
        ("ItemShipped", "shipping_option"),
        ("ItemDelay", "cause"),
        ("ItemDelay", "delay"),
        ("ItemCanceled", "message"),
    ],
)
def test_every_documented_value_is_a_string(
    server: Server, key: str, type: str, field: str, value: Any
) -> None:
    answer = server.post({"apikey": key} | signal(type) | {field: value})
    refused(answer, ERRORS.get(field, "invalid_parameter"), field)


def test_fields_that_are_not_listed_are_kept_and_otherwise_ignored(
    server: Server, key: str
) -> None:
    told = signal(reference="MIS-7", tracking="of no use here", nested={"a": [1, None, "ü"]})
    item = accepted(server, key, told)
    assert item["signals"][0]["body"] == told
    assert item["parcels"] == []


# ---- 3. the fields -------------------------------------------------------------------------------

TEXTS = {
    "order": ("ItemRegistered", 128),
    "item": ("ItemRegistered", 128),
    "tracking": ("ItemShipped", 255),
    "shipping_option": ("ItemShipped", 255),
    "cause of ItemCanceled": ("ItemCanceled", 255),
    "cause of ItemDelay": ("ItemDelay", 2000),
    "message": ("ItemCanceled", 2000),
}


@pytest.mark.parametrize("letter", ["x", "ü", "\N{PACKAGE}"])
@pytest.mark.parametrize(("name", "type", "most"), [(name, *each) for name, each in TEXTS.items()])
def test_texts_are_taken_up_to_their_length_in_characters(
    server: Server, key: str, name: str, type: str, most: int, letter: str
) -> None:
    field = name.split()[0]
    unique = fresh("")
    longest = unique + letter * (most - len(unique))
    assert server.post({"apikey": key} | signal(type) | {field: longest}).status == 200
    answer = server.post({"apikey": key} | signal(type) | {field: longest + letter})
    refused(answer, "invalid_parameter", field)


@pytest.mark.parametrize(
    "value", [" ", "\t", "\u3000", "a\nb", "a\x00b", "\x1fa", "a\x7f", "a\x85"]
)
@pytest.mark.parametrize("field", ["order", "item"])
def test_ids_hold_no_control_characters_and_are_not_only_white_space(
    server: Server, key: str, field: str, value: str
) -> None:
    refused(server.post({"apikey": key} | signal(**{field: value})), "invalid_parameter", field)


@pytest.mark.parametrize("field", ["order", "item"])
def test_an_empty_id_is_refused(server: Server, key: str, field: str) -> None:
    refused(server.post({"apikey": key} | signal(**{field: ""})), "invalid_parameter", field)


@pytest.mark.parametrize(
    "value",
    [
        "000123",
        "a/b",
        "a%2Fb",
        "größe 7",
        "..",
        ".",
        "?#&",
        "'; --",
        '"',
        "\\",
        "\N{PACKAGE}",
        " a ",
    ],
)
def test_ids_are_opaque(server: Server, key: str, value: str) -> None:
    told = signal(order=value + fresh(" "), item=value)
    item = accepted(server, key, told)
    assert (item["order"], item["item"]) == ids(told)


@pytest.mark.parametrize("field", ["tracking", "shipping_option"])
def test_an_empty_string_counts_as_missing_where_a_parcel_is_named(
    server: Server, key: str, field: str
) -> None:
    answer = server.post({"apikey": key} | signal("ItemShipped", **{field: ""}))
    refused(answer, "missing_parameter", field)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2016-01-20 13:00:00 GMT", "2016-01-20T13:00:00"),
        ("2016-01-20 13:00:00 UTC", "2016-01-20T13:00:00"),
        ("2016-01-20 13:00:00 Z", "2016-01-20T13:00:00"),
        ("2016-01-20 13:00:00Z", "2016-01-20T13:00:00"),
        ("2016-01-20 13:00:00 +01:00", "2016-01-20T12:00:00"),
        ("2016-01-20 13:00:00 +0100", "2016-01-20T12:00:00"),
        ("2016-01-20 13:00:00+0100", "2016-01-20T12:00:00"),
        ("2016-01-20T13:00:00Z", "2016-01-20T13:00:00"),
        ("2016-01-20T13:00:00-05:30", "2016-01-20T18:30:00"),
        ("2016-01-20T13:00:00.5Z", "2016-01-20T13:00:00.500000"),
        ("2016-01-20T13:00:00.123456+00:00", "2016-01-20T13:00:00.123456"),
        ("2016-01-20 13:00:00", "2016-01-20T13:00:00"),
        ("2016-01-20T13:00:00", "2016-01-20T13:00:00"),
        ("2016-02-29 00:00:00 GMT", "2016-02-29T00:00:00"),
        ("2000-01-01 00:00:00 GMT", "2000-01-01T00:00:00"),
        ("2100-12-31 23:59:59 GMT", "2100-12-31T23:59:59"),
    ],
)
def test_datetimes_are_read(server: Server, key: str, text: str, instant: str) -> None:
    item = accepted(server, key, signal(datetime=text))
    assert item["signals"][0]["datetime"] == instant + "+00:00"
    assert item["signals"][0]["body"]["datetime"] == text, "the text as sent stays"


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2016-01-20 13:00:00", "2016-01-20T12:00:00"),
        ("2016-07-20T13:00:00", "2016-07-20T11:00:00"),
        ("2016-07-20 13:00:00 GMT", "2016-07-20T13:00:00"),
    ],
)
def test_without_a_zone_the_interfaces_zone_counts(server: Server, text: str, instant: str) -> None:
    key = server.interface(timezone="Europe/Berlin")
    item = accepted(server, key, signal(datetime=text))
    assert item["signals"][0]["datetime"] == instant + "+00:00"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2016-01-20",
        "13:00:00",
        "2016-02-30 13:00:00 GMT",
        "2015-02-29 13:00:00 GMT",
        "2016-13-01 13:00:00 GMT",
        "2016-01-20 24:00:00 GMT",
        "2016-01-20 13:60:00 GMT",
        "2016-01-20 13:00:00 CET",
        "2016-01-20 13:00:00 Europe/Berlin",
        "1453294800",
        "1453294800000",
        "1999-12-31 23:59:59 GMT",
        "2101-01-01 00:00:00 GMT",
        "20.01.2016 13:00:00",
        "01/20/2016 1:00 PM",
        "2016-W03-3T13:00:00",
        "\u0662\u0660\u0661\u0666-01-20 13:00:00 GMT",
        "2016-01-20 13:00:00 GMT\n",
    ],
)
def test_what_is_no_datetime_is_refused(server: Server, key: str, text: str) -> None:
    refused(server.post({"apikey": key} | signal(datetime=text)), "invalid_datetime", "datetime")


@pytest.mark.parametrize(
    ("text", "hours"),
    [("24", 24.0), ("0", 0.0), ("1.5", 1.5), ("0.25", 0.25), ("8760", 8760.0), ("007", 7.0)],
)
@pytest.mark.parametrize("type", ["ItemDelay", "ItemError", "ItemCanceled"])
def test_delays_are_hours(server: Server, key: str, type: str, text: str, hours: float) -> None:
    assert accepted(server, key, signal(type, delay=text))["delay_hours"] == hours


@pytest.mark.parametrize(
    "text",
    [
        "",
        " 24",
        "24 ",
        "-1",
        "+1",
        "1,5",
        ".5",
        "5.",
        "1e2",
        "8760.5",
        "8761",
        "9999",
        "24h",
        "NaN",
    ],
)
def test_what_is_no_delay_is_refused(server: Server, key: str, text: str) -> None:
    refused(
        server.post({"apikey": key} | signal("ItemDelay", delay=text)), "invalid_delay", "delay"
    )


@pytest.mark.parametrize("cause", sorted(CANCELLATION_CAUSES))
def test_published_causes_are_normal(server: Server, key: str, cause: str) -> None:
    item = accepted(server, key, signal("ItemCanceled", cause=cause))
    assert item["cause"] == cause
    assert "unlisted_cause" not in item["findings"]


def test_there_are_21_published_causes() -> None:
    assert len(CANCELLATION_CAUSES) == 21


def test_another_cause_is_accepted_and_marked(server: Server, key: str) -> None:
    item = accepted(server, key, signal("ItemCanceled", cause="CancelBooksize"))
    assert item["cause"] == "CancelBooksize"
    assert "unlisted_cause" in item["findings"]


def test_with_strict_causes_another_cause_is_refused(make_server: MakeServer) -> None:
    server = make_server("--strict-causes").start()
    key = server.interface()
    answer = server.post({"apikey": key} | signal("ItemCanceled", cause="CancelBooksize"))
    assert "CancelBookSize" in refused(answer, "unlisted_cause", "cause")["info"]
    bundle = [signal(), signal("ItemCanceled", cause="No idea")]
    answer = server.post({"apikey": key, "items": bundle})
    refused(answer, "unlisted_cause", "items[1].cause")
    for cause in ("CancelBookSize", ..., ""):
        told = signal("ItemCanceled", cause=cause)
        assert server.post({"apikey": key} | told).status == 200
    assert server.post({"apikey": key} | signal("ItemDelay", cause="No idea")).status == 200


# ---- 4. bundles ----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, BUNDLE_MAX])
def test_a_bundle_holds_up_to_1000_signals_of_any_orders(
    server: Server, key: str, size: int
) -> None:
    items = [signal() for _ in range(size)]
    answer = server.post({"apikey": key, "items": items})
    assert answer.status == 200
    assert answer.json["accepted"] == size
    for told in (items[0], items[-1]):
        assert server.item(*ids(told))["state"] == "registered"
    last = server.item(*ids(items[-1]))["signals"][0]["position"]
    assert answer.json["position"] == last, "the position is that of the last signal"


def test_a_bundle_that_is_too_large_is_refused(server: Server, key: str) -> None:
    answer = server.post({"apikey": key, "items": [signal()] * (BUNDLE_MAX + 1)})
    refused(answer, "bundle_too_large", "items")


def test_the_size_of_a_bundle_is_a_setting(make_server: MakeServer) -> None:
    server = make_server("--bundle-max", "2", "--body-bytes-max", "1000").start()
    key = server.interface()
    assert server.post({"apikey": key, "items": [signal()] * 2}).status == 200
    refused(server.post({"apikey": key, "items": [signal()] * 3}), "bundle_too_large")
    assert server.post({"apikey": key} | signal() | {"note": "x" * 1000}).status == 413


def test_an_empty_bundle_is_refused(server: Server, key: str) -> None:
    refused(server.post({"apikey": key, "items": []}), "empty_bundle", "items")


def test_items_together_with_a_type_are_ambiguous(server: Server, key: str) -> None:
    answer = server.post({"apikey": key, "items": [signal()]} | signal())
    refused(answer, "ambiguous_post")


@pytest.mark.parametrize("items", ["x", 5, {}, True, {"type": "ItemRegistered"}])
def test_items_must_be_a_list(server: Server, key: str, items: Any) -> None:
    refused(server.post({"apikey": key, "items": items}), "invalid_parameter", "items")


@pytest.mark.parametrize("member", ["x", 5, None, [], True])
def test_a_member_must_be_an_object(server: Server, key: str, member: Any) -> None:
    answer = server.post({"apikey": key, "items": [signal(), member]})
    refused(answer, "not_an_object", "items[1]")


def test_null_counts_as_missing_for_items_and_type(server: Server, key: str) -> None:
    assert server.post({"apikey": key} | signal() | {"items": None}).status == 200
    assert server.post({"apikey": key, "items": [signal()], "type": None}).status == 200


def test_an_apikey_inside_a_member_is_ignored_and_dropped(server: Server, key: str) -> None:
    told = signal()
    bundle = [told | {"apikey": "someone else's"}]
    assert server.post({"apikey": key, "items": bundle}).status == 200
    assert server.item(*ids(told))["signals"][0]["body"] == told


def test_a_bundle_is_all_or_nothing(server: Server, key: str) -> None:
    items = [signal() for _ in range(50)]
    answer = server.post({"apikey": key, "items": [*items, signal(datetime="never")]})
    refused(answer, "invalid_datetime", "items[50].datetime")
    assert all(server.item(*ids(told)) is None for told in items[::10])


# ---- 5. repeats ----------------------------------------------------------------------------------


def test_a_repeat_is_answered_200_and_not_stored_twice(server: Server, key: str) -> None:
    told = signal("ItemShipped")
    first = server.post({"apikey": key} | told).json
    second = server.post({"apikey": key} | told)
    assert second.status == 200
    assert second.json == {"accepted": 0, "duplicates": 1, "position": first["position"]}
    assert len(server.item(*ids(told))["signals"]) == 1


@pytest.mark.parametrize(
    ("change", "is_same"),
    [
        ({}, True),
        ({"datetime": "2016-01-20T14:00:00+01:00"}, True),
        ({"note": "fields that are not listed tell nothing new"}, True),
        ({"datetime": "2016-01-20 13:00:01 GMT"}, False),
        ({"type": "ItemError"}, False),
        ({"cause": "another"}, False),
        ({"delay": "48"}, False),
        ({"item": "another item"}, False),
        ({"order": "another order"}, False),
    ],
)
def test_what_makes_a_signal_the_same(
    server: Server, key: str, change: dict[str, str], is_same: bool
) -> None:
    told = signal("ItemDelay", cause="Paper jam", delay="24")
    assert server.post({"apikey": key} | told).json["accepted"] == 1
    again = server.post({"apikey": key} | told | change).json
    assert (again["accepted"], again["duplicates"]) == ((0, 1) if is_same else (1, 0))


def test_the_same_through_another_interface_is_another_signal(server: Server, key: str) -> None:
    told = signal()
    for apikey in (key, server.interface()):
        assert server.post({"apikey": apikey} | told).json["accepted"] == 1
    assert len(server.item(*ids(told))["signals"]) == 2


def test_repeats_inside_a_bundle_are_counted(server: Server, key: str) -> None:
    told = signal()
    answer = server.post({"apikey": key, "items": [told, signal(), told, told]})
    assert (answer.json["accepted"], answer.json["duplicates"]) == (2, 2)
    assert answer.json["position"] == server.item(*ids(told))["position"]


# ---- 5. what signals make of an item -------------------------------------------------------------


def at(hour: float) -> str:
    """A datetime on the day of all these signals."""
    return (datetime(2016, 1, 20, tzinfo=UTC) + timedelta(hours=hour)).strftime(
        "%Y-%m-%dT%H:%M:%SZ"
    )


FOLDS: dict[str, tuple[list[tuple[str, float]], str, bool]] = {
    "an item never moves backwards": (
        [("ItemPacked", 1), ("ItemRegistered", 2), ("ItemProduce", 3)],
        "packed",
        False,
    ),
    "a delay alone leaves the state unknown": ([("ItemDelay", 1)], "unknown", True),
    "a delay keeps the state": ([("ItemProduced", 1), ("ItemDelay", 2)], "produced", True),
    "a delay sends an item back to be printed again": (
        [("ItemProduced", 1), ("ItemDelay", 2), ("ItemProduce", 3)],
        "producing",
        False,
    ),
    "of what follows a delay the highest counts": (
        [("ItemPacked", 1), ("ItemDelay", 2), ("ItemProduced", 3), ("ItemProduce", 4)],
        "produced",
        False,
    ),
    "what is dated as the delay follows it": (
        [("ItemPacked", 1), ("ItemDelay", 2), ("ItemProduce", 2)],
        "producing",
        False,
    ),
    "the latest delay counts": (
        [("ItemPacked", 1), ("ItemDelay", 2), ("ItemProduce", 3), ("ItemError", 4)],
        "packed",
        True,
    ),
    "shipped is final": ([("ItemShipped", 2), ("ItemPacked", 3)], "shipped", False),
    "a delay does not touch what is final": (
        [("ItemShipped", 2), ("ItemDelay", 3)],
        "shipped",
        False,
    ),
    "canceled later than shipped": ([("ItemShipped", 1), ("ItemCanceled", 2)], "canceled", False),
    "shipped later than canceled": ([("ItemCanceled", 1), ("ItemShipped", 2)], "shipped", False),
    "shipped wins a tie": ([("ItemCanceled", 1), ("ItemShipped", 1)], "shipped", False),
}


@pytest.mark.parametrize("name", FOLDS)
def test_in_whatever_order_signals_arrive_the_item_is_the_same(
    server: Server, key: str, name: str
) -> None:
    steps, state, delayed = FOLDS[name]
    views = []
    for number, order in enumerate(itertools.permutations(steps)):
        base = signal()
        told = [signal(type) | ids_of(base) | {"datetime": at(hour)} for type, hour in order]
        if number % 2:
            answer = server.post({"apikey": key, "items": told + told})
            assert answer.json["duplicates"] == len(told)
        else:
            for each in told:
                assert server.post({"apikey": key} | each).json["accepted"] == 1
        views.append(server.item(*ids(base)))
    for view in views:
        assert (view["state"], view["delayed"]) == (state, delayed)
        assert view["times"] == views[0]["times"]
        assert set(view["findings"]) - {"late"} == set(views[0]["findings"]) - {"late"}


def ids_of(base: dict[str, Any]) -> dict[str, Any]:
    return {"order": base["order"], "item": base["item"]}


def test_parcels_are_merged_in_order_of_datetime(server: Server, key: str) -> None:
    sent = [("B", "GLS", 2), ("A", "DHL", 3), ("B", "GLS", 1), ("B", "UPS", 4)]
    for order in itertools.permutations(sent):
        base = signal()
        told = [
            signal("ItemShipped", tracking=tracking, shipping_option=option, datetime=at(hour))
            | ids_of(base)
            for tracking, option, hour in order
        ]
        assert server.post({"apikey": key, "items": told}).json["accepted"] == 4
        parcels = server.item(*ids(base))["parcels"]
        assert [(each["tracking"], each["shipping_option"]) for each in parcels] == [
            ("B", "GLS"),
            ("A", "DHL"),
            ("B", "UPS"),
        ]


def test_cause_message_and_delay_are_those_of_the_latest_that_has_them(
    server: Server, key: str
) -> None:
    told = [
        signal("ItemDelay", cause="Paper jam", delay="24", datetime=at(1)),
        signal("ItemDelay", cause="Out of paper", datetime=at(2)),
        signal("ItemCanceled", message="Given up", datetime=at(3)),
        signal("ItemRegistered", datetime=at(4)),
    ]
    for order in itertools.permutations(told):
        base = signal()
        assert (
            server.post({"apikey": key, "items": [each | ids_of(base) for each in order]}).status
            == 200
        )
        item = server.item(*ids(base))
        assert (item["cause"], item["message"], item["delay_hours"]) == (
            "Out of paper",
            "Given up",
            24.0,
        )


def test_of_equally_dated_causes_arrival_does_not_decide(server: Server, key: str) -> None:
    causes = set()
    for order in itertools.permutations(["Paper jam", "Out of paper", "Fire"]):
        base = signal()
        for cause in order:
            told = signal("ItemDelay", cause=cause) | ids_of(base)
            assert server.post({"apikey": key} | told).status == 200
        causes.add(server.item(*ids(base))["cause"])
    assert len(causes) == 1


def test_the_first_registration_is_kept(server: Server, key: str) -> None:
    base = signal()
    told = [signal(datetime=at(hour)) | ids_of(base) for hour in (5, 2, 9)]
    server.post({"apikey": key, "items": told})
    assert server.item(*ids(base))["times"]["registered"] == "2016-01-20T02:00:00+00:00"


# ---- 5. findings ---------------------------------------------------------------------------------


def ago(minutes: float) -> str:
    """A datetime so many minutes ago, by the clock."""
    return (datetime.now(UTC) - timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")


FINDINGS: dict[str, list[tuple[str, float, dict[str, str]]]] = {
    "": [("ItemRegistered", 10, {}), ("ItemPacked", 5, {}), ("ItemShipped", 0, {})],
    "late": [("ItemPacked", 5, {}), ("ItemRegistered", 10, {})],
    "future_datetime": [("ItemRegistered", -10, {})],
    "slow_report": [("ItemRegistered", 65, {})],
    "after_final": [("ItemShipped", 10, {}), ("ItemPacked", 5, {})],
    "shipped_and_canceled": [
        ("ItemShipped", 10, {}),
        ("ItemCanceled", 5, {"cause": "CancelMiscError"}),
    ],
    "unlisted_cause": [("ItemCanceled", 5, {"cause": "No idea"})],
    "cancel_without_cause": [("ItemCanceled", 5, {})],
}


@pytest.mark.parametrize("finding", FINDINGS)
def test_findings_tell_what_is_odd_and_refuse_nothing(
    server: Server, key: str, finding: str
) -> None:
    base = signal()
    for type, minutes, fields in FINDINGS[finding]:
        told = signal(type, datetime=ago(minutes), **fields) | ids_of(base)
        assert server.post({"apikey": key} | told).status == 200
    assert server.item(*ids(base))["findings"] == ([finding] if finding else [])


@pytest.mark.parametrize(("minutes", "findings"), [(-4, []), (-6, ["future_datetime"]), (55, [])])
def test_findings_of_the_clock_begin_at_their_limit(
    server: Server, key: str, minutes: float, findings: list[str]
) -> None:
    assert accepted(server, key, signal(datetime=ago(minutes)))["findings"] == findings


# ---- 5. the log ----------------------------------------------------------------------------------


def test_positions_follow_the_order_of_acceptance(server: Server, key: str) -> None:
    positions = [server.post({"apikey": key} | signal()).json["position"] for _ in range(20)]
    assert positions == sorted(set(positions))
    page = server.get(f"/api/v1/signals?after={positions[0]}&limit=100").json["signals"]
    assert [each["position"] for each in page] == positions[1:]


def test_signals_of_a_test_interface_are_marked_throughout(server: Server) -> None:
    key = server.interface(test=True)
    item = accepted(server, key, signal())
    assert item["test"] is True
    assert item["signals"][0]["test"] is True


def test_every_type_of_error_has_its_test() -> None:
    """What the contract lists is looked for somewhere in these tests by its name."""

    texts = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("*.py"))
    elsewhere = {"defect"}  # tests/server/test_app.py: from outside there is no asking for one
    untested = {type for type in STATUS if f'"{type}"' not in texts}
    assert untested - elsewhere == set()
