"""Laws of reading and writing workbooks."""

from __future__ import annotations

import io
import itertools
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import openpyxl
import pyarrow as pa
import pytest
import rustpy_xlsxwriter
from contract.harness import changes
from excel_files import SheetXml, connector, parts_of, read, table, workbook
from hypothesis import given
from hypothesis import strategies as st
from sync_provider.connectors.base import ReadRequest, TargetColumn, WriteRequest
from sync_provider.connectors.files.excel_guard import Package, Part
from sync_provider.connectors.files.excel_normal import normal_rows
from sync_provider.connectors.files.excel_scan import IrregularError, Rows, scan_rows
from sync_provider.connectors.files.excel_values import CellReader
from sync_provider.connectors.files.excel_workbook import Workbook
from sync_provider.core.canonical import read_text
from sync_provider.core.endpoints import ExcelEndpoint
from sync_provider.core.errors import SyncDataError, SyncError
from sync_provider.core.schema import parse_type

TYPES = {
    "s": "string",
    "i": "integer",
    "d": "decimal(20,4)",
    "f": "double",
    "b": "boolean",
    "on": "date",
    "at": "timestamp",
}
COLUMNS = tuple(TargetColumn(name=name, type=parse_type(kind)) for name, kind in TYPES.items())
PIECES = [
    "=",
    "+",
    "-",
    "@",
    "\t",
    "\r",
    "\n",
    " ",
    "'",
    "<",
    "&amp;",
    "]]>",
    "_x0041_",
    "_x",
    "_",
    "\x00",
    "\x1f",
    "\ufffe",
    "é",
    "😀",
]
texts = st.one_of(
    st.text(st.characters(exclude_categories=("Cs",)), max_size=12),
    st.lists(st.sampled_from(PIECES), max_size=6).map("".join),
    st.sampled_from(["", "001", "1e5", "TRUE", "#N/A", "2024-01-01", "NULL"]),
)
records = st.fixed_dictionaries(
    {
        "s": st.none() | texts,
        "i": st.none() | st.integers(-(2**63), 2**63 - 1) | st.integers(-100, 100),
        "d": st.none() | st.decimals("-9999999999999999", "9999999999999999", places=4),
        "f": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "b": st.none() | st.booleans(),
        "on": st.none() | st.dates(),
        "at": st.none() | st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)).map(lambda d: d.replace(tzinfo=UTC)),  # noqa: DTZ001
    }
)  # fmt: skip


def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("excel")


@given(st.lists(records, max_size=8), st.sampled_from(["UTC", "Europe/Paris", "America/New_York", "Asia/Kolkata"]))
def test_what_is_written_reads_back_equal(tmp_path_factory: pytest.TempPathFactory, rows: list[Any], zone: str) -> None:
    directory = fresh(tmp_path_factory)
    with connector(directory) as opened:
        stream = changes(*(("insert", row, None) for row in rows), columns=COLUMNS)
        result = opened.write(WriteRequest(mode="replace", columns=COLUMNS, timezone=zone), stream)
    assert result.rejections == []
    found = [
        {c.name: None if row[c.name] is None else read_text(row[c.name], c.type, ZoneInfo(zone)) for c in COLUMNS}
        for row in read(directory, None, TYPES).rows
    ]
    # A record without any value is a blank row, which is none.
    assert found == [row for row in rows if any(value is not None for value in row.values())]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_doubles_keep_every_bit(tmp_path_factory: pytest.TempPathFactory, numbers: list[float]) -> None:
    directory = fresh(tmp_path_factory)
    columns = (TargetColumn(name="f", type=parse_type("double")),)
    with connector(directory) as opened:
        stream = changes(*(("insert", {"f": n}, None) for n in numbers), columns=columns)
        opened.write(WriteRequest(mode="replace", columns=columns), stream)
    assert [float(t).hex() for t in read(directory, None, {"f": "double"}).column("f")] == [
        (n + 0.0).hex() for n in numbers
    ]


