"""New workbooks: exact, inert, styled, and within Excel's limits."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pytest
from contract.harness import changes
from excel_files import connector, parts_of, read
from sync_provider.connectors.base import TargetColumn, WriteRequest, WriteResult
from sync_provider.connectors.files import excel_insert
from sync_provider.core.errors import MappingError, SyncDataError
from sync_provider.core.schema import parse_type


def columns(**types: str) -> tuple[TargetColumn, ...]:
    return tuple(TargetColumn(name=name, type=parse_type(kind)) for name, kind in types.items())


def write(
    directory: Path,
    types: dict[str, str],
    rows: Sequence[dict[str, Any]],
    *,
    mode: Any = "replace",
    key: tuple[str, ...] = (),
    timezone: str = "UTC",
    path: str = "book.xlsx",
    **options: Any,
) -> WriteResult:
    wanted = columns(**types)
    stream = changes(*(("insert", row, None) for row in rows), columns=wanted)
    request = WriteRequest(mode=mode, columns=wanted, key=key, timezone=timezone)
    with connector(directory, path, **options) as opened:
        return opened.write(request, stream)


def test_values_are_real_numbers_dates_and_booleans(tmp_path: Path) -> None:
    types = {"n": "integer", "d": "decimal(9,2)", "f": "double", "b": "boolean", "on": "date", "at": "timestamp"}
    row = {
        "n": 7,
        "d": Decimal("1.50"),
        "f": 0.1 + 0.2,
        "b": True,
        "on": date(2024, 2, 29),
        "at": datetime(2024, 7, 1, 12, tzinfo=UTC),
    }
    write(tmp_path, types, [row], timezone="Europe/Paris")
    sheet = openpyxl.load_workbook(tmp_path / "book.xlsx").active
    assert [cell.value for cell in sheet[2]] == [
        7,
        1.5,
        0.1 + 0.2,
        True,
        datetime.fromisoformat("2024-02-29"),
        datetime.fromisoformat("2024-07-01T14:00"),
    ]
    assert [cell.number_format for cell in sheet[2]] == [
        "0", "0.00", "General", "General", "yyyy-mm-dd", "yyyy-mm-dd hh:mm:ss",
    ]  # fmt: skip


def test_a_table_has_a_frozen_bold_header_and_widths_that_show_the_content(tmp_path: Path) -> None:
    write(tmp_path, {"code": "string", "a long column name": "integer"}, [{"code": "x" * 30, "a long column name": 1}])
    sheet = openpyxl.load_workbook(tmp_path / "book.xlsx").active
    assert sheet.freeze_panes == "A2"
    assert sheet["A1"].font.b
    assert sheet.column_dimensions["A"].width == 32
    assert sheet.column_dimensions["B"].width == 20


def test_plain_style_has_only_the_formats_that_reading_back_needs(tmp_path: Path) -> None:
    write(tmp_path, {"n": "integer", "on": "date"}, [{"n": 1, "on": date(2024, 1, 1)}], style="plain")
    sheet = openpyxl.load_workbook(tmp_path / "book.xlsx").active
    assert (sheet.freeze_panes, sheet["A1"].font.b, sheet["A2"].number_format) == (None, False, "General")
    assert sheet["B2"].is_date


HOSTILE = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(1)",
    '=HYPERLINK("http://x")',
    "\t=1",
    "\r=1",
    "'=1",
    "-5",
    "http://x.y",
    "1e5",
    "TRUE",
    "2024-01-01",
]


def test_text_is_inert_and_reads_back_identical(tmp_path: Path) -> None:
    write(tmp_path, {"v": "string"}, [{"v": text} for text in HOSTILE])
    sheet = openpyxl.load_workbook(tmp_path / "book.xlsx").active
    assert {cell.data_type for cell in sheet["A"]} <= {"s", "inlineStr"}
    assert b"<f" not in parts_of(tmp_path / "book.xlsx")["xl/worksheets/sheet1.xml"]
    assert read(tmp_path, None, {"v": "string"}).column("v") == HOSTILE


def test_a_negative_number_stays_a_number(tmp_path: Path) -> None:
    write(tmp_path, {"v": "decimal(9,2)"}, [{"v": Decimal("-5.00")}])
    assert openpyxl.load_workbook(tmp_path / "book.xlsx").active["A2"].value == -5


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("integer", 10**15, "1000000000000000"),
        ("integer", 2**63 - 1, "9223372036854775807"),
        ("integer", -(2**63), "-9223372036854775808"),
        ("decimal(38,2)", Decimal("12345678901234.56"), "12345678901234.56"),
        ("decimal(38,20)", Decimal("0.00000000000000000001"), "0.00000000000000000001"),
        ("double", 1.7e308, "1.7e+308"),
        ("double", 5e-324, "5e-324"),
        ("date", date(1899, 12, 31), "1899-12-31"),
        ("date", date(1, 1, 1), "0001-01-01"),
        ("timestamp", datetime(1850, 1, 1, 12, tzinfo=UTC), "1850-01-01T12:00:00"),
        ("timestamp", datetime(2024, 1, 1, 0, 0, 0, 3, tzinfo=UTC), "2024-01-01T00:00:00.000003"),
    ],
)
def test_what_a_cells_number_cannot_hold_is_text(tmp_path: Path, kind: str, value: object, text: str) -> None:
    write(tmp_path, {"v": kind}, [{"v": value}], style="plain")
    cell = openpyxl.load_workbook(tmp_path / "book.xlsx").active["A2"]
    if cell.data_type == "n":
        assert Decimal(repr(cell.value)) == Decimal(text)
    else:
        assert cell.value == text
    assert read(tmp_path, None, {"v": kind}).column("v") == [text]


@pytest.mark.parametrize("value", [10**15 - 1, -(10**15) + 1, 0])
def test_integers_that_excel_shows_whole_are_numbers(tmp_path: Path, value: int) -> None:
    write(tmp_path, {"v": "integer"}, [{"v": value}])
    assert openpyxl.load_workbook(tmp_path / "book.xlsx").active["A2"].value == value


def test_a_time_that_clocks_show_twice_is_written_with_its_offset(tmp_path: Path) -> None:
    twice = [datetime(2024, 10, 27, hour, 30, tzinfo=UTC) for hour in (0, 1)]
    write(tmp_path, {"v": "timestamp"}, [{"v": at} for at in twice], timezone="Europe/Paris")
    texts = read(tmp_path, None, {"v": "timestamp"}).column("v")
    assert texts == ["2024-10-27T02:30:00+02:00", "2024-10-27T02:30:00+01:00"]
    assert [datetime.fromisoformat(text) for text in texts] == twice


def test_a_text_longer_than_a_cell_is_rejected_and_the_rest_is_written(tmp_path: Path) -> None:
    rows = [{"k": "a", "v": "x" * 32_767}, {"k": "b", "v": "x" * 32_768}, {"k": "c", "v": "𝄞" * 16_384}]
    result = write(tmp_path, {"k": "string", "v": "string"}, rows, mode="upsert", key=("k",))
    assert result.inserted == 1
    assert [(r.rule, r.field, r.key, r.value) for r in result.rejections] == [
        ("too_long", "v", "b", None),
        ("too_long", "v", "c", None),
    ]
    assert read(tmp_path).column("v") == ["x" * 32_767]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_is_rejected(tmp_path: Path, value: float) -> None:
    result = write(tmp_path, {"v": "double"}, [{"v": value}, {"v": 1.5}])
    assert [r.rule for r in result.rejections] == ["not_finite"]
    assert read(tmp_path).column("v") == ["1.5"]


def test_a_full_sheet_is_an_error_and_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(excel_insert, "MAX_ROWS", 3)
    with pytest.raises(SyncDataError, match="full"):
        write(tmp_path, {"v": "integer"}, [{"v": n} for n in range(3)])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a/b", "x" * 32, "'a", "[a]"])
def test_a_name_that_no_sheet_can_have_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(SyncDataError, match="name of a sheet"):
        write(tmp_path, {"v": "integer"}, [], sheet=name)


def test_a_pattern_of_sheets_cannot_be_written_to(tmp_path: Path) -> None:
    with pytest.raises(MappingError, match="only be read"):
        write(tmp_path, {"v": "integer"}, [], sheet="/a/")


@pytest.mark.parametrize("path", ["book.xls", "book.xlsb", "book.ods", "book.xlsm", "book.csv"])
def test_only_xlsx_is_created(tmp_path: Path, path: str) -> None:
    with pytest.raises(SyncDataError, match=r"\.xlsx"):
        write(tmp_path, {"v": "integer"}, [], path=path)


def test_a_header_below_the_first_row_is_written_there(tmp_path: Path) -> None:
    write(tmp_path, {"v": "integer"}, [{"v": 1}], header_row=3, sheet="Données & co")
    sheet = openpyxl.load_workbook(tmp_path / "book.xlsx")["Données & co"]
    assert [cell.value for cell in sheet["A"]] == [None, None, "v", 1]


def test_no_records_give_a_header_alone(tmp_path: Path) -> None:
    write(tmp_path, {"v": "integer", "w": "string"}, [])
    with connector(tmp_path) as opened:
        assert [c.name for c in opened.describe()] == ["v", "w"]
    assert read(tmp_path).rows == []


def test_updates_of_a_file_that_is_gone_are_deferred(tmp_path: Path) -> None:
    wanted = columns(k="string", v="integer")
    stream = changes(
        ("update", {"k": "a", "v": 2}, {"k": "a", "v": 1}),
        ("insert", {"k": "b", "v": 1}, None),
        ("delete", None, {"k": "c", "v": 1}),
        columns=wanted,
    )
    with connector(tmp_path) as opened:
        result = opened.write(WriteRequest(mode="mirror", columns=wanted, key=("k",)), stream)
    assert (result.inserted, result.updated, result.deleted, result.deferred_keys) == (1, 0, 0, ["a"])


def test_a_new_workbook_has_no_dimension_to_go_stale_and_declares_every_part(tmp_path: Path) -> None:
    write(tmp_path, {"v": "string"}, [{"v": "x"}])
    parts = parts_of(tmp_path / "book.xlsx")
    assert b"<dimension" not in parts["xl/worksheets/sheet1.xml"]
    types = parts["[Content_Types].xml"].decode()
    assert all(f'"/{name}"' in types for name in parts if name.startswith("xl/") and not name.endswith(".rels"))


def test_many_batches_are_one_table(tmp_path: Path) -> None:
    wanted = columns(v="integer")
    batches = (
        pa.RecordBatch.from_pydict({"__op": ["insert"] * 20_000, "v": range(n, n + 20_000)}) for n in (0, 20_000)
    )
    with connector(tmp_path) as opened:
        opened.write(WriteRequest(mode="append", columns=wanted), batches)
    assert read(tmp_path, None, {"v": "integer"}).column("v") == [str(n) for n in range(40_000)]
