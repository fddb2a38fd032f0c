"""The pages of insight over HTTP: the right figures of a small known history, who sees them, and calendars.

Of Alpha, in hours since it registered its items: a1 to a4 were shipped after 10, 20, 30 and 40, and due after 12 (two of
them) and 36; a4 was announced to be a day late. a5 is in production and overdue, a6 was canceled before it was due,
a7 was never registered, and a8 is dated ahead. Beta shipped one item after 25 hours and canceled one; its texts are markup.
"""

import io
from csv import reader
from datetime import UTC, datetime
from typing import Any

import pytest

from cloudsignal.server import clock
from cloudsignal.server.insight import buckets
from cloudsignal.server.invitations import invite
from cloudsignal.server.panel import words
from cloudsignal.server.store.orders import Registration
from tests.acceptance.conftest import Server, eventually, signal
from tests.acceptance.test_delivery import post
from tests.acceptance.test_panel import Visitor, link_of
from tests.acceptance.test_panel_work import Page

MARKUP = "<script>alert(1)</script><img src=x onerror=alert(2)>'\""
HOUR = 3600
DAY = 24 * HOUR
BEGAN = -5 * 24
"""When items were registered, in hours from now."""


def shown(hours: float) -> str:
    """A duration on a page: that of its bucket."""
    return words.duration(buckets.middle_s(buckets.bucket(hours * HOUR)))


def percent(share: float) -> str:
    return words.percent(share)


