"""Everything that can be set, called, sent, answered or measured has its place in the documentation."""

import typer

from cloudsignal.cli import app
from cloudsignal.protocol import items, refusals, signals
from cloudsignal.server.cloudcore import states
from cloudsignal.server.metrics import Metrics
from cloudsignal.server.prometheus import text as metrics_text
from cloudsignal.server.settings import declared
from cloudsignal.server.store.delivery_log import Standing
from tests.docs.pages import DOCS, generator, text

REFERENCE = DOCS / "reference"


def mentioned(names, page):
    return {name for name in names if f"`{name}`" not in text(page)}


def test_generated_pages_are_not_stale():
    stale = {
        name: "run `make docs`"
        for name, content in generator().documents().items()
        if text(REFERENCE / name) != content
    }
    assert stale == {}


def test_there_is_no_generated_page_that_nothing_makes():
    assert {page.name for page in REFERENCE.iterdir()} == set(generator().documents())


def test_every_signal_type_and_field_is_explained():
    fields = {field.name for signal in signals.SIGNAL_TYPES for field in signals.fields(signal)}
    assert mentioned([*signals.BY_NAME, *signals.REMOVED_TYPES, *fields], DOCS / "contract.md") == (
        set()
    )


def test_every_signal_type_has_its_heading_and_the_causes_are_listed():
    page = text(REFERENCE / "signals.md")
    assert [name for name in signals.BY_NAME if f"\n## {name}\n" not in page] == []
    assert mentioned(signals.CANCELLATION_CAUSES, REFERENCE / "signals.md") == set()


def test_every_error_type_is_explained_with_its_status():
    lines = text(DOCS / "contract.md").splitlines()
    missing = {
        name
        for name, status in refusals.STATUS.items()
        if not any(f"`{name}`" in line and f"| {status} |" in line for line in lines)
    }
    assert missing == set()
    assert mentioned(refusals.STATUS, REFERENCE / "errors.md") == set()


def test_every_state_of_an_order_is_explained():
    found = [each for each in vars(states).values() if isinstance(each, states.OrderState)]
    assert len(found) == 4
    names = [name for each in found for name in (each.number, each.code)]
    assert mentioned(names, DOCS / "cloudcore.md") == set()


def test_every_finding_is_explained():
    assert mentioned(items.FINDINGS, DOCS / "contract.md") == set()
    assert mentioned(items.FINDINGS, REFERENCE / "findings.md") == set()


def test_every_state_has_its_place_in_the_api_and_the_glossary():
    states = {"unknown", *items.PROGRESS, *items.FINAL}
    assert mentioned(states, DOCS / "api.md") == set()
    assert mentioned(states, DOCS / "glossary.md") == set()


def test_every_setting_has_its_place():
    names = {each.name for each in declared()} | {each.variable for each in declared()}
    names |= {each.flag for each in declared() if not each.secret}
    assert mentioned(names, REFERENCE / "settings.md") == set()


def commands(path, command):
    children = getattr(command, "commands", None)
    if children is None:
        return [(path, command)]
    own = [(path, command)] if command.invoke_without_command else []
    below = [commands(f"{path} {name}", each) for name, each in children.items()]
    return own + [found for each in below for found in each]


def test_every_command_and_flag_has_its_place():
    pages = text(REFERENCE / "cli.md") + text(REFERENCE / "settings.md")
    missing = []
    for path, command in commands("cloudsignal", typer.main.get_command(app)):
        missing += [path] if f"\n## {path}\n" not in pages else []
        for param in command.params:
            names = [*param.opts, *param.secondary_opts]
            missing += [
                f"{path} {name}"
                for name in names
                if name.startswith("-") and f"`{name}`" not in pages
            ]
    assert missing == []


def test_every_metric_has_its_place():
    figures = metrics_text(Metrics(lambda: 0).figures(), Standing({}, {}, 0)).decode()
    kinds = [line.split()[2] for line in figures.splitlines() if line.startswith("# TYPE ")]
    assert len(kinds) >= 7
    assert mentioned(kinds, DOCS / "operating.md") == set()


def test_every_route_of_the_api_has_its_place(make_server):
    document = make_server().start().get("/api/v1/openapi.json").json
    routes = [
        f"{method.upper()} {path}"
        for path, operations in document["paths"].items()
        if path.startswith("/api/")
        for method in operations
    ]
    assert len(routes) >= 10
    assert {route for route in routes if f"`{route}`" not in text(DOCS / "api.md")} == set()
    parameters = {
        each["name"]
        for path, operations in document["paths"].items()
        if path.startswith("/api/")
        for operation in operations.values()
        for each in operation.get("parameters", [])
        if each["in"] != "path"
    }
    assert mentioned(parameters, DOCS / "api.md") == set()
