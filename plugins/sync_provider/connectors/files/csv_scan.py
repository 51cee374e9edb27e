"""Finds the records in a block of UTF-8 CSV with vector operations, as far as quoting is regular. No I/O.

Quoting is *regular* where quote characters, taken in turn, open and close: an opening one follows a delimiter, a line end, the
start, or directly the closing one before it (a doubled quote); a closing one is followed by a delimiter, a line end, the end, or
directly the next opening one. There, and only there, "inside quotes" is the parity of the quotes before, and any CSV parser
that doubles quotes reads the same records. From the first irregular quote on, `csv_dialect.split_record` decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sync_provider.connectors.files.csv_dialect import Dialect

_LF, _CR = 10, 13


@dataclass(frozen=True, slots=True)
class Scan:
    """The complete records at the front of a block.

    Args:
        starts: offset of each record (int64 array).
        ends: offset just after each record's text, before its line end.
        lines: line ends in the block before each record.
        size_bytes: where the last record's line end ends.
        size_lines: line ends up to there.
        regular: False: the scan stopped at an irregular quote.
    """

    starts: Any
    ends: Any
    lines: Any
    size_bytes: int
    size_lines: int
    regular: bool


def scan(block: bytes, dialect: Dialect, *, final: bool) -> Scan:
    """Find the complete records at the front of a block that starts where a record starts.

    Args:
        block: UTF-8.
        dialect: must be bytewise.
        final: nothing follows the block, so that its last record needs no line end.
    """
    import numpy as np

    data = np.frombuffer(block, dtype=np.uint8)
    ends, nexts = _line_ends(data, block, final=final)
    if final and len(block) and (not len(nexts) or nexts[-1] != len(block)):
        ends, nexts = np.append(ends, len(block)), np.append(nexts, len(block))
    numbers = np.arange(1, len(ends) + 1)
    regular = True
    if dialect.quote is not None and dialect.quote.encode() in block:
        quotes = np.flatnonzero(data == ord(dialect.quote))
        odd = _first_irregular(data, quotes, ord(dialect.delimiter))
        outside = (np.searchsorted(quotes, ends) & 1) == 0
        if odd is not None:
            regular = False
            outside &= nexts <= odd
        ends, nexts, numbers = ends[outside], nexts[outside], numbers[outside]
        if final and regular and (not len(nexts) or nexts[-1] != len(block)):
            regular = False  # the last quote is never closed
    starts = np.concatenate(([0], nexts[:-1])) if len(nexts) else nexts
    lines = np.concatenate(([0], numbers[:-1])) if len(numbers) else numbers
    size = int(nexts[-1]) if len(nexts) else 0
    # A last record without a line end has none to count.
    size_lines = (int(numbers[-1]) if len(numbers) else 0) - int(bool(len(nexts)) and int(ends[-1]) == size)
    return Scan(starts, ends, lines, size, size_lines, regular)


def _line_ends(data: Any, block: bytes, *, final: bool) -> tuple[Any, Any]:
    """For every line end (LF, CR LF, CR): where it begins and where it ends."""
    import numpy as np

    feeds = np.flatnonzero(data == _LF)
    if b"\r" not in block:
        return feeds, feeds + 1
    returns = np.flatnonzero(data == _CR)
    if not final and returns[-1] == len(data) - 1:
        returns = returns[:-1]  # its LF may be what comes next
    follows = np.minimum(returns + 1, len(data) - 1)
    paired = (data[follows] == _LF) & (returns + 1 < len(data))
    before = np.maximum(feeds - 1, 0)
    alone = (data[before] != _CR) | (feeds == 0)
    ends = np.concatenate((feeds[alone], returns))
    nexts = np.concatenate((feeds[alone] + 1, returns + 1 + paired))
    order = np.argsort(ends, kind="stable")
    return ends[order], nexts[order]


def _first_irregular(data: Any, quotes: Any, delimiter: int) -> int | None:
    """Offset of the first quote that is out of order; None: all are regular as far as the block goes."""
    import numpy as np

    opening, closing = quotes[0::2], quotes[1::2]
    previous = data[np.maximum(opening - 1, 0)]
    fine = (opening == 0) | (previous == delimiter) | (previous == _LF) | (previous == _CR)
    fine[1:] |= closing[: len(opening) - 1] + 1 == opening[1:]
    following = data[np.minimum(closing + 1, len(data) - 1)]
    shut = (closing == len(data) - 1) | (following == delimiter) | (following == _LF) | (following == _CR)
    shut[: len(opening) - 1] |= closing[: len(opening) - 1] + 1 == opening[1:]
    bad = np.concatenate((opening[~fine], closing[~shut]))
    return int(bad.min()) if len(bad) else None
