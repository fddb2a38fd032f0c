"""How a table gets to a server, and how that goes on after an interruption."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudsignal import InvalidSignals, NotNow, Receipt, SendError, SetupError, Signal
from cloudsignal.partner.importing import Import
from cloudsignal.partner.rows import Layout

HEADER = "type,order,item,datetime\n"
NOON = "2026-01-01T12:00:00Z"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orders.csv"


class Taking:
    """A server that refuses some items, keeps what it takes, and breaks when it is told to."""

    def __init__(self, refused: frozenset[int] = frozenset()) -> None:
        self.refused = {str(number) for number in refused}
        self.left = 10**9
        self.stored: list[str] = []
        self.sent: list[str] = []

    def send(self, *signals: Signal) -> Receipt:
        if not self.left:
            raise NotNow("not now")
        self.left -= 1
        items = [signal.item for signal in signals]
        if self.refused & set(items):
            raise InvalidSignals("it is refused")
        self.stored += items
        return Receipt(len(items), len(items), 0, len(self.stored))


def table_of(numbers: range, wrong: frozenset[int] = frozenset()) -> str:
    return HEADER + "".join(
        f"{'Item' if n in wrong else 'ItemPacked'},7,{n},{NOON}\n" for n in numbers
    )


def import_all(path: Path, server: Taking, **layout: Any) -> Import:
    with Import(path, Layout(**layout), to="there") as begun:
        for _ in begun.run(server.send, most=10):
            pass
    return begun


def break_off(path: Path, server: Taking) -> None:
    """Import the first bundle only."""
    with Import(path, Layout(), to="there") as begun:
        next(begun.run(server.send, most=10))


def errors_of(path: Path) -> list[tuple[str, str]]:
    """The items in a file of errors, and what is wrong with them."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8-sig", newline="") as file:
        return [(row["item"], row["error"]) for row in csv.DictReader(file)]


def beside(path: Path) -> list[str]:
    return sorted(each.name for each in path.parent.iterdir())


numbers = st.frozensets(st.integers(0, 59), max_size=8)


@settings(deadline=None)  # It writes to a disk, again and again.
@given(
    count=st.integers(0, 60),
    wrong=numbers,
    refused=numbers,
    breaks=st.lists(st.integers(0, 12), max_size=4),
)
def test_however_often_it_breaks_every_row_is_stored_once_or_listed_once(
    tmp_path_factory: pytest.TempPathFactory,
    count: int,
    wrong: frozenset[int],
    refused: frozenset[int],
    breaks: list[int],
) -> None:
    path = tmp_path_factory.mktemp("import") / "orders.csv"
    path.write_text(table_of(range(count), wrong))
    server = Taking(refused)
    for left in breaks:
        server.left = left
        try:
            import_all(path, server)
        except SendError:
            continue
        break
    else:
        server.left = 10**9
        begun = import_all(path, server)
        assert begun.wrong == len((wrong | refused) & set(range(count)))

    listed = [int(item) for item, _ in errors_of(path.with_name("orders.errors.csv"))]
    assert listed == sorted((wrong | refused) & set(range(count)))
    assert set(server.stored) == {str(n) for n in range(count) if n not in wrong | refused}
    assert "orders.csv.progress" not in beside(path)


def test_what_is_sent_twice_is_no_more_than_the_bundle_in_flight(path: Path) -> None:
    path.write_text(table_of(range(100)))
    server = Taking()
    server.left = 4
    with pytest.raises(NotNow):
        import_all(path, server)
    assert server.stored == [str(n) for n in range(40)]
    server.left = 10**9
    begun = import_all(path, server)
    assert begun.notes == ["it goes on after row 40, where it was interrupted"]
    assert server.stored == [str(n) for n in range(100)]


def test_errors_of_a_bundle_that_was_not_acknowledged_are_taken_back(path: Path) -> None:
    path.write_text(table_of(range(30), wrong=frozenset({1, 11, 21})))
    server = Taking()
    break_off(path, server)
    errors = path.with_name("orders.errors.csv")
    with errors.open("a") as file:
        file.write("half a row")
    assert import_all(path, server).wrong == 3
    assert [item for item, _ in errors_of(errors)] == ["1", "11", "21"]


@pytest.mark.parametrize("other", ["file", "flags", "server", "progress"])
def test_another_import_begins_anew(path: Path, other: str) -> None:
    path.write_text(table_of(range(20)))
    server = Taking()
    break_off(path, server)
    if other == "file":
        path.write_text(table_of(range(20, 40)))
    if other == "progress":
        path.with_name("orders.csv.progress").write_text("nonsense")
    layout = Layout(timezone="UTC" if other == "flags" else None)
    with Import(path, layout, to="elsewhere" if other == "server" else "there") as begun:
        assert begun.done == 0
        assert begun.notes[0].endswith("it begins anew")
        assert len(list(begun.run(server.send, most=10))) == 2
    assert len(server.stored) == 30


