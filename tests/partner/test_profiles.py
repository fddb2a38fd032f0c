"""Which of flags, environment and profile counts, and what is said when none of them can be used."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudsignal import SetupError
from cloudsignal.partner.keys import read_apikey
from cloudsignal.partner.profiles import VARIABLES, Profile, base_url_of, describe, in_force, names

PROFILES = """
[default]
base_url = "https://one.example.com"
apikey_file = "one.key"
tries = 3

[plant2]
base_url = "https://two.example.com"
timeout_s = 2.5
proof = "receipt"
bundle_max = 10
outbox = "/var/lib/outbox.db"
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "profiles.toml"
    path.write_text(PROFILES)
    return path


def chosen(path: Path, name: str | None = None, /, **environ: str) -> Profile:
    variables = {f"CLOUDSIGNAL_{key.upper()}": value for key, value in environ.items()}
    return in_force(Profile(), name=name, path=path, environ=variables)


# ---- which profile ----


def test_without_a_name_it_is_the_default(path: Path) -> None:
    assert chosen(path) == Profile(
        base_url="https://one.example.com", apikey_file=str(path.with_name("one.key")), tries=3
    )


def test_a_name_is_given_by_flag_or_variable(path: Path) -> None:
    plant = Profile(
        base_url="https://two.example.com",
        timeout_s=2.5,
        proof="receipt",
        bundle_max=10,
        outbox="/var/lib/outbox.db",
    )
    assert chosen(path, "plant2") == plant
    assert chosen(path, profile="plant2") == plant
    assert chosen(path, "plant2", profile="none") == plant


def test_without_a_file_or_a_default_nothing_is_said(path: Path, tmp_path: Path) -> None:
    assert chosen(tmp_path / "none.toml") == Profile()
    assert chosen(tmp_path / "none.toml", profiles="", profile="") == Profile()
    path.write_text("[plant2]\n")
    assert chosen(path) == Profile()


# ---- what counts before what ----


def test_a_flag_counts_before_a_variable_and_that_before_the_default_profile(path: Path) -> None:
    environ = {"CLOUDSIGNAL_BASE_URL": "https://variable", "CLOUDSIGNAL_APIKEY_FILE": "variable"}
    told = in_force(Profile(), name=None, path=path, environ=environ)
    assert (told.base_url, told.apikey_file, told.tries) == ("https://variable", "variable", 3)

    flags = Profile(base_url="https://flag", apikey_file="flag", timeout_s=1)
    told = in_force(flags, name=None, path=path, environ=environ)
    assert told == Profile(base_url="https://flag", apikey_file="flag", timeout_s=1, tries=3)


def test_a_key_in_the_environment_counts_before_every_file_but_the_flags(path: Path) -> None:
    assert chosen(path, apikey="k").apikey_file is None
    assert chosen(path, apikey="k", apikey_file="other").apikey_file is None
    told = in_force(
        Profile(apikey_file="flag"), name=None, path=path, environ={"CLOUDSIGNAL_APIKEY": "k"}
    )
    assert told.apikey_file == "flag"


def test_a_profile_that_is_named_counts_before_the_environment(path: Path) -> None:
    path.write_text('[two]\nbase_url = "https://two"\napikey_file = "two"\n[three]\ntries = 3\n')
    environ = {"base_url": "https://variable", "apikey_file": "variable", "apikey": "k"}
    told = chosen(path, "two", **environ)
    assert (told.base_url, told.apikey_file) == ("https://two", str(path.parent / "two"))
    assert chosen(path, profile="two", **environ) == told
    told = chosen(path, "three", **environ)
    assert (told.base_url, told.apikey_file, told.tries) == ("https://variable", None, 3)


texts = st.none() | st.text(max_size=3)
numbers = st.none() | st.integers(1, 9)


@given(*[st.builds(Profile, base_url=texts, outbox=texts, tries=numbers)] * 3)
def test_what_is_said_first_counts(one: Profile, two: Profile, three: Profile) -> None:
    assert one.over(two).over(three) == one.over(two.over(three))
    assert one.over(one) == one.over(Profile()) == Profile().over(one) == one
    for name in Profile.__struct_fields__:
        own = getattr(one, name)
        assert getattr(one.over(two), name) == (getattr(two, name) if own is None else own)


def test_paths_are_those_beside_the_file(path: Path) -> None:
    path.write_text('[default]\napikey_file = "~/key"\noutbox = "keys/outbox.db"\n')
    assert chosen(path).apikey_file == str(Path("~/key").expanduser())
    assert chosen(path).outbox == str(path.parent / "keys" / "outbox.db")


