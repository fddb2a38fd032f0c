"""Items, orders and the log, asked over HTTP."""

from typing import Any
from urllib.parse import quote, urlencode

import pytest

from cloudsignal.protocol.items import FINDINGS
from cloudsignal.server.api.requests import LIMIT_MAX
from cloudsignal.server.store.reading import ORDER_ITEMS_MAX
from tests.acceptance.conftest import Server, fresh, signal

ODD_IDS = [
    "a/b",
    "/",
    "a//b/",
    "100%",
    "%2F",
    "what?",
    "a&b=c",
    "two words",
    " x ",
    "a+b",
    "#1",
    "Größe",
    "e\u0301",
    "日本語",
    "🖨️",
    "..",
    ".",
    "live",
    "{order}",
    "'\"\\;",
    "0007",
    "x" * 128,
    "ü" * 128,
]


def post(server: Server, key: str, type: str = "ItemRegistered", **fields: Any) -> dict[str, Any]:
    """Have a signal accepted; what was sent."""
    sent = signal(type, **fields)
    answer = server.post({"apikey": key, **sent})
    assert answer.status == 200, answer
    return sent


def find(server: Server, **filters: Any) -> list[str]:
    """The items that a search finds, in its order."""
    return [each["item"] for each in page(server, **filters)["items"]]


def page(server: Server, **filters: Any) -> Any:
    """A page of items."""
    answer = server.get(f"/api/v1/items?{urlencode(filters)}")
    assert answer.status == 200, answer
    return answer.json


# ---- one item ----


def test_an_item_tells_everything_that_is_known_of_it(server: Server, key: str) -> None:
    sent = post(server, key, datetime="2016-01-20 13:00:00 GMT", extra={"press": 7})
    ids = {"order": sent["order"], "item": sent["item"]}
    post(server, key, "ItemDelay", **ids, cause="jam", delay="1.5", datetime="2016-01-21T10:00Z")
    shipped = {"datetime": "2016-01-22 09:00:00 +0100", "tracking": "T1", "shipping_option": "GLS"}
    post(server, key, "ItemShipped", **ids, **shipped)

    item = server.item(**ids)

    signals = item.pop("signals")
    position, updated = item.pop("position"), item.pop("updated")
    assert item == {
        **ids,
        "partner": "Printer",
        "state": "shipped",
        "delayed": False,
        "test": False,
        "parcels": [
            {
                "tracking": "T1",
                "shipping_option": "GLS",
                "datetime": "2016-01-22T08:00:00+00:00",
            }
        ],
        "cause": "jam",
        "message": None,
        "delay_hours": 1.5,
        "findings": ["slow_report"],
        "times": {
            "registered": "2016-01-20T13:00:00+00:00",
            "shipped": "2016-01-22T08:00:00+00:00",
            "delayed": "2016-01-21T10:00:00+00:00",
        },
    }
    assert [each["type"] for each in signals] == ["ItemRegistered", "ItemDelay", "ItemShipped"]
    assert signals[0]["body"] == sent
    assert signals[0]["datetime"] == "2016-01-20T13:00:00+00:00"
    assert signals[-1]["position"] == position
    assert signals[-1]["received"] == updated
    assert [each["position"] for each in signals] == sorted(each["position"] for each in signals)


def test_findings_stand_at_the_signals_they_are_about(server: Server, key: str) -> None:
    sent = post(server, key, "ItemCanceled", datetime="2016-01-20 13:00:00 GMT")
    ids = {"order": sent["order"], "item": sent["item"]}
    post(server, key, "ItemProduced", **ids, datetime="2016-01-21 13:00:00 GMT")
    post(server, key, "ItemPacked", **ids, datetime="2016-01-19 13:00:00 GMT")

    signals = server.item(**ids)["signals"]

    assert [each["findings"] for each in signals] == [
        ["cancel_without_cause", "slow_report"],
        ["after_final", "slow_report"],
        ["late", "slow_report"],
    ]
    assert all(name in FINDINGS for each in signals for name in each["findings"])


@pytest.mark.parametrize("odd", ODD_IDS)
def test_ids_are_opaque(server: Server, key: str, odd: str) -> None:
    order = fresh("order") + odd[:100]
    post(server, key, order=odd, item=order)
    post(server, key, order=order, item=odd)

    assert server.item(odd, order)["order"] == odd
    assert server.item(order, odd)["item"] == odd
    assert find(server, order=odd, item=order) == [order]
    assert odd in find(server, item=odd)
    shown = server.get(f"/api/v1/orders/{quote(order, safe='')}").json
    assert (shown["order"], shown["items"][0]["item"]) == (order, odd)


def test_what_nothing_has_come_for_is_404(server: Server) -> None:
    for path in ("/api/v1/items/no/such", "/api/v1/orders/no"):
        answer = server.get(path)
        assert answer.status == 404
        assert "no signal has come for" in answer.json["detail"]


