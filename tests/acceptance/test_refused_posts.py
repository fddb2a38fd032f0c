"""What a server remembers of posts: how many came, why some were refused, and never a key."""

import html
import json
from collections import Counter
from typing import Any

import pytest

from cloudsignal.protocol.refusals import STATUS
from cloudsignal.server.insight.reporting import Tally
from cloudsignal.server.keys import new_apikey
from cloudsignal.server.store.orders import Registration
from tests.acceptance.conftest import (
    ENDPOINT,
    Answer,
    MakeServer,
    Server,
    eventually,
    make_server,
    signal,
)
from tests.acceptance.test_panel import Visitor, invite, link_of

__all__ = ["make_server"]

FLAGS = ("--strict-causes", "--bundle-max", "3", "--posts-per-minute", "40")
FLAGS += ("--unregistered-orders", "refuse", "--failed-keys-max", "3")
KNOWN, TAKEN = "known order", "another's order"
MARKUP = "<script>alert(1)</script>"


def item(type: str = "ItemPacked", **fields: Any) -> dict[str, Any]:
    """A signal about the order that is registered for everybody."""
    return signal(type, **{"order": KNOWN} | fields)


REFUSED: dict[str, dict[str, Any]] = {
    "missing_parameter": item(order=...),
    "invalid_parameter": item(item=4711, datetime="yesterday"),
    "invalid_datetime": item(datetime="2016-02-30"),
    "invalid_delay": item("ItemDelay", delay="soon"),
    "unlisted_cause": item("ItemCanceled", cause="CancelBookSise"),
    "unknown_type": item(f"ItemPackt{MARKUP}"),
    "type_removed": item("OrderRegistered"),
    "ambiguous_post": {"type": "ItemPacked", "items": [item()]},
    "empty_bundle": {"items": []},
    "bundle_too_large": {"items": [item()] * 4},
    "not_an_object": {"items": [item(), "ItemPacked"]},
    "unknown_order": item(order="nobody registered it"),
    "not_your_item": item(order=TAKEN),
}
"""What is wrong with posts themselves."""
CLOSED = ("key_disabled", "key_expired", "address_not_allowed", "too_many_requests")
"""Why an interface takes none."""
STRANGE = {
    *("invalid_http", "invalid_content_type", "invalid_json", "method_not_allowed"),
    *("version_removed", "body_too_large", "unknown_key", "wrong_kind_of_key"),
}
"""What is refused before it is known whose it is, and nothing else."""
ITS_OWN = {"defect", "overloaded", "unavailable"}
"""What is the server's own fault; tests of its parts count that."""