class World:
    """A server with three print partners, what they have sent, and somebody of every role."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.now = clock.now() // 1_000_000
        self.alpha, _ = server.numbered_interface("Alpha")
        self.beta, _ = server.numbered_interface("Beta")
        self.gamma, _ = server.numbered_interface("Gamma")
        self.test, _ = server.numbered_interface("Alpha", test=True)
        with server.store() as store:
            store.orders.create_owner("Books", now=clock.now())
        self.people = {"Ada": Visitor(server)}
        assert self.people["Ada"].accept(link_of(server), "Ada").status == 303
        for name, whose in (
            ("Rita", {"role": "reader"}),
            ("Otto", {"role": "operator"}),
            ("Pat", {"role": "partner", "partner": 1}),
            ("Bea", {"role": "partner", "partner": 2}),
            ("Olga", {"role": "owner", "owner": 1}),
        ):
            self.people[name] = Visitor(server)
            assert self.people[name].accept(self._invited(name, whose)).status == 303

    def _invited(self, name: str, whose: dict[str, Any]) -> str:
        with self.server.access() as (_, keyring), self.server.store() as store:
            user = store.users.create(name, **whose, now=clock.now())
            return invite(store, keyring, user.id, now=clock.now())

    def at(self, hours: float) -> str:
        """So many hours from now, as signals have it."""
        return f"{datetime.fromtimestamp(self.now + hours * HOUR, UTC):%Y-%m-%dT%H:%M:%SZ}"

    def midnight(self) -> str:
        """When the day before yesterday began."""
        return f"{datetime.fromtimestamp(self.now // DAY * DAY - 2 * DAY, UTC):%Y-%m-%dT%H:%M:%SZ}"

    def due(self, item: str, hours: float, partner: str | None) -> None:
        """Register an item that is due so many hours from now; its order is called after it."""
        due = round(self.now + hours * HOUR) * 1_000_000
        told = Registration(f"of-{item}", "Books", partner, due=due, items={item: None})
        with self.server.store() as store:
            store.orders.register([told], now=clock.now())

    def count(self) -> None:
        """Wait until everything is counted, and counted right."""
        with self.server.store() as store:
            eventually(lambda: not store.compare_counts().why_not, "not everything is counted")
            assert store.compare_counts().differed == 0

    def get(self, path: str, name: str = "Ada") -> Page:
        return Page(self.people[name].get(f"/panel{path}"))

    def rows(self, path: str, name: str = "Ada") -> list[list[str]]:
        """The rows of a list of items, each with the item first."""
        page = self.get(path, name)
        assert page.status == 200
        return [[row[0].partition("of ")[0].strip(), *row[1:]] for row in page.table]


def of(item: str, type: str, datetime: str, **fields: Any) -> dict[str, Any]:
    return signal(type, order=f"of-{item}", item=item, datetime=datetime, **fields)


def told(server: Server) -> World:
    """A server on which all of that has happened, and is counted."""
    world = World(server)
    at = world.at
    for item, due in (("a1", 12), ("a2", 12), ("a3", 36), ("a4", 36), ("a5", 96), ("a6", 24)):
        world.due(item, BEGAN + due, "Alpha")
    for item, partner, due in (
        ("a8", "Alpha", 15),
        ("u1", "Alpha", 35),
        ("v1", "Beta", 36),
        ("w1", None, 37),
        ("u2", "Alpha", 100),
    ):
        world.due(item, due, partner)
    # Of Alpha nine posts, one of them with what stands between registered and shipped; and one that is refused.
    registered = [of(f"a{n}", "ItemRegistered", at(BEGAN)) for n in range(1, 7)]
    post(server, world.alpha, *registered)
    for number in range(1, 5):
        shipped = of(f"a{number}", "ItemShipped", at(BEGAN + 10 * number))
        post(server, world.alpha, shipped)
    post(
        server,
        world.alpha,
        of("a4", "ItemDelay", at(BEGAN + 35), delay="24"),
        of("a5", "ItemProduce", world.midnight()),
    )
    post(server, world.alpha, of("a6", "ItemCanceled", at(BEGAN + 5), cause="paper jam"))
    post(server, world.alpha, of("a7", "ItemPacked", at(0)))
    post(server, world.alpha, of("a8", "ItemRegistered", at(2)))
    post(server, world.beta, of("b1", "ItemRegistered", at(BEGAN)))
    post(server, world.beta, of("b1", "ItemShipped", at(BEGAN + 25)))
    post(
        server,
        world.beta,
        of(MARKUP, "ItemProduce", at(-30)),
        of("b3", "ItemCanceled", at(-30), cause=MARKUP),
    )
    for key in (world.alpha, world.test, world.test):
        assert server.post(signal("ItemLost", item="lost") | {"apikey": key}).status == 400
    world.count()
    with server.store() as store:
        eventually(lambda: store.posts.of_partners(0)["Alpha"].posts == 12, "posts are not noted")
    return world


@pytest.fixture(scope="module")
def world(server: Server) -> World:
    return told(server)


# ---- the figures ----


def test_print_partners_are_compared(world: World) -> None:
    page = world.get("/insight")

    alpha, beta, gamma, total = page.table
    assert alpha == [
        f"{percent(2 / 5)} of 5",
        shown(30),
        f">\N{NO-BREAK SPACE}{shown(40)}",
        "",
        "4 and 3 unfinished",
        "42",
        percent(1 / 3),
    ]
    assert beta[1:5] == [shown(25), shown(25), "", "1"]
    assert gamma == ["– of 0", "–", "–", "", "0", "–", "–"]
    # Of five that were shipped half had been after 25 hours; the last one took 40.
    assert total[0] == alpha[0]
    assert total[1:3] == [shown(25), f">\N{NO-BREAK SPACE}{shown(40)}"]
    assert total[4] == "5 and 3 unfinished"
    assert page.links["Alpha"] == "/panel/insight/1?days=30"
    # Five days ago is not among the last days of any number below that.
    assert world.get("/insight?days=7").table[0] == alpha


def test_what_there_is_to_say_of_one(world: World) -> None:
    page = world.get("/insight/1")

    table = page.table
    assert table[2][:5] == [f"{percent(2 / 5)} of 5", "", "2", "1", "0"]  # On time in 30 days.
    times = {tuple(row[3:]): row[:2] for row in table[3:10]}
    assert [shown(30), f">\N{NO-BREAK SPACE}{shown(40)}"] == times["4", "3"]
    assert [percent(1 / 3), "1", "0", "2", "0"] in table  # Honesty.
    for said in ("1 producing", "1 packed", "1 registered"):
        assert said in page.links
    for said in (
        "Announced delay, median 24 h",
        "Real delay, median 4 h",
        "median \N{MINUS SIGN}20 h",
    ):
        assert said in page.words
    score = [row for row in table if row[4:5] in (["30"], ["20"], ["10"], ["15"], ["25"])]
    assert [row[:4] for row in score] == [
        ["0", "", f"13 {percent(13 / 15)}", "15"],
        ["67", "", f"1 {percent(1 / 6)}", "6"],
        ["33", "", f"1 {percent(1 / 15)}", "15"],
        ["87", "", f"1 {percent(1 / 15)}", "15"],
        ["50", "", f"1 {percent(1 / 10)}", "10"],
    ]
    assert ["13", "", percent(13 / 15)] in table  # Later than a day.
    assert ["1", "", "100\N{NO-BREAK SPACE}%", "100\N{NO-BREAK SPACE}%"] in table
    assert "paper jam" in page.words


def test_what_offends_is_one_click_away(world: World) -> None:
    page = world.get("/insight/1")

    def offending(part: str) -> list[list[str]]:
        [link] = [to for said, to in page.links.items() if said == part]
        return world.rows(link.removeprefix("/panel"))

    slow = offending("came more than an hour after they happened")
    assert len(slow) == 13
    assert {row[0] for row in slow} == {f"a{n}" for n in range(1, 7)}
    assert [row[:2] for row in offending("were never registered")] == [["a7", "ItemPacked"]]
    assert [row[:2] for row in offending("are dated more than 5 minutes ahead")] == [
        ["a8", "ItemRegistered"]
    ]
    [midnight] = offending("are dated exactly 23:59:59 or 00:00:00")
    assert midnight[:2] == ["a5", "ItemProduce"]
    assert midnight[4].startswith("came more than an hour after they happened; are dated exactly")
    # Refused posts are on their own page, those through a test interface only if all are asked for.
    refused = world.get(page.links["were refused"].removeprefix("/panel"))
    assert page.links["were refused"] == "/panel/refusals?partner=Alpha&scored=true"
    assert refused.words.count(", Alpha, interface ") == 1
    assert world.get("/refusals?partner=Alpha").words.count(", Alpha, interface ") == 3


def test_items_at_risk_are_listed_also_those_without_a_signal(world: World) -> None:
    at_risk = world.rows("/at-risk")

    assert [(row[0], row[2], *row[4:]) for row in at_risk] == [
        ("a8", percent(1 / 5), "registered", "Alpha"),
        ("u1", percent(3 / 5), "no signal yet", "Alpha"),
        ("v1", percent(4 / 6), "no signal yet", "Beta"),
        ("w1", percent(4 / 6), "no signal yet", ""),
    ]
    assert "from 5 earlier ones" in at_risk[1][3]
    assert "from 6 earlier ones" in at_risk[2][3]
    [overdue] = world.rows("/at-risk?overdue=true")
    assert (overdue[0], overdue[2], *overdue[4:]) == ("a5", "–", "producing", "Alpha")
    assert "too little is known" in overdue[3]
    for name, path, query in (
        ("Ada", "/", "overdue=true"),
        ("Ada", "/?partner=Beta", None),
        ("Ada", "/?partner=Alpha", "partner=Alpha&overdue=true"),
        ("Pat", "/", "partner=Alpha&overdue=true"),
    ):
        link = world.get(path, name).links.get("overdue")
        assert link == (query and f"/panel/at-risk?{query}"), path
    for state, item in (("producing", "a5"), ("packed", "a7"), ("registered", "a8")):
        link = world.get("/insight/1").links[f"1 {state}"]
        assert [row[0] for row in world.rows(link.removeprefix("/panel"))] == [item]
    # Where a list is left, the next page goes on.
    after = f"at={world.now * 1_000_000 + 35 * HOUR * 1_000_000}&number={2**53 - 1}"
    assert [row[0] for row in world.rows(f"/at-risk?{after}&order=of-u1&item=u1")] == ["v1", "w1"]
    assert world.rows(f"/at-risk?{after}&order=of-u0&item=u1")[0][0] == "u1"


def test_items_at_risk_are_chosen_by_print_partner(world: World) -> None:
    for partner, own in (("Alpha", ["a8", "u1"]), ("Beta", ["v1"]), ("Gamma", [])):
        assert [row[0] for row in world.rows(f"/at-risk?partner={partner}")] == own
    assert [row[0] for row in world.rows("/at-risk?partner=Alpha", "Pat")] == ["a8", "u1"]
    # Whoever sees all sees what it rests on of all.
    assert "from 6 earlier ones" in world.rows("/at-risk?partner=Beta")[0][3]

    page = world.get("/at-risk?partner=Alpha")
    assert "Print partner any Alpha Beta Gamma Show" in page.words
    assert "Print partner any" not in world.get("/at-risk", "Pat").words
    assert page.links["Overdue"] == "/panel/at-risk?partner=Alpha&overdue=true"
    overdue = world.get("/at-risk?partner=Alpha&overdue=true")
    assert overdue.links["Due from now on"] == "/panel/at-risk?partner=Alpha"
    assert "a5" in overdue.links
    assert "a5" not in world.get("/at-risk?partner=Beta&overdue=true").links
    for found in (page, overdue):
        assert "partner=Alpha" in found.links["As CSV"]
    for path in ("/at-risk?partner=Beta", "/at-risk?partner=Beta&as=csv"):
        assert world.get(path, "Pat").status == 404


def test_lists_of_open_items_come_as_csv_whole(world: World) -> None:
    def csv(path: str, name: str = "Ada") -> list[list[str]]:
        answer = world.people[name].get(f"/panel{path}")
        assert answer.status == 200, answer
        return list(reader(io.StringIO(answer.body.decode("utf-8-sig"))))

    head, *rows = csv("/at-risk?as=csv")
    assert head[:7] == [
        *("Item", "Order", "Print partner", "State"),
        *("Last heard of, UTC", "Due, UTC", "Chance"),
    ]
    assert [(row[0], row[1], row[3], row[6]) for row in rows] == [
        ("a8", "of-a8", "registered", "0.20"),
        ("u1", "of-u1", "no signal yet", "0.60"),
        ("v1", "of-v1", "no signal yet", "0.67"),
        ("w1", "of-w1", "no signal yet", "0.67"),
    ]
    assert [row[0] for row in csv("/at-risk?as=csv", "Bea")[1:]] == ["v1"]
    assert [row[0] for row in csv("/at-risk?partner=Alpha&as=csv")[1:]] == ["a8", "u1"]
    assert [row[0] for row in csv("/at-risk?overdue=true&as=csv")[1:]] == ["a5"]
    assert csv("/at-risk?partner=Beta&overdue=true&as=csv")[1:] == []
    assert [row[0] for row in csv("/insight/1/open/packed?as=csv")[1:]] == ["a7"]
    for part in ("slow", "missing", "future", "day_end"):
        shown = world.rows(f"/insight/1/offending/{part}")
        rows = csv(f"/insight/1/offending/{part}?as=csv")[1:]
        assert [row[4] for row in rows] == [row[0] for row in shown], part


# ---- who sees what ----


PAGES = (
    "/insight",
    "/insight/1",
    "/insight/1/offending/slow",
    "/insight/1/open/producing",
    "/at-risk",
    "/at-risk?overdue=true",
    "/calendars",
    "/calendars/1",
)


def test_a_reader_sees_everything_and_an_owner_nothing(world: World) -> None:
    for path in (*PAGES, "/insight/2", "/calendars/2"):
        assert world.get(path, "Rita").status == 200, path
        page = world.get(path, "Olga")
        assert page.status == 403, path
        assert "Alpha" not in page.words
    for path in ("/calendars/1", "/calendars/1/remove"):
        for name in ("Rita", "Pat", "Olga"):
            assert world.people[name].post(f"/panel{path}", {"timezone": "UTC"}).status == 403
    with world.server.store() as store:
        assert store.calendars.calendars() == {}


def test_a_print_partner_sees_its_own(world: World) -> None:
    compared = world.people["Pat"].get("/panel/insight?days=7")
    assert (compared.status, compared.headers["location"]) == (303, "/panel/insight/1?days=7")
    for path in PAGES[1:]:
        page = world.get(path, "Pat")
        assert page.status == 200, path
        for hidden in ("Beta", "Gamma", "Books", "v1", "w1", "b1"):
            assert hidden not in page.words, (path, hidden)
    assert [row[0] for row in world.rows("/at-risk", "Pat")] == ["a8", "u1"]
    assert world.get("/insight/1", "Pat").table == world.get("/insight/1").table
    for path in ("/insight/2", "/insight/2/offending/slow", "/insight/2/open/producing"):
        assert world.get(path, "Pat").status == 404, path
    assert world.get("/calendars/2", "Pat").status == 404
    own = world.get("/insight/1", "Pat").links["were refused"].removeprefix("/panel")
    assert world.get(own, "Pat").words.count(", Alpha, interface ") == 1


def test_what_a_print_partner_is_told_rests_on_nothing_of_others(world: World) -> None:
    # Of Beta's own items one was shipped, which is too few.
    [at_risk] = world.rows("/at-risk", "Bea")
    assert (at_risk[0], at_risk[2]) == ("v1", "–")
    assert "too little is known" in at_risk[3]
    [to_all] = [row for row in world.rows("/at-risk") if row[0] == "v1"]
    assert "from 6 earlier ones" in to_all[3]
    assert "else of all" in world.get("/at-risk").words
    assert "else of all" not in world.get("/at-risk", "Bea").words


# ---- what others wrote, and what nobody should ask ----


def test_whatever_a_print_partner_writes_stays_words(world: World) -> None:
    for path in ("/insight/2", "/insight/2/offending/slow", "/insight/2/open/producing"):
        page = world.get(path)
        assert MARKUP[:64] in page.words, path
        assert "img" not in page.tags, path


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/insight?days=8", 404),
        ("/insight?days=x", 400),
        ("/insight?days=0", 400),
        ("/insight/99", 404),
        ("/insight/1?days=31", 404),
        ("/insight/1/offending/nothing", 404),
        ("/insight/1/offending/refused", 404),
        ("/insight/1/offending/slow?before=-1", 400),
        (f"/insight/1/offending/slow?before={2**70}", 400),
        ("/insight/1/open/shipped", 404),
        ("/insight/1/open/producing?at=x", 400),
        ("/at-risk?at=-1", 400),
        (f"/at-risk?number={2**53}", 400),
        ("/at-risk?overdue=perhaps", 400),
        ("/at-risk?partner=Nobody", 404),
        ("/at-risk?partner=Nobody&as=csv", 404),
        (f"/at-risk?order={'x' * 129}", 400),
        ("/calendars/99", 404),
    ],
)
def test_what_is_asked_wrongly_is_answered_with_a_sentence(
    world: World, path: str, status: int
) -> None:
    page = world.get(path)
    assert page.status == status
    sentences = {404: "There is no such page here.", 400: "nothing that this page takes."}
    assert sentences[status] in page.words


# ---- calendars ----

WEEK = dict.fromkeys(("mon", "tue", "wed", "thu", "fri", "sat", "sun"), "00:00-12:00")
LONG_AGO = -62 * 24
"""Among the last 90 days, where no other figures are of."""


def test_a_calendar_is_set_and_removed_and_changes_the_figures(world: World) -> None:
    otto = world.people["Otto"]
    fields = {"timezone": "Middle/Earth", **WEEK, "tue": "12:00-08:00", "holidays": MARKUP}
    wrong = otto.post("/panel/calendars/3", fields)
    page = Page(wrong)
    assert wrong.status == 400
    assert "things are wrong" in page.words
    assert "Middle/Earth" in page.words
    assert f'value="{fields["tue"]}"' in wrong.body.decode()
    assert "img" not in page.tags
    assert world.get("/calendars").table[2] == ["", "always", ""]

    fields = {"timezone": "UTC", **WEEK, "holidays": "2031-12-25, 2031-12-26"}
    answer = otto.post("/panel/calendars/3", fields)
    assert (answer.status, answer.headers["location"]) == (303, "/panel/calendars/3")
    hours = "84\N{NO-BREAK SPACE}h"
    assert world.get("/calendars").table[2] == ["UTC", hours, "2"]
    assert "2031-12-25 2031-12-26" in world.get("/calendars/3", "Rita").words
    assert '"holidays"' in world.get("/calendars/3").words
    registered = of("c1", "ItemRegistered", world.at(LONG_AGO))
    post(world.server, world.gamma, registered, of("c1", "ItemShipped", world.at(LONG_AGO + 24)))
    world.count()
    page = world.get("/insight/3?days=90")
    took, worked = (" ".join(shown(hours).split()) for hours in (24, 12))
    assert page.words.count(f"{took} {worked} of work") == 2  # Half and nine of ten.
    assert "Working time is that of the calendar" in page.words

    assert otto.post("/panel/calendars/3/remove").status == 303
    assert "has no calendar, and is taken to work always" in world.get("/calendars/3").words
    world.server.restart()  # What was reckoned is kept for half a minute.
    page = world.get("/insight/3?days=90")
    assert page.words.count(took) == 4
    assert "of work" not in page.words
    changed = world.get("/changes").words
    assert "calendar" in changed
    assert "Otto" in changed
