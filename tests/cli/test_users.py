"""cloudsignal user."""

import re

import pytest

from cloudsignal.server.store.store import Store
from tests.cli.conftest import Run


def test_somebody_is_added_with_a_link_that_is_shown_once(
    run: Run, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = run("user", "create", "  Ada ", "--role", "admin").out
    assert said.startswith("Ada chooses a password here, once, within 72 hours:\n")
    [first] = re.findall(r"  (http://127\.0\.0\.1:8000/panel/invitation/\S+)\n", said)

    monkeypatch.setenv("CLOUDSIGNAL_PUBLIC_URL", "https://signals.example")
    said = run("user", "invite", "Ada").out
    assert "  https://signals.example/panel/invitation/" in said
    made = run("user", "invite", "Ada", "--url", "https://panel.example/", "--json").json

    assert made.pop("link").startswith("https://panel.example/panel/invitation/")
    assert made.pop("created")
    assert made == {"name": "Ada", "role": "admin", "of": None, "factor": False, "state": "invited"}
    secret = first.rpartition("/")[2]
    assert secret not in run("user", "list", "--json").out
    assert [each.what for each in store.changes.changes(limit=9)][:2] == [
        "user invited",
        "user invited",
    ]


def test_users_are_listed(run: Run) -> None:
    run("partner", "create", "Press & Sons")
    run("user", "create", "Ada", "--role", "admin")
    run("user", "create", "Grace", "--role", "partner", "--of", "Press & Sons")
    listed = run("user", "list").out
    assert re.search(r"Ada +admin +invited", listed)
    assert re.search(r"Grace +partner +Press & Sons +invited", listed)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("create", "Eve", "--role", "king"), "There is no role 'king': there are reader,"),
        (("create", "Eve", "--role", "partner"), "Say whose things the role partner is to see"),
        (("create", "Eve", "--role", "owner", "--of", "Nobody"), "no owner called 'Nobody'"),
        (
            ("create", "Eve", "--of", "Press"),
            "The role reader sees everything, not what is Press's",
        ),
        (("create", " "), "a name has 1 to 255 printable characters"),
        (("create", "Ada"), "a user called 'Ada' is already there"),
        (("invite", "Eve"), "there is no user called 'Eve'"),
        (("role", "Ada", "reader"), "Ada is the last who may change users"),
        (("disable", "Ada"), "Ada is the last who may change users"),
        (("remove", "Ada"), "Ada is the last who may change users"),
    ],
)
def test_what_cannot_be_is_said(run: Run, words: tuple[str, ...], why: str) -> None:
    run("user", "create", "Ada", "--role", "admin")
    ran = run("user", *words)
    assert ran.code == 1
    assert why in ran.err
    assert [each["role"] for each in run("user", "list", "--json").json] == ["admin"]


def test_every_change_says_what_somebody_is_now(run: Run, store: Store) -> None:
    run("owner", "create", "Books & Co")
    run("user", "create", "Ada", "--role", "admin")
    run("user", "create", "Grace")
    said = [
        run("user", *words).out
        for words in (
            ("role", "Grace", "owner", "--of", "Books & Co"),
            ("disable", "Grace"),
            ("enable", "Grace"),
            ("drop-factor", "Grace"),
            ("remove", "Grace"),
        )
    ]
    assert said == [
        "Grace is invited as owner of Books & Co.\n",
        "Grace is disabled as owner of Books & Co.\n",
        "Grace is invited as owner of Books & Co.\n",
        "Grace is invited as owner of Books & Co.\n",
        "Grace is removed.\n",
    ]
    newest = store.changes.changes(limit=1)[0]
    assert (newest.what, newest.subject) == ("user removed", "Grace")
    assert newest.actor.endswith(", by command")