plain_texts = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="_\ufffe\uffff"), min_size=1, max_size=20
).filter(lambda text: not text.startswith("="))
naive = st.datetimes(datetime(1900, 3, 1), datetime(2078, 12, 31)).map(lambda d: d.replace(microsecond=d.microsecond // 1000 * 1000))  # noqa: DTZ001  # fmt: skip
values = st.one_of(st.none(), plain_texts, st.integers(-(10**14), 10**14), st.booleans(), st.dates(date(1900, 3, 1)), naive,
                   st.decimals(-(10**6), 10**6, places=3).map(float))  # fmt: skip
grids = st.lists(st.lists(values, min_size=3, max_size=3), max_size=10)


def expected(value: Any) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        text = value.isoformat()
        return text.rstrip("0") if "." in text else text
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else format(Decimal(repr(value)), "f")
    return None if value is None else str(value)


@given(grids)
def test_workbooks_made_by_openpyxl_read_as_what_was_put_in(
    tmp_path_factory: pytest.TempPathFactory, grid: list[list[Any]]
) -> None:
    directory = fresh(tmp_path_factory)
    book = openpyxl.Workbook()
    for row in (["a", "b", "c"], *grid):
        book.active.append(row)
    book.save(directory / "book.xlsx")
    found = [[row[name] for name in "abc"] for row in read(directory).rows]
    assert found == [[expected(v) for v in row] for row in grid if any(v is not None for v in row)]


# This library formats whole columns, so a number among dates would be shown as a date, and rounds times to seconds.
seconds = naive.map(lambda d: d.replace(microsecond=0))
typed_rows = st.tuples(st.none() | plain_texts, st.none() | st.integers(-(10**14), 10**14), st.none() | seconds)


@given(st.lists(typed_rows, max_size=10))
def test_workbooks_made_by_rust_xlsxwriter_read_as_what_was_put_in(
    tmp_path_factory: pytest.TempPathFactory, grid: list[tuple[Any, ...]]
) -> None:
    directory = fresh(tmp_path_factory)
    rows = [dict(zip("abc", row, strict=True)) for row in [("x", None, None), *grid]]
    rustpy_xlsxwriter.write_worksheet(rows, str(directory / "book.xlsx"))
    found = [[row[name] for name in "abc"] for row in read(directory).rows][1:]
    assert found == [[expected(v) for v in row] for row in grid if any(v is not None for v in row)]


STATES = st.dictionaries(
    st.sampled_from("abcdefgh"), st.tuples(st.none() | texts, st.none() | st.integers(-99, 99)), max_size=8
)


@given(STATES, STATES, st.sampled_from(["upsert", "mirror"]))
def test_applying_a_difference_gives_the_other_state_and_again_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, before: dict[str, Any], after: dict[str, Any], mode: Any
) -> None:
    directory = fresh(tmp_path_factory)
    columns = tuple(
        TargetColumn(name=n, type=parse_type(t)) for n, t in (("k", "string"), ("s", "string"), ("i", "integer"))
    )

    def row(key: str, state: dict[str, Any]) -> dict[str, Any]:
        return {"k": key, "s": state[key][0], "i": state[key][1]}

    def write(*triples: Any) -> Any:
        with connector(directory) as opened:
            request = WriteRequest(mode=mode, columns=columns, key=("k",))
            return opened.write(request, changes(*triples, columns=columns))

    write(*(("insert", row(k, before), None) for k in before))
    difference = [("insert", row(k, after), None) for k in after if k not in before]
    difference += [("update", row(k, after), row(k, before)) for k in after if k in before and after[k] != before[k]]
    difference += [("delete", None, row(k, before)) for k in before if k not in after]
    result = write(*difference)
    assert (result.rejections, result.deferred_keys) == ([], [])
    assert result.inserted + result.updated + result.deleted == len(difference)
    found = {r["k"]: (r["s"], None if r["i"] is None else int(r["i"])) for r in read(directory).rows}
    assert found == after
    content = (directory / "book.xlsx").read_bytes()
    again = write(*difference)
    assert (again.inserted, again.updated, again.deleted, again.deferred_keys) == (0, 0, 0, [])
    assert (directory / "book.xlsx").read_bytes() == content
    assert openpyxl.load_workbook(directory / "book.xlsx").active["A1"].value == "k"


# What follows compares the fast way of taking a sheet apart with the real XML parser.

CELLS = st.sampled_from(
    [
        '<c r="@"><v>1</v></c>', '<c r="@" s="1"><v>45000.5</v></c>', '<c r="@" t="s"><v>0</v></c>', '<c r="@" s="2"/>', '<c r="@" />',
        '<c r="@" t="b"><v>1</v></c>', '<c r="@" t="e"><v>#N/A</v></c>', '<c r="@"><f>1+1</f></c>', '<c r="@"><f>A1</f><v>2</v></c>',
        '<c r="@" t="str"><f>x</f><v></v></c>', '<c r="@" t="inlineStr"><is><t xml:space="preserve"> a&amp;b </t></is></c>',
        '<c r="@" s="3" t="str"><v>x &gt; y</v></c>', '<c r="@"><v>1e-7</v></c>', '<c r="@"><f t="shared" si="0"/><v>3</v></c>',
        '<c r="@" t="inlineStr"><is></is></c>', '<c r="@" cm="1"><v>4</v></c>', "",
    ]
)  # fmt: skip
SHEETS = st.lists(st.lists(CELLS, min_size=4, max_size=4), max_size=6)


def sheet_xml(grid: list[list[str]]) -> str:
    return "".join(
        f'<row r="{n}" spans="1:4">{"".join(c.replace("@", f"{letter}{n}") for letter, c in zip("ABCD", row, strict=True))}</row>'
        for n, row in enumerate(grid, 1)
    )


def taken(rows: Iterator[Rows]) -> list[Any]:
    """Everything that rows tell, value by value."""
    reader = CellReader(
        Workbook(None, "", formats=[0, 1, 2, 0]),  # type: ignore[arg-type] - no part of it is asked for
        ExcelEndpoint(type="excel", path="x"),
        "s",
        pa.array(["shared"]),
    )
    found = []
    for chunk in rows:
        for column in range(4):
            cells = reader.column(chunk, column)
            numbers = chunk.number.tolist()
            found += [
                (number, column, text, index in cells.errors, index in cells.unvalued)
                for index, (number, text) in enumerate(zip(numbers, cells.texts.to_pylist(), strict=True))
            ]
    return sorted(found, key=lambda each: each[:2])


def both(data: bytes) -> tuple[Any, Any]:
    """What the two ways give; None where it is refused or declined."""
    name = "xl/worksheets/sheet1.xml"
    ways: list[Callable[[Part], Iterator[Rows]]] = [scan_rows, lambda part: normal_rows(part, 0)]
    results: list[Any] = []
    for way in ways:
        try:
            results.append(taken(way(Package(io.BytesIO(data)).open(name))))
        except (SyncError, IrregularError):
            results.append(None)
    return results[0], results[1]


@given(SHEETS)
def test_the_fast_way_and_the_xml_parser_agree(grid: list[list[str]]) -> None:
    fast, slow = both(workbook(SheetXml(sheet_xml(grid))))
    assert slow is not None
    assert fast == slow


MUTATIONS = [
    b"<",
    b">",
    b"/",
    b'"',
    b"'",
    b" ",
    b"&",
    b"=",
    b"0",
    b"1",
    b"r",
    b"c",
    b"v",
    b"<c",
    b"</c>",
    b"<v>",
    b"<!--",
    b"<![CDATA[",
]


@given(SHEETS, st.data())
def test_mutated_sheets_give_the_xml_parsers_result_or_a_sync_error(grid: list[list[str]], data: st.DataObject) -> None:
    xml = f"<worksheet><sheetData>{sheet_xml(grid)}</sheetData></worksheet>".encode()
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(xml)))
        end = start + data.draw(st.integers(0, 4))
        xml = xml[:start] + data.draw(st.sampled_from([b"", *MUTATIONS])) + xml[end:]
    fast, slow = both(workbook(SheetXml(""), extra={"xl/worksheets/sheet1.xml": xml}))
    if fast is not None and slow is not None:
        assert fast == slow


