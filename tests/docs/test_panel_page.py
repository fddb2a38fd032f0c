"""The page about the panel tells of every page that can be gone to, and of every role; its numbers are the code's."""

from cloudsignal.server import figures
from cloudsignal.server.panel import application, insight, outlooks, roles
from tests.docs.pages import DOCS, text

PAGE = text(DOCS / "panel.md")
SENTENCES = " ".join(PAGE.split())


def test_every_entry_of_the_menu_is_told_of():
    administration = [group for group in application.MENU if group.title == "Administration"]
    titles = [entry.title for group in administration for entry in group.entries]
    assert len(titles) >= 7
    assert [title for title in titles if f"*{title}*" not in PAGE] == []


def test_every_role_is_told_of():
    assert [role for role in roles.ROLES if f"| `{role}` | " not in PAGE] == []


def test_numbers_are_those_of_the_code() -> None:
    seven, thirty, ninety = insight.DAYS
    told = {
        f"over {seven}, {thirty} or {ninety} days": True,
        f"looks at {insight.LOOKED_AT:,} signals at most and lists {insight.PAGE} of": True,
        f"looks at {outlooks.LOOKED_AT} open items a page": True,
        f"and lists {outlooks.PAGE}.": True,
        "kept for half a minute": figures.KEPT_S == 30,
        "up to five minutes ago": figures.WAYS_KEPT_S == 300,
        f"more than {insight.BEHIND_MAX:,} signals wait": True,
    }
    assert [each for each, is_so in told.items() if not (is_so and each in SENTENCES)] == []
    of_insight = " ".join(text(DOCS / "insight.md").split())
    assert f"of what began in the last {figures.WAYS_DAYS} days" in of_insight
