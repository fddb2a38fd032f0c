"""What owners are answered, in CloudCore's words."""

from typing import Any

import msgspec

from cloudsignal.protocol.items import Item, Parcel
from cloudsignal.server.cloudcore import answers
from cloudsignal.server.cloudcore.answers import PARCELS_SHOWN_MAX
from cloudsignal.server.store.owned_orders import FoundOrder, OwnedOrder
from cloudsignal.server.store.reading import StoredItem
from tests.server.arrivals import MINUTE, NOON

NOON_TEXT = "2016-01-20 12:00:00"


def order(**values: Any) -> OwnedOrder:
    known = {
        "order": "7",
        "reference": "wp-1",
        "placed": NOON,
        "is_registered": True,
        "states": {},
        "unheard": 0,
    }
    return OwnedOrder(**known | values)


def found(items: dict[str, Item], references: dict[str, str], **values: Any) -> FoundOrder:
    states: dict[str, int] = {}
    for item in items.values():
        states[item.state] = states.get(item.state, 0) + 1
    stored = [StoredItem("7", name, "Alpha", 1, NOON, item) for name, item in items.items()]
    unheard = len(references.keys() - items.keys())
    return FoundOrder(order(states=states, unheard=unheard, **values), stored, references)


def built(value: Any) -> Any:
    return msgspec.to_builtins(value)


def test_an_order_in_the_list_is_told_in_strings() -> None:
    assert built(answers.listed(order(states={"packed": 1}, placed=NOON + 999_999))) == {
        "reference": "wp-1",
        "order_date": NOON_TEXT,
        "state": "45",
        "state_code": "order_state_uploaded",
    }


def test_an_order_without_a_reference_is_called_by_its_id() -> None:
    assert answers.listed(order(reference="")).reference == "7"


def test_an_order_is_told_with_its_items() -> None:
    shipped = Item(shipped=NOON, parcels=[Parcel(NOON, "T1", "GLS")])

    told = built(answers.info(found({"2": shipped, "3": Item(packed=1)}, {"1": "99", "2": ""})))

    unknown = {"name": "", "count": "", "options": [], "files": []}
    assert told == {
        "reference": "wp-1",
        "state": "45",
        "state_code": "order_state_uploaded",
        "order_date": NOON_TEXT,
        "email": "",
        "addresses": [],
        "items": [
            unknown
            | {
                "reference": "99",
                "shipping_option": "",
                "tracking": "",
                "state_code": "item_state_unknown",
            },
            unknown
            | {
                "reference": "2",
                "shipping_option": "GLS",
                "tracking": "T1",
                "state_code": "item_state_shipped",
            },
            unknown
            | {
                "reference": "3",
                "shipping_option": "",
                "tracking": "",
                "state_code": "item_state_packed",
            },
        ],
    }


def test_several_parcels_stand_side_by_side_up_to_the_last_ten() -> None:
    parcels = [Parcel(n, f"T{n}", "GLS") for n in range(PARCELS_SHOWN_MAX + 1)]

    [item] = answers.info(found({"1": Item(shipped=1, parcels=parcels)}, {})).items

    assert item.shipping_option == "GLS"
    assert item.tracking == ", ".join(f"T{n}" for n in range(1, PARCELS_SHOWN_MAX + 1))


def states(told: FoundOrder) -> list[tuple[str, str]]:
    return [(each.create_date, each.state) for each in answers.log(told)]


def test_the_log_begins_with_the_registration() -> None:
    item = Item(packed=NOON + MINUTE, shipped=NOON + 2 * MINUTE)

    assert states(found({}, {"1": ""})) == [(NOON_TEXT, "6")]
    assert states(found({"1": item}, {})) == [
        (NOON_TEXT, "6"),
        ("2016-01-20 12:01:00", "45"),
        ("2016-01-20 12:02:00", "100"),
    ]
    assert {each.reference for each in answers.log(found({"1": item}, {}))} == {"wp-1"}


def test_an_order_that_was_registered_late_or_never_begins_with_its_first_signal() -> None:
    item = Item(packed=NOON - MINUTE)

    assert states(found({"1": item}, {})) == [("2016-01-20 11:59:00", "45")]
    late = Item(packed=NOON + MINUTE)
    told = states(found({"1": late}, {}, is_registered=False))
    assert told == [("2016-01-20 12:01:00", "45")]
