"""Work on the panel, over HTTP: finding things, what a page tells of them, lists, and who sees what."""

import csv
import io
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest

from cloudsignal.protocol.items import FINDINGS
from cloudsignal.server import clock
from cloudsignal.server.invitations import invite
from cloudsignal.server.panel import lists
from cloudsignal.server.store.orders import Registration
from tests.acceptance.conftest import Answer, Server, eventually, signal
from tests.acceptance.test_delivery import add_endpoint, post
from tests.acceptance.test_panel import Visitor, link_of
from tests.owner import FLAGS as LOCAL
from tests.owner import Owner, receiving

FLAGS = (*LOCAL, "--tracking-urls", "UPS=https://ups.example/{tracking}")
MARKUP = "<script>alert(1)</script><img src=x onerror=alert(2)>'\""
ODD_IDS = (
    "a/b?c=d&e=%41#f",
    "..",
    ".",
    "/",
    "a//b\\c",
    "%2e%2e%2f",
    "ü☃\U0001f600",
    "+ =",
    " x ",
    MARKUP[:128],
    "\U0001f600" * 128,
    "null",
)
"""What print partners may call things, and URLs have to lead to."""

INLINE = {"a", "span", "strong", "time"}


class Page(HTMLParser):
    """A page: its words, where its links lead, the rows of its tables, and which elements it has."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.status = answer.status
        self.links: dict[str, str] = {}
        self.rows: list[list[str]] = []
        self.tags: set[str] = set()
        self.titles: list[str] = []
        self.words = ""
        self._link = ""
        self._in = ""
        self._in_cell = False
        self.feed(answer.body.decode())
        self.words = " ".join(self.words.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self._in = tag
        if tag == "a":
            self._link = dict(attrs)["href"] or ""
        elif tag == "tr":
            self.rows.append([])
        elif tag == "td":
            self.rows[-1].append("")
            self._in_cell = True
        self.words += "" if tag in INLINE else " "

    def handle_endtag(self, tag: str) -> None:
        self._in = ""
        if tag == "a":
            self._link = ""
        elif tag == "td":
            self._in_cell = False
        self.words += "" if tag in INLINE else " "

    def handle_data(self, data: str) -> None:
        self.words += data
        if self._in == "title":
            self.titles.append(data)
        if self._link and data.strip():
            self.links.setdefault(data, self._link)
        if self._in_cell:
            self.rows[-1][-1] += data

    @property
    def table(self) -> list[list[str]]:
        """The rows with values."""
        return [[cell.strip() for cell in row] for row in self.rows if row]


class World:
    """A server with two print partners, two owners of whom one is told, and somebody of every role."""

    def __init__(self, server: Server, owner: Owner) -> None:
        self.server = server
        self.alpha, self.alpha_interface = server.numbered_interface("Alpha")
        self.beta, self.beta_interface = server.numbered_interface("Beta")
        self.test, _ = server.numbered_interface("Alpha", test=True)
        add_endpoint(server, owner.url, "Books")
        with server.store() as store:
            store.orders.create_owner("Ink", now=clock.now())
        self.register(
            "100", reference="web-1", items={"100-1": "cover", "100-2": "body"}, due=10**15
        )
        self.register(
            "200", "Ink", partner_name="Beta", reference="ink-1", items={"200-1": "poster"}
        )
        self.people: dict[str, Visitor] = {"Ada": Visitor(server)}
        assert self.people["Ada"].accept(link_of(server), "Ada").status == 303
        for name, whose in (
            ("Rita", {"role": "reader"}),
            ("Pat", {"role": "partner", "partner": 1}),
            ("Bea", {"role": "partner", "partner": 2}),
            ("Olga", {"role": "owner", "owner": 1}),
            ("Ines", {"role": "owner", "owner": 2}),
        ):
            self.people[name] = Visitor(server)
            assert self.people[name].accept(self._invited(name, whose)).status == 303

    def _invited(self, name: str, whose: dict[str, Any]) -> str:
        """The path of the link for somebody who is added."""
        with self.server.access() as (_, keyring), self.server.store() as store:
            user = store.users.create(name, **whose, now=clock.now())
            return invite(store, keyring, user.id, now=clock.now())

    def register(self, order: str, owner: str = "Books", **told: Any) -> None:
        with self.server.store() as store:
            store.orders.register([Registration(order, owner, **told)], now=clock.now())

    def tell(self, *signals: dict[str, Any], key: str = "") -> None:
        post(self.server, key or self.alpha, *signals)

    def get(self, path: str, name: str = "Ada") -> Page:
        return Page(self.people[name].get(f"/panel{path}"))

    def csv(self, path: str, name: str = "Ada") -> list[list[str]]:
        """The list at a path as CSV, without its head."""
        answer = self.people[name].get(f"/panel{path}{'&' if '?' in path else '?'}as=csv")
        assert answer.status == 200, answer
        assert answer.headers["content-type"].startswith("text/csv; charset=utf-8")
        assert answer.body.startswith(b"\xef\xbb\xbf")
        return list(csv.reader(io.StringIO(answer.body.decode("utf-8-sig"), newline="")))[1:]


@pytest.fixture(scope="module")
def owner() -> Iterator[Owner]:
    with receiving() as owner:
        yield owner


@pytest.fixture(scope="module")
def world(server: Server, owner: Owner) -> World:
    world = World(server, owner)
    shipped = {"tracking": "1Z 9/9", "shipping_option": "UPS", "datetime": "2016-01-21T08:00:00Z"}
    world.tell(
        signal(order="100", item="100-1", datetime="2016-01-20T13:00:00Z"),
        signal("ItemProduce", order="100", item="100-1", datetime="2016-01-20T17:30:00Z"),
        signal("ItemShipped", order="100", item="100-1", **shipped),
    )
    world.tell(signal("ItemPacked", order="100", item="100-1", datetime="2016-01-20T18:00:00Z"))
    world.tell(signal(order="200", item="200-1"), key=world.beta)
    world.tell(signal(order="300", item="300-1"), key=world.test)
    return world


def item_path(order: str, item: str) -> str:
    return "/item?" + urlencode({"order": order, "item": item}, quote_via=quote, safe="")


def order_path(order: str) -> str:
    return "/order?" + urlencode({"order": order}, quote_via=quote, safe="")


# ---- search ----


@pytest.mark.parametrize(
    ("text", "leads_to"),
    [
        ("300-1", item_path("300", "300-1")),
        ("1z 9", item_path("100", "100-1")),
        ("web-1", order_path("100")),
        ("body", item_path("100", "100-2")),
        (" ink-1\n", order_path("200")),
    ],
)
def test_one_hit_leads_straight_to_its_page(world: World, text: str, leads_to: str) -> None:
    answer = world.people["Ada"].get(f"/panel/search?{urlencode({'q': text})}")

    assert (answer.status, answer.headers["location"]) == (303, f"/panel{leads_to}")
    assert world.get(leads_to).status == 200


def test_several_hits_are_listed_with_what_they_are(world: World) -> None:
    page = world.get("/search?q=100")

    assert page.table == [
        ["100", "order", "100", ""],
        ["100-1", "item", "100", "100-1"],
        ["100-2", "item", "100", "100-2"],
    ]
    assert page.links["100-2"] == "/panel" + item_path("100", "100-2")
    assert world.csv("/search?q=100") == page.table
    # As a list it is one however short it is.
    assert world.csv("/search?q=web-1") == [["web-1", "reference of an order", "100", ""]]


@pytest.mark.parametrize("text", ["", "nothing is called so", "\\", "%"])
def test_where_nothing_is_found_it_is_said_what_can_be_looked_for(world: World, text: str) -> None:
    page = world.get(f"/search?{urlencode({'q': text})}")

    assert page.status == 200
    assert ("Nothing is called so" in page.words) == bool(text)
    assert "the id of an order or of an item, a tracking number" in page.words


def test_whoever_is_signed_in_can_search_on_every_page(world: World) -> None:
    for name, person in world.people.items():
        for path in ("/panel/", "/panel/account", "/panel/order?order=nowhere"):
            assert b'role="search" action="/panel/search"' in person.get(path).body, (name, path)
    assert b'role="search"' not in Visitor(world.server).get("/panel/login").body


# ---- one order, one item ----


def test_an_order_tells_what_is_registered_and_how_its_items_stand(world: World) -> None:
    page = world.get(order_path("100"))

    for said in ("1 shipped, 1 unheard", "Books", "web-1", "2001-09-09 01:46:40 UTC"):
        assert said in page.words
    assert [row[:3] for row in page.table] == [
        ["100-1", "cover", "shipped"],
        ["100-2", "body", "unheard"],
    ]
    assert [row[:3] for row in world.csv(order_path("100"))] == [row[:3] for row in page.table]
    only_heard = world.get(order_path("300"))
    assert "no: what is known of it is what signals tell" in only_heard.words
    assert [row[:3] for row in only_heard.table] == [["300-1", "", "registered"]]
    assert world.get(order_path("400")).status == 404
    assert world.get("/order").status == 404


def test_an_item_tells_how_it_stands_and_draws_its_steps(world: World) -> None:
    page = world.get(item_path("100", "100-1"))

    for said in (
        "shipped",
        "called web-1",
        "Reference cover",
        "Owner Books",
        "Print partner Alpha",
    ):
        assert said in page.words
    assert page.links["1Z 9/9"] == "https://ups.example/1Z%209%2F9"
    assert {"svg", "rect", "circle"} <= page.tags
    for step in (
        "registered to shipped: 19 h",
        "registered to producing: 4 h 30 min",
        "producing to produced: not reported",
        "produced to packed: not reported",
        "packed to shipped: 14 h",
    ):
        assert step in page.words, step
    assert (
        "registered to shipped: 19 h, 2016-01-20 13:00:00 to 2016-01-21 08:00:00 UTC" in page.titles
    )
    assert "packed: 2016-01-20 18:00:00 UTC" in page.titles
    # The same as a table.
    assert ["2016-01-20 13:00:00", "2016-01-20 17:30:00", "4 h 30 min"] in page.table


def test_the_timeline_tells_what_is_odd_and_what_was_forwarded(world: World, owner: Owner) -> None:
    owner.receives(4)

    def forwarded() -> Page | None:
        page = world.get(item_path("100", "100-1"))
        return page if page.words.count("taken, HTTP 200") == 4 else None

    page = eventually(forwarded, "the deliveries are not on the page")

    packed, shipped, produce, registered = page.words.split("Happened ")[1:]
    assert packed.startswith("2016-01-20 18:00:00 UTC Received 20")
    assert f"late: {FINDINGS['late']}" in packed
    assert f"slow_report: {FINDINGS['slow_report']}" in packed
    assert f"late: {FINDINGS['late']}" not in shipped + produce + registered
    assert "Tracking 1Z 9/9 Shipping option UPS" in shipped
    for each in (packed, shipped, produce, registered):
        assert f"interface {world.alpha_interface} of Alpha, live" in each
        assert f"to endpoint 1 of Books, {owner.url}: delivered" in each
        assert re.search(r"attempt 1: taken, HTTP 200, after \d+ ms", each)
    assert '"type":"ItemProduce"' in produce.replace(" ", "")
    assert world.alpha not in page.words
    assert re.search(r"Received \S+ \S+ UTC, \d+ d( \d+ h)? later", registered)


def test_an_item_that_is_registered_only_has_a_page(world: World) -> None:
    page = world.get(item_path("100", "100-2"))

    assert "registered, but no signal has come" in page.words
    assert "Reference body" in page.words
    assert "svg" not in page.tags
    assert world.get(item_path("100", "100-9")).status == 404


def test_test_signals_say_so_and_are_forwarded_to_nobody(world: World) -> None:
    page = world.get(item_path("300", "300-1"))

    assert "of Alpha, test" in page.words
    assert "Forwarded to nobody that is known" in page.words


def test_a_long_timeline_comes_in_pages(world: World) -> None:
    several = [
        signal("ItemProduce", order="long", item="1", datetime=f"2016-01-20T13:{n:02}:00Z")
        for n in range(60)
    ]
    world.tell(*several)

    first = world.get(item_path("long", "1"))
    second = world.get(first.links["Older ones"].removeprefix("/panel"))

    assert first.words.count("Happened") == 50
    assert second.words.count("Happened") == 10
    assert "13:09:00" in second.words
    assert "Older ones" not in second.links


# ---- whatever things are called ----


@pytest.mark.parametrize("odd", ODD_IDS, ids=ascii)
def test_whatever_an_order_or_an_item_is_called_its_pages_are_there(world: World, odd: str) -> None:
    world.tell(signal(order=odd, item=odd))

    listed = world.get("/items?" + urlencode({"order": odd}))
    assert [row[:2] for row in listed.table] == [[odd.strip(), odd.strip()]]
    for path in (item_path(odd, odd), order_path(odd)):
        page = world.get(path)
        assert page.status == 200, path
        assert " ".join(odd.split()) in page.words
        assert "img" not in page.tags
    assert world.csv("/items?" + urlencode({"order": odd}))[0][0] in (odd, f"'{odd}")
    assert len(world.csv(order_path(odd))) == 1
    stranger = Visitor(world.server).get(f"/panel{item_path(odd, odd)}")
    next = parse_qs(urlsplit(stranger.headers["location"]).query)["next"][0]
    fields = {"name": "Ada", "password": "four words nobody says", "next": next}
    assert (
        Visitor(world.server).post("/panel/login", fields).headers["location"]
        == f"/panel{item_path(odd, odd)}"
    )


def test_whatever_a_print_partner_says_stays_words(world: World) -> None:
    world.tell(
        signal("ItemDelay", order="m", item="1", cause=MARKUP, delay="1"),
        signal("ItemShipped", order="m", item="1", tracking=MARKUP, shipping_option=MARKUP),
        signal("ItemCanceled", order="m", item="2", cause=MARKUP, message=MARKUP, extra=MARKUP),
    )
    world.tell(signal(order="m", item=MARKUP))
    for path in (
        *(item_path("m", each) for each in ("1", "2", MARKUP)),
        order_path("m"),
        "/items?order=m",
        "/search?" + urlencode({"q": MARKUP[:9]}),
    ):
        page = world.get(path)
        assert MARKUP in page.words, path
        assert "img" not in page.tags, path


# ---- lists ----


def test_items_are_chosen_and_what_is_misspelt_is_said(world: World) -> None:
    def items(query: str) -> set[str]:
        page = world.get(f"/items?{query}")
        assert page.status == 200, page.words
        return {row[0] for row in page.table}

    assert {"100-1"} <= items("state=shipped") <= items("")
    assert items("partner=Beta") == {"200-1"}
    assert items("test=yes") == {"300-1"}
    assert "300-1" not in items("test=no")
    assert "100-1" not in items("delayed=yes")
    assert items("order=100&state=&partner=&since=") == {"100-1"}
    assert items("since=2016-01-01&until=2017-01-01") == set()
    assert "100-1" in items("since=2017-01-01T00:00")
    for query, why in (
        ("stat=shipped", "There is no filter 'stat': there are state, partner"),
        ("state=lost", "There is no state 'lost'."),
        ("partner=Gamma", "There is no print partner 'Gamma'."),
        ("delayed=maybe", "There is no delayed: 'maybe'."),
        ("since=yesterday", "Since: write it like 2016-01-20 13:00:00"),
        ("until=2016-02-30", "Until: "),
    ):
        for form in ("", "&as=csv"):
            page = world.get(f"/items?{query}{form}")
            assert page.status == 400, query
            assert why in page.words
            assert page.table == []
    for query in ("before=x", "before=0", "before=99999999999999999999", "order=%00"):
        assert world.get(f"/items?{query}").status == 400, query


def test_a_list_goes_on_on_its_next_page_and_its_csv_has_all_of_it(world: World) -> None:
    world.tell(*(signal(order="many", item=f"{number:03}") for number in range(120)))
    wanted = [f"{number:03}" for number in range(119, -1, -1)]

    pages, path = [], "/items?order=many"
    while path:
        page = world.get(path)
        pages.append([row[0] for row in page.table])
        path = f"/items{page.links['Older ones']}" if "Older ones" in page.links else ""

    assert [len(each) for each in pages] == [lists.PAGE, lists.PAGE, 20]
    assert [item for each in pages for item in each] == wanted
    assert [row[0] for row in world.csv("/items?order=many")] == wanted
    assert [row[0] for row in world.csv(order_path("many"))] == wanted[::-1]
    first = world.get(order_path("many"))
    second = world.get(f"/order{first.links['Further ones']}")
    assert [row[0] for row in first.table + second.table][:100] == wanted[::-1][:100]


def test_csv_says_what_the_list_does_and_no_more(world: World) -> None:
    tricky = '=HYPERLINK("http://evil.example","a, b")'
    world.tell(
        signal("ItemDelay", order="csv", item="+1", cause=f"{tricky}\nsecond line\r\n", delay="2"),
        signal("ItemDelay", order="csv", item='quo"te,', cause="-2+3", delay="2"),
        signal("ItemDelay", order="csv", item="@x", cause="plain", delay="2"),
    )
    page, rows = world.get("/items?order=csv"), world.csv("/items?order=csv")

    assert [row[0] for row in rows] == ["'@x", 'quo"te,', "'+1"]
    assert [row[7] for row in rows] == ["plain", "'-2+3", f"'{tricky}\nsecond line\r\n"]
    for row, shown in zip(rows, page.table, strict=True):
        told = [cell.removeprefix("'").strip() for cell in row]
        told[6] = told[6].replace("T", " ").replace("Z", "")
        assert [" ".join(each.split()) for each in told] == [
            " ".join(each.split()) for each in shown
        ]
    head = world.people["Ada"].get("/panel/items?order=csv&as=csv")
    assert head.headers["content-disposition"] == 'attachment; filename="items.csv"'
    assert head.headers["cache-control"] == "no-store"


def test_changes_are_a_list_like_any_other(world: World) -> None:
    page, rows = world.get("/changes"), world.csv("/changes")

    assert [row[3] for row in rows][: len(page.table)] == [row[3] for row in page.table]
    [made] = [row for row in rows if row[3:5] == ["owner created", "Ink"]]
    assert made[6] == '{"unregistered":false}'
    assert world.get("/changes?as=csv", "Rita").status == 403


def test_an_owners_orders_are_listed(world: World) -> None:
    assert "100" not in world.get("/orders").words.split()
    page = world.get("/orders?owner=Books")
    assert page.table[-1][:4] == ["100", "web-1", "", "1 shipped, 1 unheard"]
    assert world.csv("/orders?owner=Books")[-1][4] == "2001-09-09T01:46:40Z"
    assert world.get("/orders?owner=Nobody").status == 400
    assert "There is no owner called 'Nobody'." in world.get("/orders?owner=Nobody").words


def test_filters_are_saved_used_and_removed_by_their_user(world: World) -> None:
    rita, ada = world.people["Rita"], world.people["Ada"]
    saved = {"list": "items", "name": "<b>odd</b>", "query": "state=shipped&order=a%2Fb%26c"}

    answer = rita.post("/panel/filters", saved)

    assert answer.headers["location"] == "/panel/items?state=shipped&order=a%2Fb%26c"
    page = world.get("/items", "Rita")
    assert page.links["<b>odd</b>"] == "/panel/items?state=shipped&order=a%2Fb%26c"
    assert "<b>odd</b>" not in world.get("/items").links
    assert "<b>odd</b>" not in world.get("/orders", "Rita").links
    [number] = re.findall(rb'/panel/filters/(\d+)/remove"', rita.get("/panel/items").body)
    gone = f"/panel/filters/{number.decode()}/remove"
    assert ada.post(gone, {"list": "items"}).status == 404
    assert "<b>odd</b>" in world.get("/items", "Rita").links
    answer = rita.post(gone, {"list": "items", "query": "state=packed"})
    assert answer.headers["location"] == "/panel/items?state=packed"
    assert "<b>odd</b>" not in world.get("/items", "Rita").links


@pytest.mark.parametrize(
    ("fields", "status", "why"),
    [
        ({"name": " "}, 400, "A name has 1 to 100 printable characters."),
        ({"name": "x" * 101}, 400, "A name has 1 to 100 printable characters."),
        ({"query": "order=" + "x" * 5000}, 400, "This filter is too long to be saved."),
        ({"list": "../users"}, 404, "There is no such page here."),
        ({"list": "/evil.example"}, 404, "There is no such page here."),
        ({"list": ""}, 404, "There is no such page here."),
    ],
)
def test_a_filter_that_cannot_be_saved_says_why(
    world: World, fields: dict[str, str], status: int, why: str
) -> None:
    given = {"list": "items", "name": "late", "query": "delayed=yes"}
    page = Page(world.people["Rita"].post("/panel/filters", given | fields))

    assert page.status == status
    assert why in page.words


def test_there_are_not_more_filters_than_there_may_be(world: World) -> None:
    bea = world.people["Bea"]
    for number in range(50):
        fields = {"list": "items", "name": f"{number}", "query": "state=packed"}
        assert bea.post("/panel/filters", fields).status == 303
    page = Page(bea.post("/panel/filters", fields | {"name": "one more"}))
    assert page.status == 400
    assert "You have 50 filters, which is as many as there may be" in page.words


# ---- who sees what ----

SEES: dict[str, set[str]] = {
    "Ada": {"100", "200", "300"},
    "Rita": {"100", "200", "300"},
    "Pat": {"100", "300"},
    "Bea": {"200"},
    "Olga": {"100"},
    "Ines": {"200"},
}
"""The orders that everybody sees."""


@pytest.mark.parametrize("name", SEES)
def test_everybody_sees_their_own_and_nothing_else(world: World, name: str) -> None:
    for order, item, text in (
        ("100", "100-1", "1Z 9"),
        ("200", "200-1", "ink-1"),
        ("300", "300-1", "300"),
    ):
        is_seen = order in SEES[name]
        status = 200 if is_seen else 404
        for path in (order_path(order), item_path(order, item)):
            assert world.get(path, name).status == status, path
            answer = world.people[name].get(f"/panel{path}&as=csv")
            assert answer.status == status, path
        assert (item in [row[0] for row in world.csv(f"/items?order={order}", name)]) == is_seen
        assert (
            item in [row[0] for row in world.get(f"/items?order={order}", name).table]
        ) == is_seen
        assert bool(world.csv(f"/search?{urlencode({'q': text})}", name)) == is_seen
    listed = {row[1] for row in world.csv("/items", name)}
    assert listed & {"100", "200", "300"} == SEES[name]


def test_an_owner_sees_its_orders_and_no_other_ones(world: World) -> None:
    assert [row[0] for row in world.get("/orders", "Ines").table] == ["200"]
    assert [row[0] for row in world.csv("/orders?owner=Ink", "Ines")] == ["200"]
    for form in ("", "&as=csv"):
        assert world.get(f"/orders?owner=Books{form}", "Ines").status == 404
        assert world.get(f"/orders?owner=Books{form}", "Pat").status == 403


def test_an_owner_does_not_see_who_prints_and_how_it_is_reported(
    world: World, owner: Owner
) -> None:
    owner.receives(4)
    for path in (
        item_path("100", "100-1"),
        order_path("100"),
        "/items",
        "/orders",
        "/search?q=100",
    ):
        page = world.get(path, "Olga")
        for hidden in (
            "Alpha",
            "interface",
            "Interface",
            "Finding",
            "late:",
            "slow_report",
            "apikey",
        ):
            assert hidden not in page.words, (path, hidden)
    page = world.get(item_path("100", "100-1"), "Olga")
    assert "pre" not in page.tags
    assert "Reference cover" in page.words
    assert "Tracking 1Z 9/9" in page.words
    assert f"to endpoint 1 of Books, {owner.url}" in page.words
    assert all("Alpha" not in row and "late" not in row for row in world.csv("/items", "Olga"))


def test_a_print_partner_does_not_see_whose_orders_are_and_what_was_forwarded(
    world: World, owner: Owner
) -> None:
    owner.receives(4)
    for path in (item_path("100", "100-1"), order_path("100"), "/items", "/search?q=100"):
        page = world.get(path, "Pat")
        for hidden in ("Books", "endpoint", "Forwarded", owner.url):
            assert hidden not in page.words, (path, hidden)
    page = world.get(item_path("100", "100-1"), "Pat")
    assert f"interface {world.alpha_interface} of Alpha" in page.words
    assert "pre" in page.tags
    assert "Reference cover" in page.words
