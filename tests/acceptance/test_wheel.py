"""The package as a print partner gets it: built, and installed into an environment that has nothing else."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cloudsignal import ItemPacked, Outbox, __version__
from cloudsignal.cli.output import Exit
from cloudsignal.testing.fakes import APIKEY

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
DEADLINE_S = 120.0
"""How long one step of an installation may take on a machine that fetches packages."""
OF_OTHERS = {
    "sqlalchemy",
    "alembic",
    "litestar",
    "python-calamine",
    "psycopg",
    "nats-py",
    "pytest",
    "mypy",
}
"""What only the extras and our tools bring."""

FAKE_SERVER = """
import sys
from cloudsignal.testing import FakeServer

with FakeServer() as server:
    print(server.url, flush=True)
    for line in sys.stdin:
        if line.startswith("wait "):
            server.wait_for(int(line.split()[1]), timeout_s=30)
        print(*(each.item for each in server.received()), flush=True)
"""
LIBRARY = """
import sys, cloudsignal
from cloudsignal import *

for name in cloudsignal.__all__:
    getattr(cloudsignal, name)
with Client(sys.argv[1]) as client:
    client.send(ItemPacked(order="7", item="library", datetime=now()))
with Outbox("outbox.db") as outbox:
    outbox.put(ItemPacked(order="7", item="outbox", datetime=now()))
"""


def done(*words: object, **options: object) -> str:
    """What a command prints, which has to succeed."""
    ran = subprocess.run(
        list(map(str, words)),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
        **options,  # type: ignore[call-overload]
    )
    assert ran.returncode == 0, (ran.stdout, ran.stderr)
    return str(ran.stdout)


def has_uv() -> bool:
    """Whether uv is there and works, as in our Makefile."""
    uv = shutil.which("uv")
    return uv is not None and subprocess.run([uv, "--version"], capture_output=True).returncode == 0


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new environment with nothing but what the base install brings."""
    environment = tmp_path_factory.mktemp("environment")
    python = environment / "bin" / "python"
    if has_uv():
        done("uv", "venv", "-q", "--clear", "-p", sys.executable, environment)
    else:
        done(sys.executable, "-m", "venv", environment)
    return python


@pytest.fixture(scope="module")
def wheel(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    if has_uv():
        done("uv", "build", "-q", "--wheel", "--out-dir", folder, ROOT)
    else:
        done(python, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, ROOT)
    [wheel] = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def bin(python: Path, wheel: Path) -> Path:
    """Where the commands of the environment are, once the wheel is installed there."""
    # The versions that our other tests run with.
    pins = re.findall(
        r"^([^\s#=]+==\S+(?: ;.*)?) \\$", (ROOT / "requirements.lock.txt").read_text(), re.MULTILINE
    )
    constraints = wheel.with_name("constraints.txt")
    constraints.write_text("\n".join(pins))
    if has_uv():
        done("uv", "pip", "install", "-q", "-p", python, "-c", constraints, wheel)
    else:
        done(python, "-m", "pip", "install", "-q", "-c", constraints, wheel)
    return python.parent


Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Nothing that is set up here leads back to the source, or elsewhere."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CLOUDSIGNAL_", "PYTHON", "VIRTUAL_ENV"))
    }
    return kept | {"CLOUDSIGNAL_APIKEY": APIKEY, "XDG_CONFIG_HOME": str(tmp_path)}


@pytest.fixture
def run(bin: Path, tmp_path: Path, environ: dict[str, str]) -> Run:
    """Run a command of the environment, and expect an exit code."""

    def run(command: str, *words: str, code: int = 0) -> "subprocess.CompletedProcess[str]":
        ran = subprocess.run(
            [bin / command, *words],
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
            cwd=tmp_path,
            env=environ,
        )
        assert ran.returncode == code, (ran.stdout, ran.stderr)
        return ran

    return run


@contextmanager
def ending(process: "subprocess.Popen[str]") -> Iterator["subprocess.Popen[str]"]:
    """A program that is asked to end, and has to, in order."""
    with process:
        try:
            yield process
            process.terminate()
            process.communicate(timeout=DEADLINE_S)
        except BaseException:
            process.kill()
            raise
    assert process.returncode == 0


