"""Settings: where each is read from, which counts, and what a mistake is told."""

from pathlib import Path
from typing import Any

import pytest

from cloudsignal.partner.profiles import VARIABLES
from cloudsignal.server import settings
from cloudsignal.server.settings import Settings, SettingsError, declared, read


def written(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "settings.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


# ---- which counts ----


@pytest.mark.parametrize(
    ("flag", "variable", "line", "expected"),
    [
        (1, "2", "port = 3", 1),
        (None, "2", "port = 3", 2),
        (None, None, "port = 3", 3),
        (None, None, "", 8000),
        (1, None, "", 1),
        (0, "2", "", 0),
    ],
)
def test_a_flag_comes_before_the_environment_before_the_file_before_the_default(
    tmp_path: Path, flag: int | None, variable: str | None, line: str, expected: int
) -> None:
    environment = {} if variable is None else {"CLOUDSIGNAL_PORT": variable}

    found = read({"port": flag}, environment, written(tmp_path, line))

    assert found.port == expected


def test_it_is_known_where_a_setting_comes_from(tmp_path: Path) -> None:
    config = written(tmp_path, "port = 1\nqueue_max = 5000\nstrict_causes = true")
    hush = tmp_path / "secret"
    hush.write_text("hush")
    environment = {
        "CLOUDSIGNAL_QUEUE_MAX": "6000",
        "CLOUDSIGNAL_GROUP_MAX": "9",
        "CLOUDSIGNAL_SECRET_FILE": str(hush),
    }

    found = settings.find({"group_max": 7, "host": None}, environment, config)

    assert found.settings == read({"group_max": 7}, environment, config)
    assert found.sources == {
        "port": str(config),
        "strict_causes": str(config),
        "queue_max": "CLOUDSIGNAL_QUEUE_MAX",
        "group_max": "--group-max",
        "secret": "CLOUDSIGNAL_SECRET_FILE",
    }


def test_nothing_set_is_the_defaults() -> None:
    assert read({}, {}) == read(None, {"PATH": "/bin", "CLOUD": "x"}) == Settings()


def test_the_file_is_named_by_the_flag_or_else_by_the_variable(tmp_path: Path) -> None:
    path = written(tmp_path, "port = 1")
    other = tmp_path / "other.toml"
    other.write_text("port = 2")

    assert read({}, {"CLOUDSIGNAL_CONFIG": str(path)}).port == 1
    assert read({}, {"CLOUDSIGNAL_CONFIG": str(path)}, other).port == 2


def test_a_partners_variables_are_no_settings_of_the_server_and_no_mistake() -> None:
    assert read({}, dict.fromkeys(VARIABLES, "x")) == Settings()


# ---- what may be written ----


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("port", "0", 0),
        ("port", "65535", 65535),
        ("strict_causes", "true", True),
        ("strict_causes", "false", False),
        ("strict_causes", "1", True),
        ("read_timeout_s", "1.5", 1.5),
        ("read_timeout_s", "2", 2.0),
        ("host", "0.0.0.0", "0.0.0.0"),
        ("log_format", "json", "json"),
        ("metrics_allow", "192.0.2.0/24, ::1 ,", ("192.0.2.0/24", "::1")),
        ("metrics_allow", "", ()),
        ("trusted_proxies", "192.0.2.7", ("192.0.2.7",)),
        ("webhook_networks", "10.0.0.0/8, fd00::/8", ("10.0.0.0/8", "fd00::/8")),
        ("webhook_http", "true", True),
        ("public_url", "https://signals.example.com", "https://signals.example.com"),
        ("public_url", "http://[2001:db8::7]:8000", "http://[2001:db8::7]:8000"),
        ("public_url", "", ""),
    ],
)
def test_the_environment_is_read_by_type(name: str, text: str, value: Any) -> None:
    found = getattr(read({}, {f"CLOUDSIGNAL_{name.upper()}": text}), name)

    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("port = 1", "port", 1),
        ("strict_causes = true", "strict_causes", True),
        ("read_timeout_s = 2", "read_timeout_s", 2.0),
        ('metrics_allow = ["192.0.2.0/24", "::1"]', "metrics_allow", ("192.0.2.0/24", "::1")),
        ("metrics_allow = []", "metrics_allow", ()),
        ('secret = "hush"', "secret", "hush"),
    ],
)
def test_the_file_is_toml(tmp_path: Path, line: str, name: str, value: Any) -> None:
    assert getattr(read({}, {}, written(tmp_path, line)), name) == value


# ---- secrets ----


