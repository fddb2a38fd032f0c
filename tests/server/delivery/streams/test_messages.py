"""Signals as CloudEvents."""

import re
from datetime import datetime

import msgspec

from cloudsignal.server.delivery.streams.messages import message
from cloudsignal.server.store.reading import LoggedSignal
from tests.server.arrivals import MINUTE, NOON

BODY = '{"type":"ItemProduced","order":"7/1","item":"ä","datetime":"2016-01-20 12:00:00 GMT"}'
LOGGED = LoggedSignal(
    position=12,
    received=NOON + MINUTE,
    interface=3,
    partner_name="Press & Sons",
    test=False,
    order="7/1",
    item="ä",
    type="ItemProduced",
    datetime=NOON,
    fingerprint="f",
    body=BODY,
)


def test_a_message_has_what_cloudevents_ask_for_and_the_signal_as_the_api_shows_it():
    found = msgspec.json.decode(message("0123abcd", LOGGED).encoded())

    assert found == {
        "specversion": "1.0",
        "id": "0123abcd-12-1453291260000000",
        "source": "/cloudsignal/0123abcd",
        "type": "cloudsignal.ItemProduced",
        "subject": "7%2F1/%C3%A4",
        "time": "2016-01-20T12:00:00+00:00",
        "datacontenttype": "application/json",
        "data": {
            "position": 12,
            "type": "ItemProduced",
            "order": "7/1",
            "item": "ä",
            "partner": "Press & Sons",
            "interface": 3,
            "datetime": "2016-01-20T12:00:00+00:00",
            "received": "2016-01-20T12:01:00+00:00",
            "test": False,
            "body": msgspec.json.decode(BODY),
        },
    }
    assert datetime.fromisoformat(found["time"]).tzinfo is not None


def test_the_names_of_attributes_are_lower_case_letters_and_digits():
    shortened = msgspec.json.decode(message("s", LOGGED).without_body().encoded())

    assert [name for name in shortened if not re.fullmatch("[a-z0-9]{1,20}", name)] == []


def test_without_its_body_a_message_is_marked_and_otherwise_the_same():
    whole = msgspec.json.decode(message("s", LOGGED).encoded())
    shortened = msgspec.json.decode(message("s", LOGGED).without_body().encoded())

    assert shortened.pop("bodyleftout") is True
    assert shortened["data"]["body"] is None
    shortened["data"]["body"] = whole["data"]["body"]
    assert shortened == whole


def test_no_two_signals_have_the_same_id():
    again = msgspec.structs.replace(LOGGED, received=LOGGED.received + 1)

    ids = {message("a", LOGGED).id, message("b", LOGGED).id, message("a", again).id}
    assert len(ids) == 3