def test_errors_are_corrected_and_imported(path: Path) -> None:
    content = f"Auftrag;item;datetime;cause\n7;1;{NOON};gestört – naß\n7;2;noon;gestört\n"
    path.write_bytes(content.encode("cp1252"))
    server = Taking()
    layout = {"type": "ItemDelay", "columns": {"Auftrag": "order"}, "encoding": "cp1252"}
    assert import_all(path, server, **layout).wrong == 1
    errors = path.with_name("orders.errors.csv")
    corrected = errors.read_text(encoding="cp1252").replace("noon", NOON)
    assert corrected.startswith("error;Auftrag;item;datetime;cause\n")
    errors.write_text(corrected, encoding="cp1252")

    begun = import_all(errors, server, **layout)

    assert (begun.wrong, begun.table.columns.unused, server.stored) == (0, [], ["1", "2"])
    assert beside(path) == ["orders.csv", "orders.errors.csv"]


def test_a_row_that_stays_wrong_tells_its_newest_error(path: Path) -> None:
    path.write_text(table_of(range(2), wrong=frozenset({1})))
    server = Taking(frozenset({1}))
    import_all(path, server)
    errors = path.with_name("orders.errors.csv")
    errors.write_text(errors.read_text(encoding="utf-8-sig").replace(",Item,", ",ItemPacked,"))
    import_all(errors, server)
    assert errors_of(path.with_name("orders.errors.errors.csv")) == [("1", "it is refused")]


def test_errors_of_an_import_before_are_kept(path: Path) -> None:
    errors = path.with_name("orders.errors.csv")
    errors.write_text("corrected by hand")
    path.write_text(table_of(range(1)))
    begun = import_all(path, Taking())
    assert begun.notes == [
        f"{errors} of an import before is {path.parent}/orders.errors.old.csv now"
    ]
    assert beside(path) == ["orders.csv", "orders.errors.old.csv"]


def test_a_folder_that_cannot_be_written_to_is_said_before_anything_is_sent(path: Path) -> None:
    path.write_text(table_of(range(1)))
    path.with_name("orders.csv.progress.new").mkdir()
    server = Taking()
    with pytest.raises(SetupError, match="an import keeps its progress and its errors beside"):
        import_all(path, server)
    assert server.stored == []


def test_a_bundle_is_no_larger_than_a_post_may_be(path: Path) -> None:
    cause = "x" * 2000
    path.write_text(
        "type,order,item,datetime,cause\n"
        + "".join(f"ItemDelay,7,{n},{NOON},{cause}\n" for n in range(1000))
    )
    server = Taking()
    with Import(path, Layout(), to="there") as begun:
        bundles = list(begun.run(server.send, most=1000))
    assert len(bundles) == 2
    assert len(server.stored) == 1000


def test_a_row_of_too_many_cells_is_listed_with_all_of_them(path: Path) -> None:
    """Or the file of errors would hold a row that looks right, and is another one."""
    path.write_text(
        "order;item;datetime;tracking;shipping_option\n"
        f"7;1;{NOON};1A;2B;GLS\n7;2;{NOON};1A;GLS;\n7\n"
    )
    server = Taking()
    assert import_all(path, server, type="ItemShipped").wrong == 2
    errors = path.with_name("orders.errors.csv")
    with errors.open(encoding="utf-8-sig", newline="") as file:
        assert [cells[1:] for cells in csv.reader(file, delimiter=";")] == [
            ["order", "item", "datetime", "tracking", "shipping_option"],
            ["7", "1", NOON, "1A", "2B", "GLS"],
            ["7"],
        ]
    assert import_all(errors, server, type="ItemShipped").wrong == 2
    assert server.stored == ["2"]


def test_errors_of_all_imports_before_are_kept(path: Path) -> None:
    for day in range(4):
        path.write_text(HEADER + f"ItemPacked,{day},1,noon\n")
        import_all(path, Taking())
    assert beside(path) == [
        "orders.csv",
        "orders.errors.csv",
        "orders.errors.old.2.csv",
        "orders.errors.old.3.csv",
        "orders.errors.old.csv",
    ]


