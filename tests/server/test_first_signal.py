"""Programs that send a first signal: what is in them stays words. That they run is in tests/acceptance."""

import ast
import json
import shlex

import pytest

from cloudsignal.protocol.http import ENDPOINT
from cloudsignal.server.first_signal import curl, first_signal, programs

KEY = "0123456789abcdef" * 2
SIGNAL = first_signal(7, now=1_767_225_600_000_000)
HOSTILE = """http://a"b'c\\d$e{f}`id`;</textarea>END"""


def test_every_interface_has_an_item_of_its_own() -> None:
    assert SIGNAL == {
        "type": "ItemRegistered",
        "order": "first-signal-7",
        "item": "1",
        "datetime": "2026-01-01T00:00:00+00:00",
    }


@pytest.mark.parametrize("address", ["http://127.0.0.1:8000", "https://[2001:db8::1]", HOSTILE])
def test_an_address_is_a_word_in_every_language(address: str) -> None:
    found = programs(address, KEY, SIGNAL)
    assert list(found) == ["curl", "Python", "PHP", "Node"]

    words = shlex.split(found["curl"])
    assert words[:3] == ["curl", "-i", address + ENDPOINT]
    assert json.loads(words[-1]) == {"apikey": KEY} | SIGNAL

    first, *lines, last = found["Python"].splitlines()
    assert (first, last) == ("python3 - <<'END'", "END")
    tree = ast.walk(ast.parse("\n".join(lines)))
    assert address in [each.value for each in tree if isinstance(each, ast.Constant)]

    assert json.dumps(address + ENDPOINT) in found["Node"]
    escaped = (address + ENDPOINT).replace("\\", "\\\\").replace("'", "\\'")
    assert f"file_get_contents('{escaped}', false" in found["PHP"]


def test_a_usual_address_is_not_quoted() -> None:
    line = curl("http://127.0.0.1:8000", KEY, SIGNAL)
    assert line.startswith(f"curl -i http://127.0.0.1:8000{ENDPOINT} -H ")
