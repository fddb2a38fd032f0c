"""``cloudsignal doctor``: whether signals will get through."""

from typing import TYPE_CHECKING

from cloudsignal.cli.outbox import OutboxFile
from cloudsignal.cli.output import Failed, Json, plain, print_json
from cloudsignal.cli.profile import (
    Reach,
    client_of,
    failing,
    in_force,
    reaching,
)

if TYPE_CHECKING:
    from cloudsignal.partner.doctor import Finding


@reaching
def examine_setup(
    json: Json = False,
    outbox: OutboxFile = None,
    *,
    reach: Reach,
) -> None:
    """Look whether signals will get through: address, server, key, clock, outbox. Nothing is sent."""
    found: list[Finding] = []
    with failing():
        from pathlib import Path

        from cloudsignal.partner.doctor import examine

        chosen = in_force(reach)
        path = outbox or (Path(chosen.outbox) if chosen.outbox else None)
        with client_of(chosen) as client:
            for finding in examine(client, path):
                found.append(finding)
                if not json:
                    _print(finding)
    if json:
        print_json(found)
    wrong = [finding.what for finding in found if not finding.ok]
    if wrong:
        raise Failed(f"not as it should be: {', '.join(wrong)}")


def _print(finding: "Finding") -> None:
    print(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.what:8} {plain(finding.info)}", flush=True)
