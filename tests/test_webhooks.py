"""The receiver's helper: what it believes, and what it says of the rest."""

import msgspec
import pytest

from cloudsignal import webhooks
from cloudsignal.protocol import signatures
from cloudsignal.webhooks import Forged, ItemShipped, OtherWebhook, Unreadable, Verified, verify

NOW_S = 1_614_265_330
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
APIKEY = "1e9d2f0a7c"
SHIPPED = {
    "type": "ItemShipped",
    "apikey": APIKEY,
    "order": "123456780000",
    "order_reference": "r-1",
    "item": "123456780001",
    "item_reference": "",
    "datetime": "2017-01-21T13:23:42+00:00",
    "tracking": "1A2B3C4D5E6F",
    "shipping_option": "GLS",
}


def body(**changes: object) -> bytes:
    return msgspec.json.encode(SHIPPED | changes)


def signed(body: bytes, secret: str = SECRET) -> dict[str, str]:
    return signatures.headers([signatures.read(secret)], id="id-1", now_s=NOW_S, body=body)


def test_a_signed_webhook_is_believed_and_typed() -> None:
    sent = body()
    found = verify(signed(sent), sent, secret=SECRET, apikey=APIKEY, now_s=NOW_S)
    assert found == Verified(
        "id-1",
        ItemShipped(
            apikey=APIKEY,
            order="123456780000",
            order_reference="r-1",
            item="123456780001",
            datetime="2017-01-21T13:23:42+00:00",
            tracking="1A2B3C4D5E6F",
            shipping_option="GLS",
        ),
    )


def test_of_a_sender_that_does_not_sign_the_key_is_enough() -> None:
    assert verify({}, body(), apikey=APIKEY).id == ""


def test_either_secret_counts_while_one_is_replaced() -> None:
    other = signatures.written(b"n" * 32)
    sent = body()
    for signer in (SECRET, other):
        verify(signed(sent, signer), sent, secret=[SECRET, other], now_s=NOW_S)


def test_the_time_is_now_unless_it_is_said() -> None:
    with pytest.raises(Forged, match="ago"):
        verify(signed(body()), body(), secret=SECRET)


@pytest.mark.parametrize("changes", [{"apikey": "another"}, {"apikey": 7}, {"apikey": "ü"}])
def test_another_key_is_not_believed(changes: dict[str, object]) -> None:
    with pytest.raises(Forged, match="apikey"):
        verify({}, body(**changes), apikey=APIKEY)


def test_a_body_that_was_changed_on_the_way_is_not_believed() -> None:
    with pytest.raises(Forged, match="signature"):
        verify(signed(body()), body(tracking="X"), secret=SECRET, apikey=APIKEY, now_s=NOW_S)


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        (b"<html>", "no JSON object"),
        (b"[]", "no JSON object"),
        (b"\xff", "no JSON object"),
        (b"[" * 100_000, "no JSON object"),
        (b'{"apikey":"1e9d2f0a7c"}', "no type"),
        (
            b'{"apikey":"1e9d2f0a7c","type":"ItemPacked","order":"1"}',
            "no ItemPacked.*datetime|item",
        ),
    ],
)
def test_what_is_no_webhook_is_said_to_be_none(sent: bytes, sentence: str) -> None:
    with pytest.raises(Unreadable, match=sentence):
        verify(signed(sent), sent, secret=SECRET, now_s=NOW_S)


def test_a_type_of_the_future_breaks_no_receiver() -> None:
    sent = body(type="ItemReturned")
    found = verify({}, sent, apikey=APIKEY).webhook
    assert isinstance(found, OtherWebhook)
    assert found.type == "ItemReturned"
    assert found.members["order"] == "123456780000"


def test_fields_of_the_future_are_passed_over() -> None:
    assert isinstance(verify({}, body(weight="1"), apikey=APIKEY).webhook, ItemShipped)


def test_who_checks_nothing_is_told_so() -> None:
    with pytest.raises(ValueError, match="secret"):
        verify({}, body())


def test_every_type_has_its_name_here() -> None:
    for kind in webhooks.webhooks.WEBHOOK_TYPES:
        assert getattr(webhooks, kind.__name__) is kind
        assert kind.__name__ in webhooks.__all__