@given(st.data())
def test_mutated_files_give_a_result_or_a_sync_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    directory = fresh(tmp_path_factory)
    whole = _sample()
    if data.draw(st.booleans()):
        whole = whole[: data.draw(st.integers(0, len(whole)))]
    changed = bytearray(whole)
    for _ in range(data.draw(st.integers(0, 4)) if changed else 0):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = read(directory, bytes(changed), header_row=0)
    except SyncError as error:
        message = str(error)
    else:
        message = f"book.xlsx: {len(found.rows)} rows"
    assert message.startswith("book.xlsx")


@given(st.data())
def test_mutated_parts_give_a_result_or_a_sync_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    parts = parts_of(_sample())
    name = data.draw(st.sampled_from(sorted(parts)))
    part = parts[name]
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(part)))
        new = data.draw(st.sampled_from([b"", *MUTATIONS]) | st.binary(max_size=3))
        part = part[:start] + new + part[start + data.draw(st.integers(0, 6)) :]
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for each, content in {**parts, name: part}.items():
            made.writestr(each, content)
    directory = fresh(tmp_path_factory)
    try:
        read(directory, file.getvalue())
        with connector(directory) as opened:
            columns = (TargetColumn(name="k", type=parse_type("string")),)
            stream = changes(("insert", {"k": "new"}, None), columns=columns)
            opened.write(WriteRequest(mode="append", columns=columns), stream)
        # What we wrote into a workbook that we could read is readable.
        assert "new" in read(directory, None, {"k": "string"}).column("k")
    except SyncError:
        return