def test_a_secret_can_be_in_a_file_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("  hush\n")

    assert read({}, {"CLOUDSIGNAL_SECRET_FILE": str(path)}).secret == "hush"


@pytest.mark.parametrize("setting", [each for each in declared() if not each.secret], ids=str)
def test_only_a_secret_is_read_from_a_file(tmp_path: Path, setting: settings.Setting) -> None:
    path = tmp_path / "value"
    path.write_text("1")

    with pytest.raises(SettingsError, match="only a secret is read from a file"):
        read({}, {f"{setting.variable}_FILE": str(path)})


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "cannot be read: No such file"), (b"", "is empty"), (b" \n", "is empty"),
     (b"\xff\xfe", "is not text")],
)  # fmt: skip
def test_a_secrets_file_that_holds_none_is_refused(
    tmp_path: Path, content: bytes | None, words: str
) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(SettingsError, match=f"CLOUDSIGNAL_SECRET_FILE: .*{words}"):
        read({}, {"CLOUDSIGNAL_SECRET_FILE": str(path)})


# ---- mistakes ----


@pytest.mark.parametrize(
    "variable", ["CLOUDSIGNAL_QUEU_MAX", "CLOUDSIGNAL_", "CLOUDSIGNAL_FILE", "CLOUDSIGNAL_port"]
)
def test_an_unknown_variable_is_refused(variable: str) -> None:
    with pytest.raises(SettingsError, match=f"{variable} is no setting: `cloudsignal settings`"):
        read({}, {variable: "1"})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("queu_max = 1", "queu_max is no setting: `cloudsignal settings` lists them all"),
        ("[server]\nport = 1", "server is no setting"),
        ("port = ", "is not TOML"),
        (b"\xff", "is not TOML"),
    ],
)
def test_a_mistake_in_the_file_names_the_file(
    tmp_path: Path, content: str | bytes, words: str
) -> None:
    with pytest.raises(SettingsError, match=r"settings\.toml") as caught:
        read({}, {}, written(tmp_path, content))
    assert words in str(caught.value)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.toml cannot be read: No such file"):
        read({}, {}, tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("port", "http", "Expected `int`"),
        ("port", "65536", "<= 65535"),
        ("port", "-1", ">= 0"),
        ("port", "", "Expected `int`"),
        ("queue_max", "0", ">= 1"),
        ("refresh_s", "6", "<= 5"),
        ("refresh_s", "0", "> 0"),
        ("refresh_s", "nan", "> 0"),
        ("read_timeout_s", "soon", "Expected `float`"),
        ("strict_causes", "maybe", "Expected `bool`"),
        ("log_format", "xml", "'xml'"),
        ("metrics_allow", "localhost", "'localhost' is neither an address nor a network"),
        ("trusted_proxies", "192.0.2.300", "write 192.0.2.7 or 192.0.2.0/24"),
        ("webhook_networks", "press.local", "write 192.0.2.7 or 192.0.2.0/24"),
        ("tracking_urls", "GLS", "GLS=https://gls.example/{tracking}"),
        ("tracking_urls", "GLS=https://gls.example/", "with {tracking} in it once"),
        ("queue_max", "999", "must be at least bundle_max"),
        ("public_url", "signals.example.com", "'signals.example.com' as https:// or http://"),
        ("public_url", "ftp://signals.example.com", "https://signals.example.com"),
        ("public_url", "https://signals.example.com/?a=b", "nothing behind it"),
        ("public_url", "https://signals.example.com/panel/", "nothing behind it"),
        ("public_url", "https://ada@signals.example.com", "https:// or http:// and the host"),
        ("public_url", "https://", "https:// or http:// and the host"),
        ("public_url", "https://signals.example.com\n", "nothing behind it"),
    ],
)
def test_a_bad_value_is_told_with_the_name_of_its_setting(name: str, text: str, words: str) -> None:
    with pytest.raises(SettingsError, match=f"^the setting {name} ") as caught:
        read({}, {f"CLOUDSIGNAL_{name.upper()}": text})
    assert words in str(caught.value)


# ---- the declaration ----


def test_every_setting_has_a_flag_a_variable_and_a_sentence() -> None:
    names = [each.name for each in declared()]

    assert names == list(Settings.__struct_fields__)
    for each in declared():
        assert each.flag == "--" + each.name.replace("_", "-")
        assert each.variable == "CLOUDSIGNAL_" + each.name.upper()
        assert each.description[0].islower()
        assert not each.description.endswith(".")
        assert each.default == getattr(Settings(), each.name)
    assert [each.name for each in declared() if each.secret] == [
        "secret",
        "smtp_password",
        "nats_url",
    ]
