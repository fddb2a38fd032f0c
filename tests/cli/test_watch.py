"""``cloudsignal watch``, as the installed command."""

import json
import os
import signal
import subprocess
from pathlib import Path

from cloudsignal.testing import FakeServer
from cloudsignal.testing.fakes import APIKEY
from tests.acceptance.conftest import COMMAND, eventually

TABLE = "Order;Item;Datetime\n7;{};2026-01-01 00:00 GMT\n"


def command(server: FakeServer, folder: Path, *words: str) -> subprocess.Popen[str]:
    flags = ["--type", "ItemPacked", "--json", "--outbox", str(folder.with_name("outbox.db"))]
    return subprocess.Popen(
        [COMMAND, "watch", str(folder), *flags, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"CLOUDSIGNAL_BASE_URL": server.url, "CLOUDSIGNAL_APIKEY": APIKEY},
    )


def test_files_are_sent_while_it_runs(cloudsignal_server: FakeServer, tmp_path: Path) -> None:
    folder = tmp_path / "hot"
    folder.mkdir()
    running = command(cloudsignal_server, folder)
    try:
        for number in range(2):
            (folder / f"{number}.csv.tmp").write_text(TABLE.format(number))
            (folder / f"{number}.csv.tmp").rename(folder / f"{number}.csv")
            cloudsignal_server.wait_for(number + 1, timeout_s=30)
        eventually(lambda: len(list((folder / "done").iterdir())) == 2)
    finally:
        running.send_signal(signal.SIGTERM)
        out, _ = running.communicate(timeout=30)
    assert running.returncode == 0
    assert [json.loads(line)["signals"] for line in out.splitlines()] == [1, 1]


def test_what_is_there_is_sent_once(cloudsignal_server: FakeServer, tmp_path: Path) -> None:
    folder = tmp_path / "hot"
    folder.mkdir()
    (folder / "good.csv").write_text(TABLE.format("good"))
    (folder / "bad.csv").write_text(TABLE.format(""))
    ran = command(cloudsignal_server, folder, "--once")
    out, err = ran.communicate(timeout=60)
    assert ran.returncode == 3, err
    assert "1 files are in" in err
    assert [each.item for each in cloudsignal_server.received()] == ["good"]
    assert len(out.splitlines()) == 2


def test_who_looks_once_does_not_wait_for_what_cannot_be_taken(
    cloudsignal_server: FakeServer, tmp_path: Path
) -> None:
    folder = tmp_path / "hot"
    folder.mkdir()
    (folder / "good.csv").write_text(TABLE.format("good"))
    ran = command(cloudsignal_server, folder, "--once")
    done = folder / "done"
    eventually(done.is_dir)
    done.rmdir()
    done.symlink_to("nowhere")
    out, err = ran.communicate(timeout=60)
    assert (ran.returncode, out) == (4, "")
    assert "not everything can be taken just now: " in err.splitlines()[-1]
    assert (folder / "good.csv").exists()


def test_programs_are_told_of_names_that_are_no_text(
    cloudsignal_server: FakeServer, tmp_path: Path
) -> None:
    folder = tmp_path / "hot"
    folder.mkdir()
    (folder / os.fsdecode(b"\xff.csv")).touch()
    ran = command(cloudsignal_server, folder, "--once")
    out, _ = ran.communicate(timeout=60)
    assert ran.returncode == 3
    assert json.loads(out)["file"] == f"{folder}/failed/\\udcff.csv"
