"""Programs that send a first signal through a new interface, ready to be pasted into a terminal."""

from shlex import quote
from typing import Final

import msgspec

from cloudsignal.protocol import datetimes
from cloudsignal.protocol.http import ENDPOINT
from cloudsignal.protocol.signals import ItemRegistered

# What is between the lines of END is handed over as it is, and no other user of the machine sees it.
_PYTHON: Final = """\
python3 - <<'END'
from cloudsignal import Client, {type}, now

with Client({address}, apikey={apikey}) as client:
    print(client.send({type}(order={order}, item={item}, datetime=now())))
END
"""
_PHP: Final = """\
php <<'END'
<?php
$signal = [
    'apikey' => {apikey},
    'type' => '{type}',
    'order' => {order},
    'item' => {item},
    'datetime' => gmdate('Y-m-d H:i:s') . ' GMT',
];
$post = stream_context_create(['http' => [
    'method' => 'POST',
    'header' => 'Content-Type: application/json',
    'content' => json_encode($signal),
    'ignore_errors' => true,
]]);
echo file_get_contents({endpoint}, false, $post);
END
"""
_NODE: Final = """\
node --input-type=module - <<'END'
const answer = await fetch({endpoint}, {{
  method: "POST",
  headers: {{ "Content-Type": "application/json" }},
  body: JSON.stringify({{
    apikey: {apikey},
    type: "{type}",
    order: {order},
    item: {item},
    datetime: new Date().toISOString(),
  }}),
}});
console.log(answer.status, await answer.text());
END
"""


def first_signal(interface: int, *, now: int) -> dict[str, str]:
    """A signal about an item that no other interface has reported, which would keep it to itself."""
    return {
        "type": ItemRegistered.__name__,
        "order": f"first-signal-{interface}",
        "item": "1",
        "datetime": datetimes.write(now),
    }


def curl(address: str, apikey: str, signal: dict[str, str]) -> str:
    """A command that posts a signal to the server at an address."""
    body = msgspec.json.encode({"apikey": apikey} | signal).decode()
    url = quote(address + ENDPOINT)
    return f"curl -i {url} -H 'Content-Type: application/json' -d {quote(body)}"


def programs(address: str, apikey: str, signal: dict[str, str]) -> dict[str, str]:
    """What posts a signal, by the language it is in; but for curl, it happens whenever that is run."""
    words = {
        "address": address,
        "endpoint": address + ENDPOINT,
        "apikey": apikey,
        "order": signal["order"],
        "item": signal["item"],
    }
    as_json = {name: msgspec.json.encode(word).decode() for name, word in words.items()}
    as_php = {name: _in_php(word) for name, word in words.items()}
    type = signal["type"]
    return {
        "curl": curl(address, apikey, signal),
        "Python": _PYTHON.format(type=type, **as_json),
        "PHP": _PHP.format(type=type, **as_php),
        "Node": _NODE.format(type=type, **as_json),
    }


def _in_php(text: str) -> str:
    """A text in quotes in which PHP takes nothing for the name of a variable."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