def _sample() -> bytes:
    strings = "<si><t>shared</t></si><si><r><t>rich</t></r></si>"
    rows = (
        '<c r="A2" t="s"><v>0</v></c><c r="B2" s="1"><v>45000</v></c>',
        '<c r="A3" t="s"><v>1</v></c><c r="B3"><v>1</v></c>',
    )
    return workbook(SheetXml(table(("k", "v"), *rows)), strings=strings)


@pytest.mark.parametrize("offset", [timedelta(0), timedelta(microseconds=1), timedelta(milliseconds=1)])
def test_every_second_of_some_days_survives(tmp_path: Path, offset: timedelta) -> None:
    columns = (TargetColumn(name="at", type=parse_type("timestamp")),)
    starts = [datetime(y, m, d, tzinfo=UTC) + offset for y, m, d in ((1900, 1, 1), (1999, 12, 31), (2077, 6, 1))]
    moments = [start + timedelta(seconds=n) for start, n in itertools.product(starts, range(0, 86_400, 7))]
    with connector(tmp_path) as opened:
        batch = pa.RecordBatch.from_pydict({"at": pa.array(moments, pa.timestamp("us", "UTC"))})
        opened.write(WriteRequest(mode="append", columns=columns), iter([batch]))
    found = read(tmp_path, None, {"at": "timestamp"}).column("at")
    assert [datetime.fromisoformat(text).replace(tzinfo=UTC) for text in found] == moments


def test_a_reading_can_be_started_again(tmp_path: Path) -> None:
    (tmp_path / "book.xlsx").write_bytes(_sample())
    with connector(tmp_path) as opened:
        one, two = (sum(b.records.num_rows for b in opened.read(ReadRequest())) for _ in range(2))
    assert one == two == 2


def test_a_part_is_checked_to_its_end(tmp_path: Path) -> None:
    with pytest.raises(SyncDataError, match=r"cut short|middle"):
        list(scan_rows(Part("x", io.BytesIO(b'<worksheet><sheetData><row r="1"/>'))))