# ---- what cannot be used ----


@pytest.mark.parametrize(
    ("content", "name", "sentence"),
    [
        (PROFILES, "plant3", "there is no profile 'plant3' in {path}: there are default, plant2"),
        ("", "plant3", "there is no profile 'plant3' in {path}: there are none at all"),
        ("base_url = 'x'", None, "base_url stands outside of a profile: put it under [default]"),
        ("[default]\napikey = 'x'", None, "put it into a file of its own that only you can read"),
        ("[default]\ntimeout = 1", None, "{path}: [default] has timeout, which is no key of a"),
        ("[default]\ntimeout = 1", None, "did you mean timeout_s?"),
        ("[default]\nzzz = 1", None, "there are base_url, apikey_file, outbox, timeout_s, tries"),
        ("[default]\ntries = 0", None, "[default] tries is not what it must be: Expected `int` >="),
        ("[default]\ntimeout_s = 'x'", None, "timeout_s is not what it must be: Expected `float"),
        ("[default]\nproof = 'hope'", None, "proof is not what it must be: Invalid enum value"),
        ("[default", None, "{path} is not TOML"),
    ],
)
def test_what_is_wrong_in_the_file_is_said(
    path: Path, content: str, name: str | None, sentence: str
) -> None:
    path.write_text(content)
    with pytest.raises(SetupError) as caught:
        chosen(path, name)
    assert sentence.format(path=path) in str(caught.value)
    assert "'x'" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"make it, with a table \[plant2\]"):
        chosen(tmp_path / "none.toml", "plant2")
    with pytest.raises(SetupError, match="or set CLOUDSIGNAL_PROFILES to where it is"):
        chosen(tmp_path / "none.toml", profiles="none.toml")
    with pytest.raises(SetupError, match="cannot be read: Is a directory"):
        chosen(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b"\xff")
    with pytest.raises(SetupError, match="is not TOML"):
        chosen(tmp_path / "latin.toml")


def test_without_an_address_the_ways_to_say_it_are_told(path: Path) -> None:
    assert base_url_of(Profile(base_url="x"), path) == "x"
    with pytest.raises(SetupError) as caught:
        base_url_of(Profile(), path)
    for way in ("--base-url", "CLOUDSIGNAL_BASE_URL", f"under [default] in {path}"):
        assert way in str(caught.value)


# ---- what is declared ----


def test_every_key_is_described() -> None:
    assert list(describe()) == [field.name for field in msgspec.structs.fields(Profile)]
    assert all(describe().values())


def test_the_variables_are_those_of_the_command_line() -> None:
    assert {each.partition("_")[0] for each in VARIABLES} == {"CLOUDSIGNAL"}


def test_an_editor_may_put_a_mark_in_front(path: Path) -> None:
    path.write_text('[default]\napikey_file = "marked.key"\n', encoding="utf-8-sig")
    key = path.with_name("marked.key")
    key.write_text("k" * 32 + "\r\n", encoding="utf-8-sig")
    told = chosen(path)
    assert read_apikey(file=told.apikey_file).reveal() == "k" * 32
    key.write_text("k" * 32, encoding="utf-16")
    with pytest.raises(SetupError, match="it is not UTF-8: save it as such"):
        read_apikey(file=told.apikey_file)


def test_a_variable_that_is_set_to_nothing_says_nothing(path: Path) -> None:
    told = chosen(path, base_url="", apikey="", apikey_file="", profile="", profiles="")
    assert told == chosen(path)
    path.with_name("one.key").write_text("k" * 32)
    environ = {"CLOUDSIGNAL_APIKEY": "", "CLOUDSIGNAL_APIKEY_FILE": str(path.with_name("one.key"))}
    assert read_apikey(environ=environ).reveal() == "k" * 32
    with pytest.raises(SetupError, match="there is no apikey"):
        read_apikey(environ={"CLOUDSIGNAL_APIKEY": ""})


def test_the_names_in_a_file_are_known_and_in_one_that_cannot_be_read_there_are_none(
    tmp_path: Path,
) -> None:
    path = tmp_path / "profiles.toml"
    assert names(path) == []
    path.write_text("[plant2]\ntries = 1\n[default]\n")
    assert names(path) == ["plant2", "default"]
    path.write_text("outside = 1\n[plant2]\n")
    assert names(path) == ["plant2"]
    path.write_text("[plant2\n")
    assert names(path) == []