class FakeServer:
    """A fake server in a process of the environment."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.url = self._read().strip()
        assert self.url, "it does not listen"

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def received(self, *, at_least: int = 0) -> list[str]:
        """The items of the signals it has stored, once there are so many."""
        print("wait", at_least, file=self._process.stdin, flush=True)
        return self._read().split()


@pytest.fixture
def server(bin: Path, environ: dict[str, str]) -> Iterator[FakeServer]:
    with subprocess.Popen(
        [bin / "python", "-c", FAKE_SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environ,
    ) as process:
        server = FakeServer(process)
        environ["CLOUDSIGNAL_BASE_URL"] = server.url
        yield server


def test_everything_in_the_source_is_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if not name.endswith("/")}
    source = {
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert "cloudsignal/py.typed" in source
    assert source <= packed
    beside = {name.split("/")[0] for name in packed - source}
    assert beside == {f"cloudsignal-{__version__}.dist-info"}


def test_the_base_install_brings_what_it_needs_and_no_more(run: Run) -> None:
    listing = "from importlib.metadata import distributions as d; print(*(x.name for x in d()))"
    names = {name.lower() for name in run("python", "-c", listing).stdout.split()}
    assert "cloudsignal" in names
    assert not names & OF_OTHERS
    where = run("python", "-c", "import cloudsignal; print(cloudsignal.__file__)").stdout
    assert "site-packages" in where
    assert run("cloudsignal", "version").stdout == f"{__version__}\n"
    assert "import" in run("cloudsignal", "--help").stdout


def test_a_print_partner_does_everything_with_it(
    run: Run, server: FakeServer, bin: Path, tmp_path: Path, environ: dict[str, str]
) -> None:
    run("python", "-c", LIBRARY, server.url)
    run("cloudsignal", "send", "ItemPacked", "--order", "7", "--item", "command")
    assert server.received() == ["library", "command"]
    run("cloudsignal", "outbox", "flush", "--outbox", "outbox.db")
    assert server.received()[2:] == ["outbox"]

    table = "order,item,datetime,tracking,shipping_option\n7,table,2026-01-01T00:00:00Z,1A,GLS\n"
    (tmp_path / "shipped.csv").write_text(table)
    run("cloudsignal", "import", "shipped.csv", "--type", "ItemShipped")
    hot = tmp_path / "hot"
    hot.mkdir()
    packed = {"type": "ItemPacked", "order": "7", "datetime": "2026-01-01T00:00:00Z"}
    (hot / "one.json").write_text(json.dumps(packed | {"item": "file"}))
    run("cloudsignal", "watch", "hot", "--once", "--outbox", "outbox.db")
    assert [path.name for path in (hot / "done").iterdir()] == ["one.json"]
    assert server.received()[3:] == ["table", "file"]

    doctor = run("cloudsignal", "doctor", "--json", "--outbox", "outbox.db")
    assert [each["what"] for each in json.loads(doctor.stdout) if not each["ok"]] == []

    command = [bin / "cloudsignal", "relay", "--port", "0", "--outbox", "relay.db"]
    pipe = subprocess.PIPE
    with ending(
        subprocess.Popen(command, stderr=pipe, text=True, cwd=tmp_path, env=environ)
    ) as relay:
        assert relay.stderr is not None
        line = next(line for line in relay.stderr if "listening on" in line)
        address = line.split("listening on ")[1].split(",")[0]
        sending = ["send", "ItemPacked", "--order", "7", "--item", "relay"]
        run("cloudsignal", *sending, "--base-url", address)
        assert server.received(at_least=6)[5:] == ["relay"]

    with Outbox(tmp_path / "outbox.db") as outbox:
        outbox.put(ItemPacked(order="7", item="sender", datetime="2026-01-01T00:00:00Z"))
    command = [bin / "cloudsignal", "outbox", "run", "--outbox", "outbox.db"]
    with ending(subprocess.Popen(command, stderr=pipe, text=True, cwd=tmp_path, env=environ)):
        assert server.received(at_least=7)[6:] == ["sender"]

    (tmp_path / "keys").write_text(APIKEY)
    simulating = ["--apikeys-file", "keys", "--items", "3", "--no-compare", "--json"]
    ran = run("cloudsignal", "simulate", "--base-url", server.url, *simulating)
    assert json.loads(ran.stdout)["accepted"] == len(server.received()) - 7 > 3


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["import", "table.xlsx", "--type", "ItemPacked"], Exit.SETUP, "cloudsignal[xlsx]"),
        (["serve"], Exit.FAILED, "cloudsignal[server]"),
        (["partner", "list"], Exit.FAILED, "cloudsignal[server]"),
    ],
)
def test_what_needs_more_says_in_a_sentence_what(
    run: Run, server: FakeServer, tmp_path: Path, words: list[str], code: int, sentence: str
) -> None:
    (tmp_path / "table.xlsx").write_bytes(b"PK\x03\x04")
    ran = run("cloudsignal", *words, code=code)
    assert ran.stdout == ""
    assert re.fullmatch(rf"cloudsignal: [^\n]*{re.escape(sentence)}[^\n]*\n", ran.stderr), ran


def test_a_table_of_excel_in_a_hot_folder_fails_with_that_sentence(
    run: Run, server: FakeServer, tmp_path: Path
) -> None:
    (tmp_path / "hot").mkdir()
    (tmp_path / "hot" / "table.xlsx").write_bytes(b"PK\x03\x04")
    watching = ["watch", "hot", "--once", "--type", "ItemPacked", "--outbox", "outbox.db"]
    run("cloudsignal", *watching, code=Exit.REFUSED)
    [reason] = (tmp_path / "hot" / "failed").glob("*.txt")
    assert "pip install 'cloudsignal[xlsx]'" in reason.read_text()
