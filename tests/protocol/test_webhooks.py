"""What owners are told of each signal, in the field's own words."""

from typing import get_args

import msgspec
import pytest
from hypothesis import given

from cloudsignal.protocol import datetimes, signals, webhooks
from cloudsignal.protocol.signals import SIGNAL_TYPES, Signal
from tests.strategies import signals as any_signal

INSTANT = datetimes.parse("2016-01-20T14:00:00+01:00", datetimes.UTC)
COMMON = {
    "apikey": "the owner's",
    "order": "123456780000",
    "order_reference": "",
    "item": "123456780001",
    "item_reference": "",
    "datetime": "2016-01-20T13:00:00+00:00",
}
EXTRA = {
    "ItemValidated": {},
    "ItemProduce": {},
    "ItemProduced": {},
    "ItemPacked": {},
    "ItemShipped": {"tracking": "1A2B3C4D5E6F", "shipping_option": "GLS"},
    "ItemError": {"cause": "Print error, reprint needed", "delay": "24"},
    "ItemCanceled": {"cause": "CancelBookSize", "message": "Book has wrong width"},
}
NAMES = {"ItemRegistered": "ItemValidated", "ItemDelay": "ItemError"}


def members(webhook: webhooks.Webhook) -> dict[str, str]:
    found: dict[str, str] = msgspec.json.decode(webhooks.encode(webhook))
    return found


@pytest.mark.parametrize("kind", SIGNAL_TYPES)
def test_each_signal_goes_out_as_the_field_knows_it(kind: type[Signal]) -> None:
    signal = msgspec.convert(signals.example(kind), kind)
    told = members(webhooks.webhook_of(signal, INSTANT, apikey="the owner's"))
    name = NAMES.get(kind.__name__, kind.__name__)
    assert told == {"type": name, **COMMON, **EXTRA[name]}


@pytest.mark.parametrize("fraction", [1, 999_999])
def test_owners_are_told_whole_seconds(fraction: int) -> None:
    signal = msgspec.convert(signals.example(signals.ItemPacked), signals.ItemPacked)
    told = members(webhooks.webhook_of(signal, INSTANT + fraction, apikey=""))
    assert told["datetime"] == COMMON["datetime"] == webhooks.moment(INSTANT + fraction)


def test_references_are_the_owners_own() -> None:
    signal = msgspec.convert(signals.example(signals.ItemPacked), signals.ItemPacked)
    told = members(
        webhooks.webhook_of(signal, INSTANT, apikey="", order_reference="r-1", item_reference="r-2")
    )
    assert (told["order_reference"], told["item_reference"]) == ("r-1", "r-2")


def test_only_a_shipped_item_has_a_url_and_only_for_those_who_know_it() -> None:
    shipped = msgspec.convert(signals.example(signals.ItemShipped), signals.ItemShipped)
    packed = msgspec.convert(signals.example(signals.ItemPacked), signals.ItemPacked)
    assert members(webhooks.webhook_of(shipped, INSTANT, apikey="", url="https://x"))["url"] == (
        "https://x"
    )
    assert "url" not in members(webhooks.webhook_of(shipped, INSTANT, apikey=""))
    assert "url" not in members(webhooks.webhook_of(packed, INSTANT, apikey="", url="https://x"))


@given(any_signal())
def test_whatever_a_partner_leaves_out_is_an_empty_string(signal: Signal) -> None:
    webhook = webhooks.webhook_of(signal, INSTANT, apikey="")
    told = members(webhook)
    assert all(isinstance(value, str) for value in told.values())
    assert told.keys() == {"type", *COMMON, *EXTRA[told["type"]]}
    assert msgspec.convert(told, webhooks.KNOWN[told["type"]]) == webhook


def test_what_is_sent_are_the_nine_types_of_the_field() -> None:
    assert [each.__name__ for each in webhooks.SENT] == [
        "CloudprinterOrderValidated",
        "CloudprinterOrderCanceled",
        *EXTRA,
    ]
    assert set(webhooks.WEBHOOK_OF) == set(get_args(signals.AnySignal))
