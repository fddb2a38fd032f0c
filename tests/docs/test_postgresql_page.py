"""What docs/postgresql.md tells a superuser to type is typed, and the roles can do what it says."""

import subprocess
from collections.abc import Iterator

import pytest

from tests import postgresql
from tests.acceptance.conftest import MakeServer, eventually, signal
from tests.docs.pages import DOCS, blocks

SETUP, READER, AFTERWARDS = [
    block.text for block in blocks(DOCS / "postgresql.md") if block.language == "sql"
]


@pytest.fixture
def database() -> Iterator[postgresql.Server]:
    server = postgresql.Server(postgresql.binaries()["newest"]).initialise()
    try:
        yield server.start()
    finally:
        server.remove()


def typed(server: postgresql.Server, text: str) -> None:
    """Type into psql, as the superuser."""
    subprocess.run(
        [server.programs / "psql", "-X", "-v", "ON_ERROR_STOP=1", "-d", server.url()],
        input=text,
        text=True,
        check=True,
        stdout=subprocess.DEVNULL,
    )


def test_the_roles_can_do_what_they_are_for_and_no_more(
    database: postgresql.Server, make_server: MakeServer
) -> None:
    def url(role: str) -> str:
        return f"postgresql://{role}:x@127.0.0.1:{database.port}/cloudsignal"

    typed(database, SETUP)
    typed(database, READER)
    node = make_server(database=url("cloudsignal")).start()
    typed(database, AFTERWARDS)
    key = node.interface()
    sent = signal()

    assert node.post({"apikey": key} | sent).status == 200

    looking = make_server(database=url("cloudsignal_reader"))
    found = looking.cli_json("item", "show", sent["order"], sent["item"])
    assert (found["order"], found["item"]) == (sent["order"], sent["item"])
    refused = looking.cli("partner", "create", "Somebody", code=1)
    assert "permission denied" in refused.stderr
    with pytest.raises(Exception, match="permission denied for table apikeys"):
        postgresql.execute(url("cloudsignal_reader"), "SELECT * FROM apikeys")
    eventually(lambda: node.item(sent["order"], sent["item"]))
    assert database.execute(
        "SELECT rolsuper OR rolcreatedb OR rolcreaterole FROM pg_roles"
        " WHERE rolname = 'cloudsignal'"
    ) == [(False,)]