@pytest.mark.parametrize("edit", ["correct", "cut", "take away"])
def test_errors_that_were_corrected_before_it_goes_on_are_put_aside(path: Path, edit: str) -> None:
    path.write_text(table_of(range(30), wrong=frozenset({1, 11, 21})))
    server = Taking()
    break_off(path, server)
    errors = path.with_name("orders.errors.csv")
    corrected = errors.read_text().replace("Item,", "ItemPacked,")
    errors.write_text({"correct": corrected, "cut": corrected[:9]}.get(edit, ""))
    if edit == "take away":
        errors.unlink()
    begun = import_all(path, server)
    assert begun.notes[0] == "it goes on after row 10, where it was interrupted"
    assert begun.wrong == 2
    assert [item for item, _ in errors_of(errors)] == ["11", "21"]
    if edit == "correct":
        aside = path.with_name("orders.errors.old.csv")
        assert begun.notes[1] == f"{errors} which was changed since then, is {aside} now"
        assert aside.read_text() == corrected


@pytest.mark.parametrize("other", ["orders.csv", "orders.tsv"])
def test_one_at_a_time_imports_a_table_or_what_has_the_same_errors(path: Path, other: str) -> None:
    path.write_text(table_of(range(20)))
    path.with_name("orders.tsv").write_text(table_of(range(20)))
    with (
        Import(path, Layout(), to="there"),
        pytest.raises(SetupError, match="another import of this table is under way"),
    ):
        Import(path.with_name(other), Layout(), to="elsewhere")
    import_all(path.with_name(other), Taking())
    assert beside(path) == ["orders.csv", "orders.tsv"]


def test_two_links_to_one_table_exclude_each_other(path: Path) -> None:
    path.write_text(table_of(range(20)))
    links = [path.parent / folder / name for folder, name in (("a", "one.csv"), ("b", "two.csv"))]
    for link in links:
        link.parent.mkdir()
        link.symlink_to(path)
    for first, second in (links, [path, links[0]], [links[0], path]):
        with (
            Import(first, Layout(), to="there"),
            pytest.raises(SetupError, match="another import of this table is under way"),
        ):
            Import(second, Layout(), to="there")
    import_all(links[1], Taking(frozenset({3})))
    assert beside(links[0]) == ["one.csv"]
    assert beside(links[1]) == ["two.csv", "two.errors.csv"]
    assert beside(path) == ["a", "b", "orders.csv"]


def test_links_of_one_stem_to_two_tables_have_one_file_of_errors(path: Path) -> None:
    tables = [path, path.with_name("others.csv")]
    for table, suffix in zip(tables, ("csv", "tsv"), strict=True):
        table.write_text(table_of(range(20)))
        path.with_name(f"link.{suffix}").symlink_to(table)
    with (
        Import(path.with_name("link.csv"), Layout(), to="there"),
        pytest.raises(SetupError, match="another import of this table is under way"),
    ):
        Import(path.with_name("link.tsv"), Layout(), to="there")


def test_what_a_killed_import_left_does_not_lock_the_next_one_out(path: Path) -> None:
    path.write_text(table_of(range(20)))
    path.with_name("orders.importing").touch()
    import_all(path, Taking())
    assert beside(path) == ["orders.csv"]


def test_a_table_that_changes_while_it_is_imported_is_to_be_imported_again(path: Path) -> None:
    path.write_text(table_of(range(20)))
    server = Taking()
    with Import(path, Layout(), to="there") as begun:
        bundles = begun.run(server.send, most=10)
        next(bundles)
        path.write_text(table_of(range(30)))
        with pytest.raises(SetupError, match="changed while it was imported: import it again"):
            list(bundles)
    import_all(path, server)
    assert set(server.stored) == {str(n) for n in range(30)}


def test_a_table_that_cannot_be_read_to_its_end_is_said_before_anything_is_sent(path: Path) -> None:
    path.write_bytes(table_of(range(30)).encode() + b"ItemPacked,7,\xfc,\n")
    server = Taking()
    with pytest.raises(SetupError, match="line 32 is not utf-8"):
        import_all(path, server)
    assert server.stored == []


def test_what_another_version_wrote_of_its_errors_is_not_believed(path: Path) -> None:
    """Else the errors that it counted in another way would be cut off."""
    path.write_text(table_of(range(20), wrong=frozenset({3})))
    break_off(path, Taking())
    progress = path.with_name("orders.csv.progress")
    before = json.loads(progress.read_bytes())
    assert before["errors"]["rows"] == 1
    progress.write_text(json.dumps({"digest": before["digest"], "rows": 10, "wrong": 1}))
    import_all(path, Taking())
    assert [item for item, _ in errors_of(path.with_name("orders.errors.csv"))] == ["3"]
    assert [item for item, _ in errors_of(path.with_name("orders.errors.old.csv"))] == ["3"]