def test_an_id_that_is_no_utf_8_is_400(server: Server) -> None:
    answer = server.get("/api/v1/items/%FF/1")
    assert answer.status == 400
    assert "UTF-8" in answer.json["detail"]


# ---- orders ----


def test_an_order_counts_its_items_by_state(server: Server, key: str) -> None:
    order = fresh("order")
    for item, type in (("2", "ItemShipped"), ("1", "ItemPacked"), ("3", "ItemPacked")):
        post(server, key, type, order=order, item=item)

    shown = server.get(f"/api/v1/orders/{order}").json

    assert [each["item"] for each in shown["items"]] == ["1", "2", "3"]
    assert shown["states"] == {"packed": 2, "shipped": 1}
    assert all("signals" not in each for each in shown["items"])


def test_a_large_order_counts_all_its_items_and_lists_the_newest(server: Server, key: str) -> None:
    order = fresh("order")
    for start in range(0, ORDER_ITEMS_MAX + 2, 501):
        items = [signal(order=order, item=f"{n:04}") for n in range(start, start + 501)]
        assert server.post({"apikey": key, "items": items}).status == 200

    shown = server.get(f"/api/v1/orders/{order}").json

    assert shown["states"] == {"registered": ORDER_ITEMS_MAX + 2}
    assert [each["item"] for each in shown["items"]] == [
        f"{n:04}" for n in range(2, ORDER_ITEMS_MAX + 2)
    ]


# ---- search ----


@pytest.fixture(scope="module")
def found_by(server: Server, key: str) -> dict[str, Any]:
    """Three items, each with something no other has."""
    order = fresh("order")
    other = server.interface("Other printer")
    trial = server.interface(test=True)
    post(server, key, "ItemShipped", order=order, item="shipped", tracking=f"T {order}")
    post(server, other, "ItemDelay", order=order, item="delayed")
    post(server, trial, "ItemPacked", order=order, item="tested")
    return {"order": order}


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, ["tested", "delayed", "shipped"]),
        ({"item": "delayed"}, ["delayed"]),
        ({"state": "packed"}, ["tested"]),
        ({"state": "unknown"}, ["delayed"]),
        ({"partner": "Other printer"}, ["delayed"]),
        ({"partner": "nobody"}, []),
        ({"delayed": "true"}, ["delayed"]),
        ({"delayed": "false"}, ["tested", "shipped"]),
        ({"test": "true"}, ["tested"]),
        ({"test": "false"}, ["delayed", "shipped"]),
        ({"state": "shipped", "partner": "Other printer"}, []),
    ],
    ids=str,
)
def test_items_are_found_by(
    server: Server, found_by: dict[str, Any], filters: dict[str, str], expected: list[str]
) -> None:
    assert find(server, **found_by, **filters) == expected


@pytest.mark.parametrize("only", ["state", "partner", "delayed", "test"])
def test_a_filter_works_without_an_order(
    server: Server, found_by: dict[str, Any], only: str
) -> None:
    filters = {"state": "packed", "partner": "Other printer", "delayed": "true", "test": "true"}
    expected = "tested" if only in ("state", "test") else "delayed"
    mine = [
        each["item"]
        for each in page(server, **{only: filters[only]}, limit=LIMIT_MAX)["items"]
        if each["order"] == found_by["order"]
    ]
    assert mine == [expected]


def test_items_are_found_by_tracking(server: Server, found_by: dict[str, Any]) -> None:
    assert find(server, tracking=f"T {found_by['order']}") == ["shipped"]
    assert find(server, tracking="T") == []


def test_items_are_found_by_when_they_last_changed(server: Server, key: str) -> None:
    order = fresh("order")
    for item in "abc":
        post(server, key, order=order, item=item)
    a, b, c = (server.item(order, item)["updated"] for item in "abc")

    assert find(server, order=order, since=b) == ["c", "b"]
    assert find(server, order=order, until=b) == ["a"]
    assert find(server, order=order, since=a, until=c) == ["b", "a"]
    assert find(server, since=c)[-1] == "c"
    assert find(server, order=order, since=b.replace("+00:00", "Z")) == ["c", "b"]
    assert find(server, since="2099-12-31T00:00:00Z") == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("state", "lost"),
        ("delayed", "perhaps"),
        ("test", "2"),
        ("limit", "0"),
        ("limit", str(LIMIT_MAX + 1)),
        ("limit", "many"),
        ("since", "yesterday"),
        ("until", "2016-02-30T00:00:00Z"),
        ("cursor", "x"),
        ("cursor", "f" * 14),
        ("cursor", ""),
        ("cursor", "-1"),
    ],
)
def test_a_bad_filter_is_told_in_a_sentence(server: Server, name: str, value: str) -> None:
    answer = server.get(f"/api/v1/items?{urlencode({name: value})}")
    assert answer.status == 400
    assert answer.json["detail"].startswith(f"{name}: "), answer


