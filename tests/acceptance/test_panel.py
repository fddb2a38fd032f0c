"""The panel over HTTP: what it says of itself, and what it refuses."""

import http.cookies
import re
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any, get_args

import pytest

from cloudsignal.server.panel import application, roles
from tests.acceptance.conftest import Answer, MakeServer, Server, ask, eventually, make_server

__all__ = ["make_server"]

PASSWORD = "four words nobody says"
FORM = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"}


class Visitor:
    """A browser, as far as a server can tell."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.cookies: dict[str, str] = {}

    def get(self, path: str, **headers: str) -> Answer:
        return self._ask("GET", path, None, headers)

    def post(self, path: str, fields: Mapping[str, Any] | None = None, **headers: str) -> Answer:
        """Post a form; what is a list in it is several check boxes."""
        body = urllib.parse.urlencode(fields or {}, doseq=True).encode()
        return self._ask("POST", path, body, FORM | headers)

    def _ask(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items() if value}
        if self.cookies:
            named["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        with closing(self.server.http(20)) as client:
            answer = ask(client, method, path, body, named)
        for name, each in http.cookies.SimpleCookie(answer.headers.get("set-cookie", "")).items():
            self.cookies[name] = each.value
        return answer

    def sign_in(self, name: str, password: str = PASSWORD) -> Answer:
        return self.post("/panel/login", {"name": name, "password": password})

    def accept(self, link: str, name: str = "") -> Answer:
        fields = {"name": name, "password": PASSWORD, "again": PASSWORD}
        return self.post(urllib.parse.urlsplit(link).path, fields)


def link_of(server: Server) -> str:
    """The link to set the panel up, which is printed once the server listens."""
    found = eventually(lambda: re.search(r"Set it up: (\S+)\n", server.stdout))
    return str(found[1])


@pytest.fixture
def server(make_server: MakeServer) -> Server:
    return make_server().start()


@pytest.fixture
def ada(server: Server) -> Visitor:
    """The first user, signed in."""
    visitor = Visitor(server)
    link = link_of(server)
    assert visitor.accept(link, "Ada").status == 303
    return visitor


def invite(server: Server, name: str, *words: str) -> str:
    """The link for somebody who is added by command."""
    made = server.cli_json("user", "create", name, *words, "--url", server.address)
    return str(made["link"])


# ---- what every page says ----


def test_where_no_more_may_look_one_is_told_to_wait(make_server: MakeServer) -> None:
    server = make_server("--events-max", "1").start()
    ada = Visitor(server)
    ada.accept(link_of(server), "Ada")
    cookies = "; ".join(f"{name}={value}" for name, value in ada.cookies.items())
    with closing(server.http(20)) as looking:
        looking.request("GET", "/panel/live", headers={"Cookie": cookies})
        assert looking.getresponse().readline().startswith(b"data:")

        refused = ada.get("/panel/live")

    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    assert "As many look at what is live as may" in refused.body.decode()
    assert "a page of the panel failed" not in server.stderr


def test_pages_let_nothing_in_and_nothing_out(ada: Visitor) -> None:
    for path in ("/panel/", "/panel/login", "/panel/users", "/panel/nowhere", "/"):
        headers = ada.get(path).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'self'; script-src 'self';"), path
        assert "unsafe" not in policy
        assert headers["x-frame-options"] == "DENY"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store"


def test_what_pages_load_is_kept_by_browsers(ada: Visitor) -> None:
    [style] = re.findall(r'href="(/panel/static/[^"]+\.css)"', ada.get("/panel/").body.decode())
    answer = Visitor(ada.server).get(style)
    assert (answer.status, answer.headers["content-type"]) == (200, "text/css; charset=utf-8")
    assert "immutable" in answer.headers["cache-control"]
    assert ada.get(style.replace("panel.css", "other.css")).status == 404


def test_every_route_says_who_may_see_it() -> None:
    guards = {route: route.guards or [] for route in application.ROUTES}
    for route, given in guards.items():
        [guard] = given
        assert set(guard.whos) <= set(get_args(roles.Who)), route  # type: ignore[attr-defined]
        assert guard.whos, route  # type: ignore[attr-defined]
    anybody = {
        next(iter(route.paths))
        for route, [guard] in guards.items()
        if "anybody" in guard.whos  # type: ignore[attr-defined]
    }
    assert anybody == {"/login", "/invitation/{secret:str}", "/static/{mark:str}/{name:str}"}


def paths_of(who: str) -> Iterator[tuple[str, str]]:
    """Method and path of each route that is for these."""
    for route in application.ROUTES:
        [guard] = route.guards or []
        if who in guard.whos:  # type: ignore[attr-defined]
            for method in route.http_methods & {"GET", "POST"}:
                path = next(iter(route.paths))
                path = path.replace("{number:int}", "1").replace("{message:str}", "m")
                yield str(method), f"/panel{path}"


def test_nobody_sees_anything_without_signing_in(ada: Visitor) -> None:
    stranger = Visitor(ada.server)
    closed = set(get_args(roles.Who)) - {"anybody"}
    for method, path in {each for who in closed for each in paths_of(who)}:
        answer = stranger.get(path) if method == "GET" else stranger.post(path)
        assert answer.status == 303, path
        assert answer.headers["location"].startswith("/panel/login"), path
        assert answer.body == b""


@pytest.mark.parametrize("role", ["reader", "operator", "partner", "owner"])
def test_nobody_but_an_admin_sees_or_changes_users(ada: Visitor, role: str) -> None:
    server, other = ada.server, Visitor(ada.server)
    server.cli("partner", "create", "Press")
    server.cli("owner", "create", "Books")
    whose = {"partner": ("--of", "Press"), "owner": ("--of", "Books")}.get(role, ())
    assert other.accept(invite(server, "Grace", "--role", role, *whose)).status == 303
    before = server.cli_json("user", "list")

    for method, path in paths_of("admin"):
        answer = other.get(path) if method == "GET" else other.post(path, {"name": "x"})
        assert answer.status == 403, path
        assert b"Ada" not in answer.body

    assert server.cli_json("user", "list") == before
    assert other.get("/panel/account").status == 200
    assert other.get("/panel/users?as=csv").status == 403
    csv = ada.get("/panel/users?as=csv").body.decode("utf-8-sig").splitlines()
    assert (csv[0], len(csv)) == ("Name,Role,Of,Second factor,State", 1 + 2)


# ---- what is posted from elsewhere ----


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "", "Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "", "Origin": "null"},
        {"Sec-Fetch-Site": ""},
    ],
)
def test_what_another_site_posts_is_refused(ada: Visitor, headers: dict[str, str]) -> None:
    for path in ("/panel/users", "/panel/logout", "/panel/users/1/disable", "/panel/login"):
        answer = ada.post(path, {"name": "Eve", "role": "admin"}, **headers)
        assert answer.status == 403, path
        assert b"posted from another site" in answer.body
    assert [each["name"] for each in ada.server.cli_json("user", "list")] == ["Ada"]
    assert ada.get("/panel/account").status == 200


def test_an_older_browser_says_where_it_posts_from(ada: Visitor) -> None:
    answer = ada.post("/panel/logout", **{"Sec-Fetch-Site": "", "Origin": ada.server.address})
    assert answer.status == 303


@pytest.mark.parametrize(
    "next", ["//evil.example", "https://evil.example", "/panel//evil", "/other"]
)
def test_nobody_is_sent_elsewhere_after_signing_in(ada: Visitor, next: str) -> None:
    fields = {"name": "Ada", "password": PASSWORD, "next": next}
    answer = Visitor(ada.server).post("/panel/login", fields)
    assert (answer.status, answer.headers["location"]) == (303, "/panel/")


# ---- cookies ----


def test_a_sign_in_that_failed_is_in_the_log_and_counted(ada: Visitor) -> None:
    server, somebody = ada.server, Visitor(ada.server)
    assert somebody.sign_in("Ada", "a password to guess").status == 403
    assert somebody.sign_in("a password to keep", "Ada").status == 403

    eventually(lambda: len(server.lines("sign-in failed")) == 2)
    lines = [
        {name: each[name] for name in ("level", "why", "user", "address") if name in each}
        for each in server.lines("sign-in failed")
    ]
    whence = {"level": "warning", "address": "127.0.0.1"}
    assert lines == [
        whence | {"why": "wrong_password", "user": "Ada"},
        whence | {"why": "no_such_user"},
    ]
    assert "a password to" not in server.stderr
    figures = server.request("GET", "/metrics").body.decode()
    for why in ("wrong_password", "no_such_user"):
        assert f'cloudsignal_failed_sign_ins_total{{why="{why}"}} 1.0\n' in figures


def test_a_session_is_for_the_server_only(ada: Visitor) -> None:
    cookie = Visitor(ada.server).sign_in("Ada").headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Path=/" in cookie


def test_over_https_a_session_is_never_sent_unencrypted(make_server: MakeServer) -> None:
    reached = ("--public-url", "https://signals.example")
    server = make_server("--trusted-proxies", "127.0.0.1", *reached).start()
    visitor = Visitor(server)
    link = link_of(server)
    assert link.startswith("https://signals.example/panel/invitation/")
    path = urllib.parse.urlsplit(link).path
    fields = {"name": "Ada", "password": PASSWORD, "again": PASSWORD}
    proxied = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.7"}
    cookie = visitor.post(path, fields, **proxied).headers["set-cookie"]
    assert cookie.startswith("__Host-cloudsignal=")
    assert "Secure" in cookie
    visitor.cookies = {"cloudsignal": visitor.cookies["__Host-cloudsignal"]}
    assert visitor.get("/panel/account", **proxied).status == 303
    visitor.cookies = {"__Host-cloudsignal": visitor.cookies["cloudsignal"]}
    assert b"192.0.2.7" in visitor.get("/panel/account", **proxied).body


def test_nobody_on_the_way_reads_along(make_server: MakeServer) -> None:
    server = make_server().start()
    visitor = Visitor(server)
    elsewhere = {"Host": "panel.example"}
    answer = visitor.get("/panel/login", **elsewhere)
    assert answer.status == 403
    assert b"panel_http" in answer.body
    assert visitor.get("/panel/login").status == 200
    open_one = make_server("--panel-http").start()
    assert Visitor(open_one).get("/panel/login", **elsewhere).status == 200


# ---- limits and errors ----


def test_a_form_has_a_limit(ada: Visitor) -> None:
    answer = ada.post("/panel/login", {"name": "x" * 100_000})
    assert answer.status == 413


def test_a_form_is_text(ada: Visitor) -> None:
    assert ada.post("/panel/users", {"name": "a\0b", "role": "reader"}).status == 400
    answer = ada.post("/panel/users", {"name": "Grace", "role": "king"})
    assert answer.status == 400
    assert b"There is no role" in answer.body
    answer = ada.post("/panel/users", {"name": "Grace", "role": "partner", "whose": "Nobody"})
    assert b"Say whose things the role partner is to see" in answer.body
    answer = ada.post("/panel/users", {"name": "Ada", "role": "reader"})
    assert b"is already there" in answer.body
    answer = ada.post("/panel/users/1", {"role": "reader"})
    assert b"the last who may change users" in answer.body
    assert ada.get("/panel/users/99").status == 404
    assert ada.get("/panel/users/x").status == 404


def test_what_no_page_posts_is_no_defect(ada: Visitor) -> None:
    for secret in ("no base32!", "A" * 5000):
        for code in ("", "123456"):
            fields = {"secret": secret, "code": code, "password": PASSWORD}
            assert ada.post("/panel/account/factor", fields).status == 400
    number = "9" * 23
    assert ada.post(f"/panel/filters/{number}/remove", {"list": "items"}).status == 400


def test_a_link_that_is_not_good_is_told_before_a_password_is_looked_at(ada: Visitor) -> None:
    # Its page is that of whoever opens it: a password that was digested first would be refused on another one.
    answer = Visitor(ada.server).accept("/panel/invitation/anything", "Eve")
    assert answer.status == 404
    assert b"This link is not good any more" in answer.body
    assert answer.body == Visitor(ada.server).get("/panel/invitation/anything").body


def test_the_panel_can_be_left_out(make_server: MakeServer) -> None:
    server = make_server("--no-panel").start()
    assert "panel" not in server.stdout
    assert Visitor(server).get("/panel/").status == 404


def test_users_are_looked_after_by_command(ada: Visitor) -> None:
    server, grace = ada.server, Visitor(ada.server)
    link = invite(server, "Grace", "--role", "reader")
    again = server.cli_json("user", "invite", "Grace", "--url", server.address)["link"]
    assert grace.accept(link).status == 404
    assert grace.accept(again).status == 303
    assert server.cli_json("user", "role", "Grace", "operator")["role"] == "operator"
    assert server.cli_json("user", "disable", "Grace")["state"] == "disabled"
    assert grace.get("/panel/account").status == 303
    assert server.cli_json("user", "enable", "Grace")["state"] == "active"
    assert grace.sign_in("Grace").status == 303
    assert server.cli_json("user", "drop-factor", "Grace")["factor"] is False
    assert server.cli_json("user", "remove", "Grace")["name"] == "Grace"
    assert [each["name"] for each in server.cli_json("user", "list")] == ["Ada"]
    assert b"by command" in ada.get("/panel/changes").body
