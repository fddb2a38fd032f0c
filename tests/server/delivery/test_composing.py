"""What owners are told: byte for byte what the field sends, with the key put in on the way out."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudsignal.protocol.webhooks import FORMATS
from cloudsignal.server.delivery import composing
from cloudsignal.server.delivery.composing import Composer, keyed
from cloudsignal.server.delivery.lineup import Delivery
from cloudsignal.server.store.endpoints import Endpoint, Sealed
from cloudsignal.server.store.owned import Owned
from tests.server.arrivals import NOON, report
from tests.strategies import APIKEY

STORE = "0123456789abcdef"
TEMPLATES = {"GLS": "https://gls.example/?n={tracking}", "DHL": "https://dhl.example/"}


def endpoint(**values: Any) -> Endpoint:
    given = {
        "format": "cloudsignal-2.0",
        "types": (),
        "test": False,
    }
    return Endpoint(
        id=1,
        owner=1,
        owner_name="Books",
        sealed=Sealed("", "", ""),
        shown="",
        newest_only=False,
        state="active",
        why="",
        failures=0,
        failing_since=None,
        created=1,
        position=0,
        **given | values,
    )


def owned(type: str, *, about: dict[str, Any] | None = None, **fields: Any) -> Owned:
    """A signal as the store has it."""
    made = report(type, **fields)
    given = {
        "position": 5,
        "received": 6,
        "number": 3,
        "test": False,
        "type": type,
        "datetime": made.datetime,
        "fingerprint": made.fingerprint,
        "body": made.body.decode(),
        "order": made.signal.order,
        "item": made.signal.item,
        "owner": 1,
        "order_reference": "wp-1",
        "item_reference": "first",
        "tracking_urls": None,
    }
    return Owned(**given | (about or {}))


def told(signal: Owned, **values: Any) -> list[Delivery]:
    return list(Composer(STORE, TEMPLATES).told(signal, endpoint(**values)))


def body(signal: Owned, **values: Any) -> str:
    """The one body that is told of a signal."""
    [delivery] = told(signal, **values)
    return keyed(delivery.webhook, APIKEY).decode()


HEAD = (
    '"apikey":"13b37bb1ed6d3403e158abe719b4f6d0","order":"7","order_reference":"wp-1",'
    '"datetime":"2016-01-20T12:00:00+00:00"'
)
ITEM = f'{HEAD},"item":"1","item_reference":"first"'
SHIPPED = f'{{"type":"ItemShipped",{ITEM},"tracking":"T 1/ü","shipping_option":"GLS"'
BODIES: dict[str, tuple[dict[str, Any], str]] = {
    "ItemRegistered": ({}, f'{{"type":"ItemValidated",{ITEM}}}'),
    "ItemProduce": ({}, f'{{"type":"ItemProduce",{ITEM}}}'),
    "ItemProduced": ({}, f'{{"type":"ItemProduced",{ITEM}}}'),
    "ItemPacked": ({}, f'{{"type":"ItemPacked",{ITEM}}}'),
    "ItemShipped": ({"tracking": "T 1/ü", "shipping_option": "GLS"}, SHIPPED + "}"),
    "ItemDelay": (
        {"cause": "jam", "delay": "24"},
        f'{{"type":"ItemError",{ITEM},"cause":"jam","delay":"24"}}',
    ),
    "ItemError": (
        {"cause": "jam"},
        f'{{"type":"ItemError",{ITEM},"cause":"jam","delay":""}}',
    ),
    "ItemCanceled": (
        {"message": "no"},
        f'{{"type":"ItemCanceled",{ITEM},"cause":"","message":"no"}}',
    ),
}


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("type", sorted(BODIES.keys() - {"ItemShipped"}))
def test_a_body_is_what_the_field_sends(type: str, format: str) -> None:
    fields, expected = BODIES[type]
    assert body(owned(type, **fields), format=format) == expected


def test_what_is_shipped_can_be_followed_with_2_1_only() -> None:
    fields, expected = BODIES["ItemShipped"]
    signal = owned("ItemShipped", **fields)
    assert body(signal) == expected
    assert body(signal, format="cloudsignal-2.1") == (
        SHIPPED + ',"url":"https://gls.example/?n=T%201%2F%C3%BC"}'
    )


@pytest.mark.parametrize(
    ("option", "urls", "url"),
    [
        ("GLS", '{"GLS":"https://books.example/{tracking}/x"}', "https://books.example/T1/x"),
        ("GLS", '{"DHL":"https://books.example/"}', "https://gls.example/?n=T1"),
        ("DHL", None, "https://dhl.example/"),
        ("UPS", None, ""),
        ("UPS", "{}", ""),
    ],
)
def test_an_order_says_before_the_settings_how_a_parcel_is_followed(
    option: str, urls: str | None, url: str
) -> None:
    signal = owned("ItemShipped", shipping_option=option, about={"tracking_urls": urls})
    assert json.loads(body(signal, format="cloudsignal-2.1"))["url"] == url


def test_what_is_not_known_of_an_order_is_empty() -> None:
    signal = owned("ItemPacked", about={"order_reference": "", "item_reference": ""})
    found = json.loads(body(signal))
    assert (found["order_reference"], found["item_reference"]) == ("", "")


def test_a_delivery_is_known_by_its_place_in_the_log_of_its_store() -> None:
    [delivery] = told(owned("ItemPacked"))
    assert delivery.message == "msg_01234567_5"
    assert (delivery.position, delivery.line, delivery.happened) == (5, 3, NOON)
    assert (delivery.type, delivery.order, delivery.item) == ("ItemPacked", "7", "1")
    assert (delivery.due, delivery.attempts, delivery.is_noted) == (0, 0, False)


def test_the_last_item_that_is_canceled_cancels_the_order() -> None:
    signal = owned("ItemCanceled", about={"cancels_order": True})

    item, order = told(signal)

    assert item.type == "ItemCanceled"
    assert (order.type, order.item, order.line, order.position) == (
        "CloudprinterOrderCanceled",
        "",
        3,
        5,
    )
    assert keyed(order.webhook, APIKEY).decode() == (
        f'{{"type":"CloudprinterOrderCanceled",{HEAD}}}'
    )
    assert order.message.startswith("msg_01234567_")
    assert order.message != item.message
    assert told(signal, types=("CloudprinterOrderCanceled",))[0].message == order.message
    # Canceled again or later, it is the same that is told.
    later = owned("ItemCanceled", minute=9, about={"cancels_order": True, "position": 9})
    assert told(later)[1].message == order.message


@pytest.mark.parametrize(
    ("types", "test", "is_test", "count"),
    [
        ((), False, False, 1),
        ((), True, True, 1),
        ((), True, False, 0),
        ((), False, True, 0),
        (("ItemError", "ItemPacked"), False, False, 1),
        (("ItemDelay",), False, False, 0),
    ],
)
def test_an_endpoint_is_told_what_it_wants_to_know(
    types: tuple[str, ...], test: bool, is_test: bool, count: int
) -> None:
    signal = owned("ItemDelay", about={"test": is_test})
    assert len(told(signal, types=types, test=test)) == count


@given(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=40)
    | st.sampled_from(['"apikey":""', '\\"apikey":""', '{"type":"x","apikey":""']),
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=40)
    | st.sampled_from(['"apikey":""', '","order":"8', "\\1", "\\g<0>"]),
)
def test_the_key_is_put_in_once_whatever_others_are_called(name: str, apikey: str) -> None:
    about = {"order_reference": name, "item_reference": name}
    [delivery] = told(owned("ItemDelay", cause="x", about=about))

    found = json.loads(keyed(delivery.webhook, apikey))

    assert found == json.loads(delivery.webhook) | {"apikey": apikey}
    assert found["order_reference"] == found["item_reference"] == name


def test_what_is_told_says_when_it_happened() -> None:
    [delivery] = told(owned("ItemDelay", minute=7))
    assert composing.happened(delivery.webhook) == delivery.happened
