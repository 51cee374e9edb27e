"""Delimiter, quote, preamble and header of delimited text, found by parsing it each possible way. No I/O."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from sync_provider.connectors.files.csv_dialect import Dialect, Record, count_lines, split_record
from sync_provider.connectors.files.inspect_encoding import Finding
from sync_provider.core.errors import SyncDataError

DELIMITERS = {
    ",": "comma",
    ";": "semicolon",
    "\t": "tab",
    "|": "vertical bar",
    "\x1f": "unit separator",
    "^": "caret",
    "~": "tilde",
}
_QUOTES = ('"', "'", None)
_VALUE = re.compile(r"[+-]?[0-9][0-9 .,\u00a0\u202f/:TZ+-]*|[^@\s]+@[^@\s]+\.[a-z]+")
_MAX_RECORDS = 1000
_MAX_PREAMBLE = 50
_CERTAIN, _GOOD, _CLEARLY = 0.999, 0.9, 0.3


@dataclass(frozen=True, slots=True)
class Row:
    """One record of the sample: line on which it starts, and its fields' texts."""

    line: int
    fields: tuple[str, ...]
    quoted: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """The sample parsed one way.

    Args:
        width: most frequent number of fields.
        share: records with that width among those after the preamble.
        first: index of the first row of the table.
        broken: how many times parsing had to start anew behind a quote out of order.
    """

    delimiter: str
    quote: str | None
    rows: list[Row]
    width: int
    share: float
    first: int
    broken: int

    @property
    def table(self) -> list[Row]:
        return self.rows[self.first :]

    @property
    def quoted(self) -> int:
        return sum(row.quoted for row in self.table)

    @property
    def typed(self) -> float:
        """Share of the values below the first row that are numbers, dates or the like."""
        values = [f for row in self.table[1:200] for f in row.fields if f]
        return sum(looks_like_value(v) for v in values) / len(values) if values else 0.0


def find_layout(text: str, *, complete: bool) -> tuple[Attempt, Finding, Finding, list[str]]:
    """How the text is divided into fields.

    Returns:
        The best attempt, its delimiter (None where two fit alike), its quote, and what remains ambiguous in words.
    """
    attempts = [a for d in DELIMITERS if d in text for q in _QUOTES if (a := _attempt(text, d, q, complete=complete))]
    fitting = [a for a in attempts if a.width > 1 and a.share >= 0.5]
    if not fitting:
        single = _attempt(text, "\x1f", '"', complete=complete) or _attempt(text, "\x1f", None, complete=complete)
        if single is None:
            single = Attempt(",", '"', [], 1, 0.0, 0, 0)
        why = "no character divides the lines into the same number of fields"
        return single, Finding(",", 0.7, f"{why}: a single column"), Finding(single.quote, 0.7, why), []
    best = max(fitting, key=_rank)
    # Decimal commas divide rows as evenly as semicolons do, but leave no values.
    best = max(
        (a for a in fitting if a is best or _rivals(a, best)),
        key=lambda a: (a.typed > best.typed + _CLEARLY, a is best),
    )
    rivals = [a for a in fitting if a.delimiter != best.delimiter and _rivals(a, best)]
    doubts = []
    delimiter = Finding(
        best.delimiter,
        min(0.99, best.share),
        f"{DELIMITERS[best.delimiter]}: {best.share:.0%} of the records have {best.width} fields",
    )
    if rivals:
        rival = max(rivals, key=_rank)
        doubts.append(
            f"delimiter: {DELIMITERS[best.delimiter]} gives {best.width} columns, {DELIMITERS[rival.delimiter]} {rival.width}; both fit"
        )
        delimiter = Finding(None, 0.5, doubts[0])
    quote = _quote(best)
    if best.quote is None and (opened := next((row for row in best.table if _opens_quote(row)), None)):
        value = next(text for text in opened.fields if text.startswith('"'))
        doubts.append(
            f"quote: the value {_start(value)} on line {opened.line} starts with a quote, but quotes are out of order in this file; "
            "correct them, or declare quote: null, which keeps them as part of the values"
        )
        quote = Finding(None, 0.5, doubts[-1])
    return best, delimiter, quote, doubts


