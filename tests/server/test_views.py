"""What people and programs are shown, as far as no page or command shows it better."""

import pytest

from cloudsignal.server.settings import InForce, Settings, declared
from cloudsignal.server.views import setting_views


@pytest.mark.parametrize(
    "database",
    [
        "postgresql://press:hush@db.example/signals",
        "postgresql://db.example/signals?user=press&password=hush",
    ],
)
def test_no_secret_and_no_password_of_a_url_is_shown_of_settings(database: str) -> None:
    settings = Settings(
        database=database, secret="hush", nats_url="nats://press:hush@nats.example", port=1
    )

    views = setting_views(InForce(settings, {"port": "--port"}))

    assert [each.setting for each in views] == [each.name for each in declared()]
    assert "hush" not in repr(views)
    shown = {each.setting: each for each in views}
    assert "db.example" in shown["database"].text
    assert (shown["secret"].text, shown["nats_url"].text) == ("set", "set")
    assert (shown["port"].text, shown["port"].source) == ("1", "--port")
    assert (shown["panel"].text, shown["panel"].source) == ("true", None)
    assert shown["metrics_allow"].text == "127.0.0.0/8, ::1/128"
