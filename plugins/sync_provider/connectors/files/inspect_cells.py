"""What a sheet holds, found out from its first rows of cells, whether a workbook's or a spreadsheet's. No I/O.

Cells have types of their own, which texts do not: a number, a date or a truth value is one. What stands in text cells is judged as in a
text file, and is the only thing that a decimal mark or a date order matters for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sync_provider.connectors.files.excel_address import address
from sync_provider.connectors.files.inspect_encoding import Finding
from sync_provider.connectors.files.inspect_types import ColumnFinding, Types, find_number_type, find_types
from sync_provider.connectors.files.inspect_yaml import mapping_blocks
from sync_provider.connectors.files.text_values import canonical
from sync_provider.core.schema import MAX_PRECISION, LogicalType, parse_type

if TYPE_CHECKING:
    import pyarrow as pa

SAMPLE_ROWS = 1_000
NUMBER, DATE, TIMESTAMP, CLOCK = "number", "date", "timestamp", "clock"
BOOLEAN, TEXT, ERROR = "boolean", "text", "error"
"""Kinds of cells: what a value is, or what its number format makes of it. `CLOCK`: a time of day, or elapsed time."""

_FAMILIES = {DATE: DATE, TIMESTAMP: DATE, NUMBER: NUMBER, CLOCK: CLOCK, BOOLEAN: BOOLEAN, TEXT: TEXT}
_WORDS = {NUMBER: "numbers", DATE: "dates", CLOCK: "times of day", BOOLEAN: "truth values", TEXT: "texts"}
_OF_TYPE = {
    **dict.fromkeys(("integer", "decimal", "double"), NUMBER),
    **dict.fromkeys(("date", "timestamp"), DATE),
    "boolean": BOOLEAN,
}
_HEADER_ROWS = 10
_NEARLY, _NEARLY_AS_MANY = 0.9, 0.75


@dataclass(slots=True)
class Cells:
    """One column of a sample: for each row the canonical text and the kind of its cell, None where nothing stands.

    ``remarks``: what number formats show that reading does not give; ``places``: most decimal places that they show.
    """

    texts: list[str | None] = field(default_factory=list)
    kinds: list[str | None] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    places: int = 0


@dataclass(slots=True)
class Grid:
    """The first rows of a sheet.

    Args:
        numbers: 1-based row numbers.
        columns: from column A on, each with a cell for every row.
        complete: whether that was all of them.
        serial_dates: a date read as text is its day number.
    """

    numbers: list[int]
    columns: list[Cells]
    complete: bool = True
    serial_dates: bool = False


@dataclass(frozen=True, slots=True)
class SheetInspection:
    """What is known of one sheet.

    Args:
        source: keys of the endpoint that say which sheet.
        records: records looked at.
        complete: whether that was all of them.
        header: name of each cell of the header row, by its address.
        findings: by the endpoint's keys: header_row, and decimal and date_order where text cells make them matter.
        columns: those that can be mapped, in the sheet's order.
        ambiguities: what a person must decide, in words.
        notes: what is worth knowing besides.
    """

    source: Mapping[str, Any]
    records: int
    complete: bool
    header: dict[str, str]
    findings: dict[str, Finding]
    columns: list[ColumnFinding]
    ambiguities: list[str]
    notes: list[str]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "source": dict(self.source),
            "records": self.records,
            "complete": self.complete,
            "header": self.header,
            **{name: finding.as_dict() for name, finding in self.findings.items()},
            "columns": [column.as_dict() for column in self.columns],
            "ambiguities": self.ambiguities,
            "notes": self.notes,
        }

    def as_yaml(self) -> str:
        """The ``source`` and ``fields`` blocks of a mapping, each value with its confidence and reason."""
        return mapping_blocks(self.source, self.findings, self.columns, self.ambiguities, self.notes)


def inspect_grid(
    grid: Grid, source: Mapping[str, Any], header_row: int | None, *, lowest_header: int
) -> SheetInspection:
    """Inspect a sheet.

    Args:
        grid: its first rows.
        source: keys of the endpoint that say which sheet.
        header_row: 1-based; None: to be found.
        lowest_header: the least ``header_row`` that the endpoint takes; 0: it reads sheets without a header.
    """
    doubts: list[str] = []
    row, names = _header(grid, header_row, lowest_header, doubts)
    below = [index for index, number in enumerate(grid.numbers) if number > row.value]
    notes = [] if grid.complete else [f"only rows up to {grid.numbers[-1]} were looked at"]
    header = {address(row.value or 1, at): name for at, name in names.items()} if row.value else {}
    mapped = _mappable(names, row.value, grid, below, notes)
    columns = {at: _Column(names[at], at, grid, below) for at in mapped}
    types = _text_types(list(columns.values()))
    doubts += [doubt for doubt in types.ambiguities if not doubt.startswith("column ")]
    notes += types.notes
    found = [
        _type(column, text, types, grid, doubts, notes)
        for column, text in zip(columns.values(), types.columns, strict=True)
    ]
    conventions = {
        name: finding
        for name, finding, default in (("decimal", types.decimal, "."), ("date_order", types.date_order, "ymd"))
        if finding.value != default
    }
    records = sum(any(grid.columns[at].kinds[index] for at in mapped) for index in below)
    return SheetInspection(
        source, records, grid.complete, header, {"header_row": row, **conventions}, found, doubts, notes
    )


def _header(grid: Grid, asked: int | None, lowest: int, doubts: list[str]) -> tuple[Finding, dict[int, str]]:
    """The header row, and the name in each of its cells, empty ones included as far as something stands below."""
    places = {number: index for index, number in enumerate(grid.numbers)}
    if asked is not None:
        return Finding(asked, 1.0, "as asked for"), _names(grid, places.get(asked))
    texts = {
        number: sum(column.kinds[index] == TEXT for column in grid.columns)
        for number, index in places.items()
        if number <= _HEADER_ROWS
    }
    most = max(texts.values(), default=0)
    if not most:
        if grid.numbers and lowest == 0:
            return Finding(0, 0.7, "no row of names: texts"), {
                at: f"column_{at + 1}" for at in range(len(grid.columns))
            }
        if grid.numbers:
            doubts.append(
                f"header_row: no row among the first {_HEADER_ROWS} holds names; write them above the records"
            )
        return Finding(1, 0.3, "no row of texts"), {}
    # A record may have as many texts as the header, or more where a column has no name: the first such row it is.
    number = next(number for number, count in texts.items() if count >= _NEARLY_AS_MANY * most)
    names = _names(grid, places[number])
    if value := next(
        (names[at] for at, c in enumerate(grid.columns) if c.kinds[places[number]] not in (TEXT, None)), None
    ):
        doubt = f"header_row: row {number} holds {value!r}, which is no text: are these names, or is it a record?"
        doubts.append(doubt)
        return Finding(number, 0.6, "the first row with as many texts as any"), names
    alike = [at for at in names if _kind_below(grid, at, places[number]) in (TEXT, None)]
    sure = 0.97 if len(alike) < len(names) else 0.7
    why = "texts above values of other kinds" if sure > 0.9 else "the first row of texts; all columns hold texts"
    return Finding(number, sure, why), names


def _names(grid: Grid, index: int | None) -> dict[int, str]:
    if index is None:
        return {}
    return {at: (column.texts[index] or "") for at, column in enumerate(grid.columns)}


def _kind_below(grid: Grid, at: int, index: int) -> str | None:
    return next((kind for kind in grid.columns[at].kinds[index + 1 :] if kind), None)


def _mappable(names: dict[int, str], row: int, grid: Grid, below: list[int], notes: list[str]) -> list[int]:
    """Columns that have a name of their own; the others are told with their cell."""
    places: dict[str, list[int]] = {}
    for at, name in names.items():
        if name.strip():
            places.setdefault(name, []).append(at)
        elif filled := sum(grid.columns[at].kinds[index] is not None for index in below):
            notes.append(f"{address(row, at)} holds no name above {filled} value(s): the column cannot be mapped")
    for name, found in places.items():
        if len(found) > 1:
            cells = " and ".join(address(row, at) for at in found)
            notes.append(f"{name!r} stands there {len(found)} times, in {cells}: not mapped until the names differ")
    return sorted(found[0] for found in places.values() if len(found) == 1)


class _Column:
    """The cells of one column below the header that hold something: row numbers, texts and kinds."""

    def __init__(self, name: str, at: int, grid: Grid, below: Sequence[int]) -> None:
        cells = grid.columns[at]
        held = [index for index in below if cells.kinds[index] not in (None, ERROR)]
        self.name, self.at, self.remarks, self.places = name, at, cells.remarks, cells.places
        self.rows = [grid.numbers[index] for index in held]
        self.texts = [cells.texts[index] or "" for index in held]
        self.kinds = [_FAMILIES[cells.kinds[index] or TEXT] for index in held]
        self.timed = any(cells.kinds[index] == TIMESTAMP for index in held)
        self.errors = [grid.numbers[index] for index in below if cells.kinds[index] == ERROR]

    def of(self, *families: str) -> list[str]:
        return [text for text, kind in zip(self.texts, self.kinds, strict=True) if kind in families]

    def first(self, but: str) -> tuple[str, str]:
        """Text of the first cell of another kind, and which it is."""
        index = next(index for index, kind in enumerate(self.kinds) if kind != but)
        return self.texts[
            index
        ], f"the first of the {_WORDS[self.kinds[index]]} in {address(self.rows[index], self.at)}"

    def counts(self) -> Iterator[tuple[str, int]]:
        yield from Counter(self.kinds).most_common()


def _text_types(columns: Sequence[_Column]) -> Types:
    """What the text cells alone say, all columns together."""
    import pyarrow as pa

    rows = sorted({row for column in columns for row in column.rows})
    arrays = []
    for column in columns:
        texts = {
            row: text for row, text, kind in zip(column.rows, column.texts, column.kinds, strict=True) if kind == TEXT
        }
        arrays.append(pa.array([texts.get(row) for row in rows], pa.string()))
    names = [column.name for column in columns]
    return find_types(names, arrays, pa.array(rows, pa.int64()), null_texts=False, place="row")


def _type(
    column: _Column, text: ColumnFinding, types: Types, grid: Grid, doubts: list[str], notes: list[str]
) -> ColumnFinding:
    if column.errors:
        cell = address(column.errors[0], column.at)
        notes.append(
            f"column {column.name!r}: {len(column.errors)} cell(s) such as {cell} whose formula failed or has no value; such records are rejected"
        )
    notes.extend(f"column {column.name!r}: {remark}" for remark in column.remarks)
    counts = list(column.counts())
    if not counts:
        return ColumnFinding(column.name, "string", 0.3, "no value")
    if len(counts) == 1:
        return _of_texts(text, column, doubts, types) if counts[0][0] == TEXT else _of_kind(column, counts[0][0])
    return _mixed(column, text, types, counts, grid, doubts)


def _of_texts(text: ColumnFinding, column: _Column, doubts: list[str], types: Types) -> ColumnFinding:
    """A column of text cells: somebody may have wanted digits to be text."""
    doubts += [doubt for doubt in types.ambiguities if doubt.startswith(f"column {column.name!r}:")]
    if text.type == "integer":
        return ColumnFinding(column.name, "string", 0.6, "digits in text cells: codes, or numbers kept as text")
    return text if text.type == "string" else replace(text, why=f"in text cells: {text.why}")


def _of_kind(column: _Column, family: str) -> ColumnFinding:
    import pyarrow as pa

    texts = column.of(family)
    match family:
        case "number":
            return _with_places(find_number_type(column.name, pa.array(texts, pa.string())), column.places)
        case "date":
            kind, what = ("timestamp", "date and time") if column.timed else ("date", "date")
            return ColumnFinding(column.name, kind, 0.98, f"numbers that a {what} format shows")
        case "boolean":
            return ColumnFinding(column.name, "boolean", 0.98, "truth values")
    if any(":" in text for text in texts):
        return ColumnFinding(column.name, "string", 0.7, "times of day, read as 23:59:59")
    return ColumnFinding(column.name, "double", 0.6, "times of day, read as fractions of a day")


def _with_places(found: ColumnFinding, places: int) -> ColumnFinding:
    """Room for all decimal places that the column's format shows, even where the sample's numbers have fewer."""
    type_ = parse_type(found.type)
    scale = type_.scale or 0
    if type_.kind not in ("integer", "decimal") or places <= scale:
        return found
    precision = min(MAX_PRECISION, (type_.precision or 12) + places - scale)
    why = f"{found.why}; the format shows {places}" if scale else f"whole numbers, shown with {places} decimal place(s)"
    return replace(found, type=f"decimal({precision},{places})", why=why)


def _mixed(
    column: _Column, text: ColumnFinding, types: Types, counts: list[tuple[str, int]], grid: Grid, doubts: list[str]
) -> ColumnFinding:
    """Cells of several kinds: of one type if the texts among them can be read as it, or are few enough to be errors."""
    family = next(kind for kind, _ in counts if kind != TEXT)
    share = dict(counts)[family] / len(column.kinds)
    told = " and ".join(f"{count:,} {_WORDS[kind]}" for kind, count in counts)
    strange, place = column.first(family)
    if len(counts) == 2 and family != CLOCK and (united := _united(column, family, text, types)):
        return ColumnFinding(column.name, united, 0.8, f"{told}, which read as {_WORDS[family]} ({place})")
    found = _of_kind(column, family)
    if share < _NEARLY:
        serial = "; as text, a date is read as its day number" if grid.serial_dates and DATE in dict(counts) else ""
        return ColumnFinding(column.name, "string", 0.7, f"mixed: {told} ({place}){serial}")
    shown = repr(strange if len(strange) <= 30 else strange[:30] + "…")
    doubts.append(
        f"column {column.name!r}: {told}, such as {shown} ({place}); keep the type {found.type} and reject such records, "
        "correct the cells, or declare string?"
    )
    return ColumnFinding(column.name, found.type, 0.6, f"mixed: {told}")


def _united(column: _Column, family: str, text: ColumnFinding, types: Types) -> str | None:
    """The type that the cells of a kind and the texts among them have in common; None if a text is no such value."""
    import pyarrow as pa

    if TEXT not in column.kinds or _OF_TYPE.get(parse_type(text.type).kind) != family or text.confidence < 0.9:
        return None
    if family == DATE:
        return "timestamp" if column.timed or text.type == "timestamp" else "date"
    if family == BOOLEAN:
        return "boolean"
    decimal, order = types.decimal.value or ".", types.date_order.value or "ymd"
    plain: pa.Array = canonical(pa.array(column.of(TEXT), pa.string()), LogicalType("decimal", 38, 10), decimal, order)
    return find_number_type(column.name, pa.concat_arrays([plain, pa.array(column.of(NUMBER), pa.string())])).type