def _rank(attempt: Attempt) -> tuple[float, ...]:
    """Higher is better: few breaks, an even table, quotes that are used, a header in it, many columns, a usual delimiter."""
    usual = -list(DELIMITERS).index(attempt.delimiter)
    evenness = 2 if attempt.share >= _CERTAIN else 1 if attempt.share >= _GOOD else 0
    clean = attempt.broken == 0
    stray = -sum(_is_wrapped(f) for row in attempt.table[:200] for f in row.fields)
    plain = attempt.quote != "'" or attempt.quoted > 0
    return (
        evenness, -attempt.first, clean, stray, plain, attempt.quoted > 0, attempt.quote == '"', attempt.share, attempt.width, usual,
    )  # fmt: skip


def _rivals(other: Attempt, best: Attempt) -> bool:
    """Whether another delimiter divides the same rows just as evenly, from the same line on."""
    return (
        other.share >= _CERTAIN
        and best.share >= _CERTAIN
        and other.first == best.first
        and other.broken == best.broken
        and len(other.table) > 1
        and other.quoted >= best.quoted
        and other.typed > best.typed - _CLEARLY
    )


def _quote(best: Attempt) -> Finding:
    if best.quote is None:
        return Finding(None, 0.9, "quote characters stand inside values and never around them")
    if best.quoted:
        broken = f", {best.broken} out of order" if best.broken else ""
        return Finding(best.quote, 0.99 if not best.broken else 0.6, f"{best.quoted} quoted values{broken}")
    return Finding(best.quote, 0.95, "no value is quoted; the usual quote does no harm")


def _opens_quote(row: Row) -> bool:
    return any(text.startswith('"') for text in row.fields)


def _start(value: str) -> str:
    return repr(value if len(value) <= 30 else value[:30] + "…")


def _attempt(text: str, delimiter: str, quote: str | None, *, complete: bool) -> Attempt | None:
    """Parse the sample; None if quotes are so much out of order that nothing remains."""
    dialect = Dialect(delimiter, quote, "utf-8", 1)
    rows: list[Row] = []
    position, line, broken = 0, 1, 0
    while position < len(text) and len(rows) < _MAX_RECORDS:
        try:
            record = split_record(text, position, dialect, line=line, final=complete)
        except SyncDataError:
            broken += 1
            if broken > 20:
                return None
            record = split_record(text, position, Dialect(delimiter, None, "utf-8", 1), line=line, final=True)
        if record is None:
            break
        if not record.is_blank:
            rows.append(_row(record, line))
        line += count_lines(text[position : record.next])
        position = record.next
    if not rows:
        return None
    # A preamble is short: the table is what most records look like.
    width = Counter(len(r.fields) for r in rows).most_common(1)[0][0]
    widths = Counter(len(r.fields) for r in rows[min(len(rows) // 2, _MAX_PREAMBLE) :])
    width = widths.most_common(1)[0][0] if width == 1 else width
    first = _first_row(rows, width)
    table = rows[first:]
    share = sum(len(r.fields) == width for r in table) / len(table)
    return Attempt(delimiter, quote, rows, width, share, first, broken)


def _row(record: Record, line: int) -> Row:
    return Row(line, tuple(f.text for f in record.fields), sum(f.quoted for f in record.fields))


def _first_row(rows: list[Row], width: int) -> int:
    """Index of the first row of the table: the first one as wide as the rest that is not mostly empty."""
    for index, row in enumerate(rows[:_MAX_PREAMBLE]):
        # A header may lack the delimiter that ends each of the other rows.
        if (
            len(row.fields) in (width, width - 1 if width > 2 else width)
            and sum(bool(f) for f in row.fields) * 2 > width
        ):
            following = rows[index + 1 : index + 4]
            if all(len(r.fields) == width for r in following):
                return index
    return next((n for n, row in enumerate(rows) if len(row.fields) == width), 0)


def looks_like_value(text: str) -> bool:
    """Whether a text is a number, a date, a time or an e-mail address rather than a name."""
    return _VALUE.fullmatch(text.strip()) is not None


def _is_wrapped(text: str) -> bool:
    """Whether a value is still wrapped in quotes after parsing: then they are the real ones."""
    return len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
