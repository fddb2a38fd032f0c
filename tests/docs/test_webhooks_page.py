"""The commands of the page on webhooks do what it says, at a receiver that is there."""

from collections.abc import Callable

from cloudsignal.server.delivery.pace import DISABLED_AFTER, WARNED_AT
from cloudsignal.server.store.endpoints import STATES
from tests.acceptance.conftest import Server
from tests.docs.pages import DOCS, SHELLS, blocks, generator, text
from tests.docs.test_blocks import run
from tests.owner import ALLOWED, receiving

PAGE = DOCS / "webhooks.md"
URL = "https://owner.example/webhooks"


def test_the_commands_of_the_page_work(make_server: Callable[..., Server]) -> None:
    server = make_server(environment=ALLOWED).start()
    server.environment["CLOUDSIGNAL_DATABASE"] = server.url
    commands = [block.text for block in blocks(PAGE) if block.language in SHELLS]
    with receiving() as owner:
        script = "\n".join(commands).replace(URL, owner.url)

        printed = run(server, ["bash", "-euo", "pipefail", "-c"], script)

    [received] = owner.received
    assert received.json["order"] == "cloudsignal-test"
    assert f"Endpoint 1 of Books & Co: {owner.url}" in printed
    assert "thank you" in printed
    assert "0 deliveries are told once more." in printed


def test_every_state_is_explained() -> None:
    assert [state for state in STATES if f"| `{state}` |" not in text(PAGE)] == []
    assert f"at {WARNED_AT[0]}, {WARNED_AT[1]} and {WARNED_AT[2]} of the {DISABLED_AFTER}" in text(
        PAGE
    )


def test_the_schedule_has_every_wait() -> None:
    page = generator().documents()["schedule.md"]
    assert "| 1 | 5 s | 5 s |" in page
    assert "| 11 to 99 | 1 h 51 min 30 s |" in page
