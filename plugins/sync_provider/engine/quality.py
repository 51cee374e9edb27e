"""Validation by Great Expectations: which staged records fail which rule, piece by piece in bounded memory.

Record rules are judged on pieces of `PIECE_ROWS` records. Uniqueness is judged on candidates only, the records whose values
stand more than once, found by DuckDB with spilling: GX says the same of them as it would of the whole. Rules about the batch need
their columns whole; these are numbers for the most part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sync_provider.connectors.base import FILE, ROW, SHEET
from sync_provider.core.canonical import write_text
from sync_provider.core.expectations import RECORD, UNIQUE, check_expectations, columns_of, derived
from sync_provider.core.mapping import Expectation, Mapping
from sync_provider.core.report import Rejection
from sync_provider.engine import gx_session
from sync_provider.engine.coordinates import record_place
from sync_provider.engine.data_docs import observed_text, render
from sync_provider.engine.identity import copied_hint
from sync_provider.engine.quality_forms import Form, Rule, rule_for, to_pandas
from sync_provider.engine.scratch import Scratch, quote, streamed

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

PIECE_ROWS = 100_000
Staged = Callable[[list[str] | None], Iterator["pa.RecordBatch"]]
"""Reads the staged records anew, in order, some columns only (None: all)."""


@dataclass(slots=True)
class Verdict:
    """One rule over the whole batch.

    Args:
        expectation: as the mapping or its key declares it.
        derived: whether it follows from the key.
        elements: records looked at. missing: of these, skipped for being null.
        rows: positions of the failing records, ascending (record rules).
        success: `mostly` included.
        observed: what a batch rule measured; None where it would be a record's value.
        error: why it could not be judged.
    """

    expectation: Expectation
    derived: bool
    elements: int = 0
    missing: int = 0
    rows: list[int] = field(default_factory=list)
    success: bool = True
    observed: Any = None
    error: str | None = None


@dataclass(slots=True)
class Quality:
    """The outcome of a validation.

    Args:
        verdicts: one per rule, the mapping's own first.
        rejected_rows: 0-based positions of the records to leave out.
        rejections: one per such record, made as they are asked for.
        batch_failures: sentences, one per critical rule about the batch that failed.
        html: the Data Docs page of this run, without record values.
    """

    verdicts: list[Verdict]
    rejected_rows: frozenset[int]
    rejections: Iterable[Rejection]
    batch_failures: list[str]
    html: str

    @property
    def expectations(self) -> int:
        return len(self.verdicts)

    @property
    def failed(self) -> int:
        return sum(not verdict.success for verdict in self.verdicts)

    @property
    def warnings(self) -> int:
        """Records that failed a rule which does not reject them."""
        return sum(len(v.rows) for v in self.verdicts if not v.success and not set(v.rows) <= self.rejected_rows)


def assess(mapping: Mapping, staged: Staged, *, rows: int, letters: dict[str, str] | None = None) -> Quality:
    """Judge all staged records by all rules.

    Args:
        mapping: its expectations, and those that follow from its key.
        staged: the records.
        rows: how many there are.
        letters: destination name → letters of its source column, for records of a sheet.

    Raises:
        MappingError: an expectation is unknown, or its arguments do not fit.
    """
    for error in check_expectations(mapping):
        raise error
    types = {f.destination: f.logical_type for f in mapping.fields}
    own = list(mapping.validation.expectations)
    declared = [
        *own,
        *(rule for rule in derived(mapping) if rule.type not in {e.type for e in own if e.kwargs == rule.kwargs}),
    ]
    rules = [rule_for(e, types, f"validation.expectations[{i}]") for i, e in enumerate(declared)]
    verdicts = [Verdict(e, derived=i >= len(own)) for i, e in enumerate(declared)]
    _Judge(types, staged, rows).judge(rules, verdicts)
    rejected, reasons = _rejected(mapping, verdicts)
    return Quality(
        verdicts=verdicts,
        rejected_rows=frozenset(rejected),
        rejections=_rejections(mapping, staged, reasons, letters or {}) if reasons else (),
        batch_failures=_batch_failures(mapping, verdicts),
        html=render(mapping, verdicts, rows=rows, rejected=len(rejected)),
    )


class _Judge:
    """Brings records and rules together, each kind of rule in its own way."""

    def __init__(self, types: dict[str, Any], staged: Staged, rows: int) -> None:
        self._types, self._staged, self._rows = types, staged, rows

    def judge(self, rules: list[Rule], verdicts: list[Verdict]) -> None:
        groups: dict[str, list[int]] = {"record": [], "unique": [], "batch": []}
        for number, rule in enumerate(rules):
            name = rule.expectation.type
            groups["record" if name in RECORD else "unique" if name in UNIQUE else "batch"].append(number)
        if self._rows:
            for frame in self._pieces(_forms(rules, groups["record"])):
                self._collect(rules, verdicts, groups["record"], frame)
            for number in groups["unique"]:
                self._collect(rules, verdicts, [number], self._candidates(rules[number]))
        for number in groups["record"] + groups["unique"]:
            _settle(verdicts[number], self._rows)
        if groups["batch"]:
            self._collect(rules, verdicts, groups["batch"], self._whole(_forms(rules, groups["batch"])))

    def _collect(self, rules: list[Rule], verdicts: list[Verdict], numbers: list[int], frame: pd.DataFrame) -> None:
        built = [
            gx_session.build(rules[number].expectation, rules[number].kwargs, position)
            for position, number in enumerate(numbers)
        ]
        if not built:
            return
        for number, outcome in zip(numbers, gx_session.evaluate(built, frame), strict=True):
            verdict = verdicts[number]
            verdict.elements += outcome.elements
            verdict.missing += outcome.missing
            verdict.rows += outcome.rows
            verdict.observed = outcome.observed
            verdict.success &= outcome.success
            verdict.error = verdict.error or outcome.error

    def _pieces(self, forms: list[Form]) -> Iterator[pd.DataFrame]:
        if not forms:
            return
        import pyarrow as pa

        names = sorted({form.column for form in forms})
        start = 0
        held: list[pa.RecordBatch] = []
        for batch in self._staged(names):
            held.append(batch)
            if sum(b.num_rows for b in held) >= PIECE_ROWS:
                piece = pa.Table.from_batches(held)
                yield self._frame(piece, forms, range(start, start + piece.num_rows))
                start += piece.num_rows
                held = []
        if held:
            piece = pa.Table.from_batches(held)
            yield self._frame(piece, forms, range(start, start + piece.num_rows))

    def _whole(self, forms: list[Form]) -> pd.DataFrame:
        import pandas as pd
        import pyarrow as pa

        if not forms:
            return pd.DataFrame({gx_session.ORDINAL: range(self._rows)})
        names = sorted({form.column for form in forms})
        schema = pa.schema([pa.field(name, self._types[name].to_arrow()) for name in names])
        batches = (batch.select(names).cast(schema) for batch in self._staged(names))
        return self._frame(pa.Table.from_batches(batches, schema), forms, range(self._rows))

    def _candidates(self, rule: Rule) -> pd.DataFrame:
        """The records whose values for this rule stand more than once, in order."""
        import pyarrow as pa

        names = [form.column for form in rule.forms]
        columns = ", ".join(quote(name) for name in names)
        schema = pa.schema([pa.field(name, self._types[name].to_arrow()) for name in names])
        with Scratch() as scratch:
            records = (batch.select(names).cast(schema) for batch in self._staged(names))
            with streamed(scratch.db, "stream", schema, records):
                scratch.db.execute("CREATE TABLE records AS SELECT row_number() OVER () - 1 AS __n, * FROM stream")
            table = scratch.db.sql(
                f"SELECT r.* FROM records r WHERE ({columns}) IN "  # noqa: S608
                f"(SELECT ({columns}) FROM records GROUP BY ALL HAVING count(*) > 1) ORDER BY __n"
            ).to_arrow_table()
        ordinals = table.column("__n").to_pylist()
        return self._frame(table.select(names).cast(schema), list(rule.forms), ordinals)

    def _frame(self, table: pa.Table, forms: list[Form], ordinals: Iterable[int]) -> pd.DataFrame:
        import pandas as pd

        series: dict[str, Any] = {gx_session.ORDINAL: ordinals}
        for form in forms:
            series[form.alias] = to_pandas(table.column(form.column).combine_chunks(), form, self._types[form.column])
        return pd.DataFrame(series)


def _forms(rules: list[Rule], numbers: list[int]) -> list[Form]:
    return sorted({form for number in numbers for form in rules[number].forms}, key=lambda form: form.alias)


def _settle(verdict: Verdict, rows: int) -> None:
    """Judge `mostly` over the whole, as GX does: the share of records, nulls apart, that pass."""
    verdict.rows.sort()
    verdict.elements = rows
    considered = rows - verdict.missing
    mostly = float(verdict.expectation.kwargs.get("mostly", 1.0))
    if verdict.error is None:
        verdict.success = considered <= 0 or (considered - len(verdict.rows)) / considered >= mostly


def _rejected(mapping: Mapping, verdicts: list[Verdict]) -> tuple[set[int], dict[int, list[Verdict]]]:
    """Records to leave out, each with the rules it fails. The key's own rules hold whatever `on_failure` says."""
    reasons: dict[int, list[Verdict]] = {}
    for verdict in verdicts:
        rejects = verdict.derived or mapping.validation.on_failure != "warn"
        if verdict.success or not rejects or verdict.expectation.severity != "critical":
            continue
        for row in verdict.rows:
            reasons.setdefault(row, []).append(verdict)
    return set(reasons), reasons