@pytest.mark.parametrize("name", ["delayed", "state", "limit"])
def test_a_filter_that_is_null_does_not_find_everything(server: Server, name: str) -> None:
    answer = server.get(f"/api/v1/items?{name}=null")

    assert answer.status == 400
    assert answer.json["detail"] == f"{name}: null is no value, leave it out"
    assert server.get("/api/v1/items?order=null").json["items"] == []


def test_a_filter_that_is_misspelt_does_not_find_everything(server: Server) -> None:
    for path in ("items", "signals", "partners", "items/1/2", "signals/live"):
        answer = server.get(f"/api/v1/{path}?tracknig=1")
        assert answer.status == 400
        assert answer.json["detail"].startswith("tracknig: there is no such parameter, ")
    detail = server.get("/api/v1/items?item_state=shipped").json["detail"]
    assert detail == (
        "item_state: there is no such parameter, there are order, item, tracking, state, partner,"
        " delayed, test, since, until, cursor, limit"
    )


# ---- pages ----


def test_pages_meet_every_item_once_while_items_change(server: Server, key: str) -> None:
    order = fresh("order")
    for number in range(7):
        post(server, key, order=order, item=str(number))

    met: list[str] = []
    cursor: dict[str, str] = {}
    for _ in range(9):
        got = page(server, order=order, limit=2, **cursor)
        met += [each["item"] for each in got["items"]]
        if got["next"] is None:
            break
        cursor = {"cursor": got["next"]}
        post(server, key, "ItemPacked", order=order, item="6")  # seen: moves to the front
        post(server, key, order=order, item=fresh("new"))  # new: comes before what was seen

    assert met == list("6543210")


def test_an_item_that_changes_before_its_page_moves_to_the_front(server: Server, key: str) -> None:
    order = fresh("order")
    for item in "abc":
        post(server, key, order=order, item=item)
    first = page(server, order=order, limit=1)
    post(server, key, "ItemPacked", order=order, item="a")

    assert find(server, order=order, cursor=first["next"]) == ["b"]
    assert find(server, order=order) == ["a", "c", "b"]


# ---- the log ----


def test_the_log_is_read_page_by_page(server: Server, key: str) -> None:
    sent = [post(server, key) for _ in range(5)]
    start = server.item(sent[0]["order"], sent[0]["item"])["position"] - 1

    read: list[Any] = []
    after = start
    while signals := (got := server.get(f"/api/v1/signals?after={after}&limit=2").json)["signals"]:
        assert len(signals) <= 2
        assert got["next"] == signals[-1]["position"]
        read += signals
        after = got["next"]

    assert [each["body"] for each in read] == sent
    assert got["next"] == after
    positions = [each["position"] for each in read]
    assert positions == sorted(set(positions))
    assert key not in str(read)


def test_a_position_beyond_the_log_waits_there(server: Server) -> None:
    assert server.get("/api/v1/signals?after=9007199254740991").json == {
        "signals": [],
        "next": 9007199254740991,
    }


@pytest.mark.parametrize("query", ["after=-1", "after=x", "limit=0", "after=9007199254740992"])
def test_a_bad_position_is_400(server: Server, query: str) -> None:
    answer = server.get(f"/api/v1/signals?{query}")
    assert answer.status == 400
    assert answer.json["detail"].startswith(query.partition("=")[0] + ": ")


def test_large_signals_make_a_page_shorter_and_none_is_left_out(server: Server, key: str) -> None:
    sent = [post(server, key, padding="x" * 900_000) for _ in range(7)]
    after = server.item(sent[0]["order"], sent[0]["item"])["position"] - 1

    sizes, read = [], []
    while signals := server.get(f"/api/v1/signals?after={after}&limit=7").json["signals"]:
        sizes.append(len(signals))
        read += [each["body"] for each in signals]
        after = signals[-1]["position"]

    assert sizes == [5, 2]
    assert read == sent


# ---- print partners and interfaces ----


def test_partners_and_interfaces_are_listed_without_keys(server: Server) -> None:
    made, number = server.numbered_interface(
        "Listed", timezone="Europe/Berlin", allow=("10.0.0.0/8",), test=True
    )

    partners = server.get("/api/v1/partners").json
    answer = server.get("/api/v1/interfaces", server.token("operator"))

    assert "Listed" in [each["partner"] for each in partners]
    (interface,) = [each for each in answer.json if each["interface"] == number]
    assert interface.pop("created").endswith("+00:00")
    assert interface == {
        "interface": number,
        "partner": "Listed",
        "state": "active",
        "test": True,
        "timezone": "Europe/Berlin",
        "allow": ["10.0.0.0/8"],
    }
    assert made not in answer.body.decode()
