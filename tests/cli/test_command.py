"""What holds for every command: where the store is, exit codes, sentences, what is missing."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from cloudsignal.server.settings import Settings, declared
from cloudsignal.server.store.store import Store, open_store
from tests.cli.conftest import Ran, Run
from tests.cli.test_look import COMMAND, quiet

READING = [
    ["partner", "list"],
    ["interface", "list"],
    ["token", "list"],
    ["signals", "tail"],
    ["rebuild"],
]
OTHERS = [["item", "show", "7", "c"], ["order", "show", "7"]]


def test_the_version_is_the_installed_one(run: Run) -> None:
    assert run("version") == Ran(0, f"{version('cloudsignal')}\n", "")


def test_the_installed_command_is_the_one_tested_here(url: str) -> None:
    ran = subprocess.run(
        [COMMAND, "partner", "create", "Press", "--database", url],
        capture_output=True, text=True, env=quiet(), check=False, timeout=60,
    )  # fmt: skip
    again = subprocess.run(
        [COMMAND, "partner", "create", "Press"],
        capture_output=True, text=True, env=quiet() | {"CLOUDSIGNAL_DATABASE": url},
        check=False, timeout=60,
    )  # fmt: skip

    assert (ran.returncode, ran.stderr) == (0, "")
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr == "cloudsignal: a print partner called 'Press' is already there\n"


# ---- where the store is ----


@pytest.mark.parametrize("words", [*READING, *OTHERS], ids=" ".join)
def test_flag_variable_and_file_name_the_store_alike(
    run: Run, filled: Store, url: str, words: list[str], monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    by_variable = run(*words, "--json")
    assert by_variable.code == 0

    monkeypatch.setenv("CLOUDSIGNAL_DATABASE", f"sqlite:///{tmp_path}/none/other.db")
    assert run(*words, "--json").code == 1
    assert run(*words, "--json", "--database", url) == by_variable

    monkeypatch.delenv("CLOUDSIGNAL_DATABASE")
    config = tmp_path / "settings.toml"
    config.write_text(f'database = "{url}"\n')
    assert run(*words, "--json", "--config", str(config)) == by_variable
    monkeypatch.setenv("CLOUDSIGNAL_CONFIG", str(config))
    assert run(*words, "--json") == by_variable


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("mysql://host/db", "mysql is not supported"),
        ("store.db", "'store.db' is no database URL: write sqlite:///PATH"),
        ("sqlite:///:memory:", "a store is a file, or signals would be lost"),
        ("sqlite:///none/store.db", "there is no folder none: make it"),
        ("sqlite:///text.db", "sqlite:///text.db is no cloudsignal store: file is not a database"),
    ],
)
def test_a_store_that_cannot_be_is_told(
    run: Run, tmp_path: Path, given: str, sentence: str
) -> None:
    (tmp_path / "text.db").write_text("just text " * 100)

    for words in READING:
        assert run(*words, "--database", given).sentence.startswith(sentence)


@pytest.mark.parametrize(
    ("secret", "sentence"),
    [(b"", "is empty"), (b"other", "the secret is not the one"), (b"\xff\xfe", "is not text")],
)
def test_a_secret_that_cannot_be_is_told(
    run: Run, tmp_path: Path, secret: bytes, sentence: str
) -> None:
    run("partner", "create", "Press")
    (tmp_path / "store.db.secret").write_bytes(secret)

    assert sentence in run("interface", "create", "--partner", "Press").sentence


def test_a_settings_mistake_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDSIGNAL_QUEU_MAX", "1")

    for words in READING:
        assert run(*words).sentence.startswith("CLOUDSIGNAL_QUEU_MAX is no setting")


# ---- a command line that makes no sense ----


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["partner", "nonsense"],
        ["partner", "create"],
        ["partner", "create", "a", "b"],
        ["partner", "list", "--nonsense"],
        ["interface", "create"],
        ["interface", "rotate", "one"],
        ["interface", "rotate", "0"],
        ["interface", "revoke", str(2**63)],
        ["interface", "rotate", "1", "--overlap-hours", "-1"],
        ["interface", "rotate", "1", "--overlap-hours", "1e300"],
        ["interface", "rotate", "1", "--overlap-hours", "nan"],
        ["token", "create", "a", "--role", "king"],
        ["item", "show", "7"],
        ["signals", "tail", "-n", "-1"],
        ["signals", "tail", "--after", "x"],
        ["signals", "tail", "--after", str(2**63)],
        ["settings", "--port", "http"],
    ],
    ids=" ".join,
)
def test_a_command_line_that_makes_no_sense_ends_with_2(
    run: Run, filled: Store, words: list[str]
) -> None:
    ran = run(*words)

    assert (ran.code, ran.out) == (2, "")
    assert "Usage: cloudsignal" in ran.err


# ---- settings ----


def test_settings_for_programs_are_those_in_force(
    run: Run, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUDSIGNAL_SECRET", "hush")
    monkeypatch.setenv("CLOUDSIGNAL_METRICS_ALLOW", "192.0.2.0/24, 2001:db8::/32")

    ran = run("settings", "--json", "--queue-max", "2000", "--strict-causes")

    shown = ran.json
    assert list(shown) == [each.name for each in declared()]
    assert shown["secret"] == "set"
    assert "hush" not in ran.out
    assert shown["database"] == url
    assert shown["metrics_allow"] == ["192.0.2.0/24", "2001:db8::/32"]
    assert (shown["queue_max"], shown["strict_causes"]) == (2000, True)
    assert shown["port"] == Settings().port


def test_settings_for_people_name_each_with_its_value_on_a_narrow_terminal(run: Run) -> None:
    lines = run("settings", "--no-strict-causes").out.splitlines()

    assert max(map(len, lines)) <= 80
    shown = {line.split()[0]: line.split()[1:] for line in lines if line.strip()}
    for setting in declared():
        assert setting.name in shown
    assert shown["strict_causes"][0] == "false"
    assert shown["secret"][:2] == ["not", "set"]


def test_settings_say_where_they_come_from(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "c.toml").write_text("queue_max = 2000")
    monkeypatch.setenv("CLOUDSIGNAL_NATS_URL", "nats://press:hush@nats.example")
    monkeypatch.setenv("COLUMNS", "200")

    ran = run("settings", "--config", "c.toml", "--port", "1")

    lines = {line.split()[0]: line for line in ran.out.splitlines() if line.strip()}
    assert "  c.toml  " in lines["queue_max"]
    assert "  --port  " in lines["port"]
    assert "  CLOUDSIGNAL_NATS_URL  " in lines["nats_url"]
    assert "CLOUDSIGNAL_DATABASE" in lines["database"]
    assert "hush" not in ran.out


def test_every_setting_but_the_secret_is_a_flag_of_serve(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    told = run("serve", "--help").out

    for setting in declared():
        assert (setting.flag in told.replace("--no-", "")) is not setting.secret, setting.name


# ---- beside a server, and without one ----


def test_a_store_is_read_and_changed_while_another_program_has_it_open(
    run: Run, filled: Store
) -> None:
    before = filled.access.revision()

    assert run("partner", "create", "Another").code == 0

    assert filled.access.revision() > before
    assert [each.name for each in filled.access.partners()] == ["Another", "Print & Söhne"]


@pytest.mark.parametrize("module", ["sqlalchemy", "uvicorn", "alembic"])
def test_without_the_server_extra_a_sentence_says_what_to_install(
    url: str, module: str, tmp_path: Path
) -> None:
    open_store(url).close()
    hide = (
        "import sys\n"
        "class Hidden:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] == {module!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Hidden())\n"
        "from cloudsignal.cli import main\n"
        "main()\n"
    )
    words = {
        "sqlalchemy": ["partner", "list"],
        "uvicorn": ["serve", "--port", "0"],
        "alembic": ["version"],
    }

    ran = subprocess.run(
        [sys.executable, "-c", hide, *words[module]],
        capture_output=True, text=True, env=quiet() | {"CLOUDSIGNAL_DATABASE": url},
        check=False, timeout=60,
    )  # fmt: skip

    if module == "alembic":
        assert (ran.returncode, ran.stderr) == (0, "")
    else:
        assert (ran.returncode, ran.stdout) == (1, "")
        assert ran.stderr == (
            f"cloudsignal: {module} is missing: pip install 'cloudsignal[server]' brings it\n"
        )


# ---- completion ----


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("cloudsignal out", {"outbox"}),
        ("cloudsignal send ItemP", {"ItemProduce", "ItemProduced", "ItemPacked"}),
        ("cloudsignal send ItemPacked --o", {"--order", "--outbox"}),
        ("cloudsignal outbox list --state re", {"refused"}),
        ("cloudsignal send --profile pl", {"plant1", "plant2"}),
        ("cloudsignal outbox status --profile d", {"default"}),
        ("cloudsignal send --profile nowhere", set()),
    ],
)
def test_bash_completes_commands_flags_and_names(
    words: str, offered: set[str], tmp_path: Path
) -> None:
    profiles = tmp_path / "profiles.toml"
    profiles.write_text("[default]\n[plant1]\n[plant2]\n")
    script = (
        'eval "$(cloudsignal --show-completion bash)"; read -ra COMP_WORDS <<<"$1"\n'
        "COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) _cloudsignal_completion cloudsignal\n"
        'echo "${COMPREPLY[@]}"\n'
    )
    environment = quiet() | {
        "PATH": f"{Path(COMMAND).parent}:{os.environ['PATH']}",
        "CLOUDSIGNAL_PROFILES": str(profiles),
    }
    ran = subprocess.run(
        ["bash", "-c", script, "bash", words],
        capture_output=True, text=True, env=environment, check=True, timeout=60,
    )  # fmt: skip
    assert set(ran.stdout.split()) == offered