def _batch_failures(mapping: Mapping, verdicts: list[Verdict]) -> list[str]:
    found = []
    for verdict in verdicts:
        about_batch = verdict.expectation.type not in RECORD | UNIQUE
        judged = verdict.error is None
        if verdict.success or (judged and not about_batch) or verdict.expectation.severity != "critical":
            continue
        if judged and mapping.validation.on_failure == "warn":
            continue
        observed = observed_text(verdict)
        reason = verdict.error if not judged else f"observed {observed}" if observed else "not met"
        arguments = ", ".join(f"{name}={value!r}" for name, value in verdict.expectation.kwargs.items())
        found.append(f"{verdict.expectation.type}({arguments}): {reason}")
    return found


def _rejections(
    mapping: Mapping, staged: Staged, reasons: dict[int, list[Verdict]], letters: dict[str, str]
) -> Iterator[Rejection]:
    """The failing records as rejections, with their coordinates; reads the staged records once more."""
    start = 0
    names = [f.destination for f in mapping.fields]
    for batch in staged([*names, FILE, SHEET, ROW]):
        for row in sorted(reasons.keys() & set(range(start, start + batch.num_rows))):
            values = {name: batch.column(name)[row - start].as_py() for name in names}
            texts = {name: None if value is None else write_text(value) for name, value in values.items()}
            first, *more = reasons[row]
            columns = columns_of(first.expectation)
            parts = [texts[name] for name in mapping.key]
            rest = f" and {len(more)} more rules" if more else ""
            if first.derived and first.expectation.type in UNIQUE and (hint := copied_hint(mapping, "source")):
                rest += f". {hint}"
            yield Rejection(
                rule=first.expectation.type,
                field=columns[0] if len(columns) == 1 else None,
                value=texts[columns[0]] if len(columns) == 1 else None,
                message=f"{_sentence(first.expectation, columns)}{rest}",
                where=record_place(batch, row - start, letters.get(columns[0]) if columns else None),
                key="|".join(part or "" for part in parts) if parts and None not in parts else None,
                record=texts,
            )
        start += batch.num_rows


def _sentence(expectation: Expectation, columns: list[str]) -> str:
    names = ", ".join(columns)
    if expectation.type == "expect_column_values_to_not_be_null":
        return f"{names} is empty"
    if expectation.type in UNIQUE:
        return f"another record has the same {names}"
    arguments = {k: v for k, v in expectation.kwargs.items() if not k.startswith("column")}
    written = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    return f"{names} does not meet {expectation.type}({written})"
