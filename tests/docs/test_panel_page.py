"""The page about the panel tells of every page that can be gone to, and of every role."""

from cloudsignal.server.panel import application, roles
from tests.docs.pages import DOCS, text

PAGE = text(DOCS / "panel.md")


def test_every_entry_of_the_menu_is_told_of():
    administration = [group for group in application.MENU if group.title == "Administration"]
    titles = [entry.title for group in administration for entry in group.entries]
    assert len(titles) >= 7
    assert [title for title in titles if f"*{title}*" not in PAGE] == []


def test_every_role_is_told_of():
    assert [role for role in roles.ROLES if f"| `{role}` | " not in PAGE] == []