class Remembered:
    """A server that has refused a post for every reason there is, and what it answered each."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.answers: dict[str, Answer] = {}
        self.key, self.number = server.numbered_interface("Press")
        with server.store() as store:
            store.access.create_partner("Other", now=1)
            store.orders.create_owner("Books", now=1)
            orders = [Registration(KNOWN, "Books"), Registration(TAKEN, "Books", "Other")]
            store.orders.register(orders, now=1)
        for type, body in REFUSED.items():
            self.refuse(type, self.key, body)
        # By this print partners find out whether their key is good: it is not remembered.
        checked = server.post({"apikey": self.key, "items": [], "check": True})
        assert checked.error["type"] == "empty_bundle"
        self.closed = self._close()
        self.busy = server.numbered_interface("Beta")
        for _ in range(40):
            assert server.post(item() | {"apikey": self.busy[0]}).status == 200
        self.refuse("too_many_requests", self.busy[0], item())
        self.strange = self._strangers()
        # What was counted last is written when a server ends.
        server.restart()
        self.ada = Visitor(server)
        assert self.ada.accept(link_of(server), "Ada").status == 303
        self.token = server.token("operator")

    def refuse(self, type: str, key: str, body: dict[str, Any]) -> None:
        def refused() -> Answer | None:
            answer = self.server.post({"apikey": key} | body)
            return answer if answer.status != 200 else None

        # That an interface was changed is noticed a moment later.
        self.answers[type] = eventually(refused)
        assert self.answers[type].error["type"] == type

    def _close(self) -> list[int]:
        """Interfaces that take nothing any more."""
        off, number = self.server.numbered_interface("Press")
        self.server.cli("interface", "disable", str(number))
        self.refuse("key_disabled", off, item())
        old, other = self.server.numbered_interface("Press")
        self.server.cli("interface", "rotate", str(other), "--overlap-hours", "0")
        self.refuse("key_expired", old, item())
        far, third = self.server.numbered_interface("Press", allow=("192.0.2.7",))
        self.refuse("address_not_allowed", far, item())
        return [number, other, third]

    def _strangers(self) -> Counter[str]:
        """Posts of nobody knows whom: how many of which type."""
        server, key = self.server, self.key
        answers = [
            server.post_raw(f"{key}\r\n\r\n".encode()),
            server.post(item(), headers={"Content-Type": f"text/{key}"}),
            server.post(f'{{"apikey": "{key}", }}'.encode()),
            server.post(f'{{"apikey": "{key}"'.encode()),
            server.post(f'["{key}"]'.encode()),
            server.post(item() | {"apikey": [key]}),
            server.post(b'{"x":"%s"}' % (b"x" * (1 << 20))),
            server.request("GET", f"{ENDPOINT}?apikey={key}"),
            server.post(item(), path="/cloudsignal/1.1/status/"),
            server.post(item() | {"apikey": server.token()}),
            *(server.post(item() | {"apikey": new_apikey(), "x": MARKUP}) for _ in range(3)),
        ]
        return Counter(each.error["type"] for each in answers)

    def refusals(self, query: str = "") -> list[dict[str, Any]]:
        """Refused posts, as the API has them."""
        answer = self.server.get(f"/api/v1/refusals?limit=100&{query}", self.token)
        found: list[dict[str, Any]] = answer.json["refused"]
        return found


@pytest.fixture(scope="module")
def remembered(server: Server) -> Remembered:
    return Remembered(server)


def page(visitor: Visitor, query: str = "") -> str:
    answer = visitor.get(f"/panel/refusals{query}")
    assert answer.status == 200, answer
    return html.unescape(answer.body.decode())


# ---- with a known key ----


def test_every_reason_is_one_of_these() -> None:
    assert {*REFUSED, *CLOSED, *STRANGE} | ITS_OWN == set(STATUS)


def test_every_refused_post_of_an_interface_is_there_with_its_sentences(
    remembered: Remembered,
) -> None:
    seen = page(remembered.ada)
    for type, answer in remembered.answers.items():
        [kept, *_] = remembered.refusals(f"type={type}")
        assert (kept["type"], kept["status"]) == (type, answer.status)
        assert kept["problems"] == answer.error["details"]
        assert kept["address"] == "127.0.0.1"
        for each in answer.error["details"]:
            assert each["info"] in seen
    every = [each["type"] for each in remembered.refusals()]
    assert set(every) == {*REFUSED, *CLOSED}
    assert every[-len(REFUSED) :][::-1] == list(REFUSED)


def test_what_was_wrong_with_a_post_can_be_looked_at(remembered: Remembered) -> None:
    def body(type: str) -> str:
        [kept, *_] = remembered.refusals(f"type={type}")
        return str(kept["body"])

    for type in REFUSED.keys() - {"not_an_object"}:
        assert json.loads(body(type)) == REFUSED[type], type
    assert body("not_an_object") == 'items[1]: "ItemPacked"'
    assert {body(type) for type in CLOSED} == {""}
    assert MARKUP not in remembered.ada.get("/panel/refusals").body.decode()


def test_what_came_is_counted_by_interface_and_print_partner(remembered: Remembered) -> None:
    with remembered.server.store() as store:
        by_interface, by_partner = store.posts.of_interfaces(0), store.posts.of_partners(0)
    one = by_interface[remembered.number]
    assert {type: each.posts for type, each in one.refused.items()} == dict.fromkeys(REFUSED, 1)
    assert (one.accepted, one.posts) == (0, len(REFUSED))
    busy = by_interface[remembered.busy[1]]
    assert (busy.accepted, busy.refusals) == (40, 1)
    assert by_partner["Beta"].tally == Tally(0, 40)
    # A disabled key and an order that was not registered are no faults of its own.
    assert by_partner["Press"].tally.offending == len(REFUSED) - 1 + 2
    listed = remembered.server.cli_json("interface", "list")
    [shown] = [each for each in listed if each["interface"] == remembered.busy[1]]
    assert (shown["posts_last_day"], shown["refused_last_day"]) == (41, 1)
    assert shown["last_used"].endswith("+00:00")


# ---- filters and pages ----


def test_refused_posts_are_filtered_and_paged(remembered: Remembered) -> None:
    visitor, (off, *_) = remembered.ada, remembered.closed
    only = page(visitor, f"?partner=Press&interface={off}&reason=key_disabled")
    assert "interface is disabled or revoked" in only
    assert "item must be a string" not in only
    assert "item must be a string" not in page(visitor, "?partner=Beta&interface=&reason=")
    older = page(visitor, "?before=3")
    assert "item must be a string" in older
    assert "there is no type" not in older
    assert "There are no older ones." in page(visitor, "?before=1")
    for query in (
        "partner=Nobody",
        "interface=99",
        "interface=x",
        "reason=x",
        f"interface={2**70}",
    ):
        assert visitor.get(f"/panel/refusals?{query}").status == 404, query
    assert visitor.get(f"/panel/refusals?before={2**70}").status == 400
    assert [each["id"] for each in remembered.refusals("before=3")] == [2, 1]
    assert {each["partner"] for each in remembered.refusals("partner=Beta")} == {"Beta"}
    assert {each["interface"] for each in remembered.refusals(f"interface={off}")} == {off}
    first = remembered.server.get("/api/v1/refusals?limit=2", remembered.token).json
    assert first["next"] == first["refused"][-1]["id"]


def test_every_reason_says_what_to_do(remembered: Remembered) -> None:
    answer = remembered.ada.get("/panel/refusals/reasons")
    assert all(f'id="{type}"' in answer.body.decode() for type in STATUS)
    assert "/panel/refusals/reasons#unknown_type" in page(remembered.ada)


# ---- who sees what ----


def test_a_print_partner_sees_its_own_and_nothing_else(remembered: Remembered) -> None:
    server, beta = remembered.server, Visitor(remembered.server)
    assert beta.accept(invite(server, "Bea", "--role", "partner", "--of", "Beta")).status == 303
    seen = page(beta)
    assert "may send 40 posts a minute" in seen
    for other in ("Press", "item must be a string", "With no known key", "unknown_key</a>"):
        assert other not in seen
    hidden = (f"interface={remembered.number}", "partner=Press", "partner=Nobody")
    for query in hidden:
        assert beta.get(f"/panel/refusals?{query}").status == 404
        assert beta.get(f"/panel/refusals?{query}&as=csv").status == 404
    csv = beta.get("/panel/refusals?as=csv").body.decode("utf-8-sig")
    assert csv.startswith(
        '"When, UTC",Print partner,Interface,From,Status,Reason,What was answered'
    )
    assert ",Beta," in csv
    assert ",Press," not in csv
    assert beta.get("/panel/refusals/reasons").status == 200
    owner = Visitor(server)
    assert owner.accept(invite(server, "Olga", "--role", "owner", "--of", "Books")).status == 303
    assert owner.get("/panel/refusals").status == 403
    assert server.get("/api/v1/refusals").status == 403


# ---- with no known key ----


def test_posts_of_nobody_are_counted_and_nothing_of_them_is_kept(remembered: Remembered) -> None:
    with remembered.server.store() as store:
        counted = {type: each.posts for type, each in store.posts.of_strangers(0).items()}
        places = store.posts.strangers(0, limit=99)
    assert counted == remembered.strange
    assert counted.keys() > STRANGE
    assert {each.type: each.posts for each in places} == counted
    assert {each.address for each in places} == {"127.0.0.1"}
    seen = page(remembered.ada)
    assert "With no known key" in seen
    assert "<td>127.0.0.1</td>" in seen


# ---- keys ----


def escaped(text: str) -> str:
    return "".join(f"\\u{ord(each):04x}" for each in text)


def tricky(key: str, other: str) -> list[str]:
    """Bodies that are refused, and have keys in all kinds of places."""
    known = f'"apikey": "{key}"'
    return [
        f'{{{known}, "type": "{key}"}}',
        f'{{{known}, "{key}": "{other}", "x": ["{key.upper()}"]}}',
        f'{{"apikey": "{other}", {known}, "api_key": "{other}"}}',
        f'{{{known}, "item": "{escaped(key)}", "order": "\\u0030{other}"}}',
        f'{{{known}, "ApiKey": "{key}", "note": "apikey={key}&x={other}", "type": "ItemPacked"}}',
        f'{{{known}, "items": [{{"apikey": "{key}", "type": "{other}"}}, "{key}"]}}',
        f'{{{known}, "items": [{{"apikey": {{"apikey": "{key}"}}, "item": "{key}"}}]}}',
        f'{{{known}, "items": {{"{key}": "{key}"}}}}',
        f'{{{known}, "items": [], "type": "{key}", "datetime": "{other}"}}',
        f'{{{known}, "message": "{"x" * 3_950}{key}", "order": "{key}"}}',
        f'{{{known}, "type": "ItemPacked", "order": "{KNOWN}", "item": "{key}", "datetime": "{key}"}}',
        # These have no key that is known.
        f'{{{known}, "type": "ItemPacked"',
        f'{{{known}, "type": "ItemPacked", "x": "{key}",}}',
        f'{{"apikey": "{key} ", "x": "{key}"}}',
        f'{{"apikey": "{other}", "x": "{key}"}}',
        f'{{"apikey": "{key.upper()}", "x": "{other}"}}',
        f'{{"apikey": ["{key}"], "x": "{other}"}}',
        f'"{key}"',
        f'["{key}"]',
        f"apikey={key}",
        f'{{"\\u0061pikey": "{escaped(key)}", "type": "x{key}"}}',
    ]


def test_a_key_is_nowhere_in_the_store(make_server: MakeServer) -> None:
    server = make_server("--failed-keys-max", "100", "--trusted-proxies", "127.0.0.1").start()
    token, other = server.token("operator"), new_apikey()
    count = len(tricky(other, other))
    # Of each interface a few only are kept at once.
    keys = [server.interface() for _ in range(count)]
    for index, key in enumerate(keys):
        body = tricky(key, other)[index].encode()
        from_where = {"Content-Type": "application/json", "X-Forwarded-For": key}
        assert 400 <= server.post(body, headers=from_where).status < 500, body

    def are_written() -> bool:
        with server.store() as store:
            known = sum(each.posts for each in store.posts.of_interfaces(0).values())
            return known + sum(each.posts for each in store.posts.of_strangers(0).values()) == count

    def assert_no_key() -> None:
        files = b"".join(each.read_bytes() for each in server.folder.glob("cloudsignal.db*"))
        assert b"refusals" in files
        for each in (*keys, other):
            for spelt in (each, each[:16], each[16:], escaped(each)):
                assert spelt.encode() not in files.lower(), spelt

    eventually(are_written)
    assert_no_key()  # The write-ahead log is among these files.
    answer = server.get("/api/v1/refusals?limit=100", token)
    assert len(answer.json["refused"]) == 12
    assert all(each["body"] for each in answer.json["refused"])
    assert not any(key.encode() in answer.body.lower() for key in (*keys, other))
    server.restart()
    assert_no_key()


# ---- several processes ----


def test_what_several_processes_count_adds_up(make_server: MakeServer, postgresql_url: str) -> None:
    server = make_server("--workers", "3", database=postgresql_url).start()
    key, number = server.numbered_interface("Press")
    accepted, refused = signal() | {"apikey": key}, signal("x") | {"apikey": key}
    # Connections are shared out: of so many each process gets some.
    for _ in range(30):
        assert eventually(lambda: server.post(accepted).status == 200)
        assert server.post(refused).status == 400
        assert server.post(refused | {"apikey": "x"}).status in (401, 429)

    assert server.terminate() == 0

    with server.store() as store:
        came = store.posts.of_interfaces(0)[number]
        kept = store.posts.refused(limit=99)
        strangers = store.posts.of_strangers(0)
    assert (came.accepted, came.refusals) == (30, 30)
    assert 5 <= len(kept) <= 20
    assert sum(each.posts for each in strangers.values()) == 30
