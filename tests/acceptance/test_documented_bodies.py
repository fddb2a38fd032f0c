"""The example bodies of the CloudSignal API 2.0, byte for byte, and what they make of their items."""

import json
from typing import Any

import pytest

from tests.acceptance.conftest import Server

KEY = "13b37bb1ed6d3403e158abe719b4f6d0"
"""The key of the examples, which a print partner may have configured already."""
ORDER = "123456780000"
ITEMS = ("123456780001", "123456780002")

BASE = """
    "apikey": "13b37bb1ed6d3403e158abe719b4f6d0",
    "type": "%s",
    "order": "123456780000",
    "item": "123456780001",
    "datetime": "2016-01-20 13:00:00 GMT\""""
FIELDS = {
    "ItemShipped": {"tracking": "1A2B3C4D5E6F", "shipping_option": "GLS"},
    "ItemDelay": {"cause": "Print error, reprint needed", "delay": "24"},
    "ItemError": {"cause": "Print error, reprint needed", "delay": "24"},
    "ItemCanceled": {"cause": "CancelBookSize", "message": "Book has wrong width"},
}
OUTCOMES: dict[str, dict[str, Any]] = {
    "ItemRegistered": {"state": "registered"},
    "ItemProduce": {"state": "producing"},
    "ItemProduced": {"state": "produced"},
    "ItemPacked": {"state": "packed"},
    "ItemShipped": {"state": "shipped"},
    "ItemDelay": {
        "state": "unknown",
        "delayed": True,
        "cause": "Print error, reprint needed",
        "delay_hours": 24.0,
    },
    "ItemError": {
        "state": "unknown",
        "delayed": True,
        "cause": "Print error, reprint needed",
        "delay_hours": 24.0,
    },
    "ItemCanceled": {
        "state": "canceled",
        "cause": "CancelBookSize",
        "message": "Book has wrong width",
    },
}
"""What is known of an item after the one signal, beyond what is known of every item."""
NOTHING = {"delayed": False, "cause": None, "message": None, "delay_hours": None, "test": False}


def example(type: str) -> str:
    """The documented body of a signal."""
    more = "".join(f',\n    "{name}": "{value}"' for name, value in FIELDS.get(type, {}).items())
    return "{" + BASE % type + more + "\n}\n"


@pytest.fixture(scope="module")
def _key(server: Server) -> None:
    """The key of the examples opens an interface of a print partner."""
    server.cli("partner", "create", "Example printer")
    server.cli("interface", "create", "--partner", "Example printer", "--apikey", KEY)


def seen(server: Server, order: str, item: str) -> Any:
    """An item, which looks the same over HTTP and on the command line."""
    found = server.item(order, item)
    assert server.cli_json("item", "show", order, item) == found
    return found


@pytest.mark.usefixtures("_key")
@pytest.mark.parametrize("type", OUTCOMES)
def test_each_documented_body_makes_its_item_state(server: Server, type: str) -> None:
    # An order of its own, so that the item holds this one signal.
    order = ORDER[:-4] + f"{list(OUTCOMES).index(type) + 1:04}"
    body = example(type).replace(ORDER, order)
    answer = server.post(body.encode())
    assert (answer.status, answer.json["accepted"]) == (200, 1)
    item = seen(server, order, ITEMS[0])
    wanted = NOTHING | OUTCOMES[type]
    assert {name: item[name] for name in wanted} == wanted
    assert (item["order"], item["item"], item["partner"]) == (order, ITEMS[0], "Example printer")
    shipped = {"tracking": "1A2B3C4D5E6F", "shipping_option": "GLS"}
    parcels = [{name: each[name] for name in shipped} for each in item["parcels"]]
    assert parcels == ([shipped] if type == "ItemShipped" else [])
    assert set(item["findings"]) == {"slow_report"}, "its datetime is years ago"
    (signal,) = item["signals"]
    assert signal["position"] == answer.json["position"]
    assert (signal["type"], signal["datetime"]) == (type, "2016-01-20T13:00:00+00:00")
    kept = json.loads(body)
    del kept["apikey"]
    assert signal["body"] == kept


@pytest.mark.usefixtures("_key")
def test_all_documented_bodies_in_turn_tell_the_story_of_one_order(server: Server) -> None:
    for type in OUTCOMES:
        assert server.post(example(type).encode()).json["accepted"] == 1
    bundle = {
        "apikey": KEY,
        "items": [
            {"type": "ItemRegistered", "order": ORDER, "item": item, "datetime": datetime}
            for item, datetime in zip(
                ITEMS, ["2016-01-20 13:00:00 GMT", "2016-01-20 13:00:00 GMT"], strict=True
            )
        ],
    }
    answer = server.post(json.dumps(bundle, indent=4).encode()).json
    assert (answer["accepted"], answer["duplicates"]) == (1, 1), "one of them was told before"

    first, second = (seen(server, ORDER, item) for item in ITEMS)
    assert (first["state"], first["delayed"]) == ("shipped", False), "shipped wins a tie"
    assert "shipped_and_canceled" in first["findings"]
    assert [each["type"] for each in first["signals"]] == list(OUTCOMES)
    assert (second["state"], second["position"]) == ("registered", answer["position"])

    order = server.get(f"/api/v1/orders/{ORDER}").json
    assert order["states"] == {"shipped": 1, "registered": 1}
    assert [each["item"] for each in order["items"]] == list(ITEMS)
    assert server.cli_json("order", "show", ORDER) == order
    assert server.cli_json("rebuild")["differed"] == 0
