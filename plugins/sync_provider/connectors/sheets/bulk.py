"""Many rows on their way into a tab: kept as plain values, and cut into bodies of a bounded size. No I/O."""

from __future__ import annotations

from collections.abc import Iterator

from sync_provider.connectors.sheets.cells import Scalar, entered
from sync_provider.connectors.sheets.edits import Cell, compact

_SIZED_ROWS = 200  # whose size is looked at together


class RawRows:
    """Rows of values as `Encoder` gives them, ``width`` each."""

    def __init__(self, width: int) -> None:
        self.width = width
        self._rows: list[list[Scalar]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, rows: list[list[Scalar]]) -> None:
        self._rows += rows

    def cells(self, rows: int) -> Iterator[tuple[int, list[list[Cell]]]]:
        """Blocks of at most some rows: number of the first, and its cells."""
        for start in range(0, len(self._rows), rows):
            yield start, [[entered(value) for value in row] for row in self._rows[start : start + rows]]

    def blocks(self, body_bytes: int) -> Iterator[tuple[int, list[list[Scalar]], dict[tuple[int, int], Cell]]]:
        """Blocks for RAW input of less than so many bytes: number of the first row, values, and the cells left out of them.

        What RAW makes of a leading apostrophe is nowhere said: such texts go another way.
        """
        awkward: dict[tuple[int, int], Cell] = {}
        block: list[list[Scalar]] = []
        start = size = 0
        for at in range(0, len(self._rows), _SIZED_ROWS):
            part = [self._plain(at + offset, awkward) for offset in range(min(_SIZED_ROWS, len(self._rows) - at))]
            for piece, added in _sized(part, body_bytes):
                if block and size + added > body_bytes:
                    yield start, block, awkward
                    start, block, size, awkward = start + len(block), [], 0, {}
                block = block + piece if block else piece
                size += added
        if block:
            yield start, block, awkward

    def _plain(self, number: int, awkward: dict[tuple[int, int], Cell]) -> list[Scalar]:
        row = self._rows[number]
        if any(isinstance(value, str) and value[:1] == "'" for value in row):
            for column, value in enumerate(row):
                if isinstance(value, str) and value[:1] == "'":
                    awkward[number, column] = entered(value)
            return [None if isinstance(value, str) and value[:1] == "'" else value for value in row]
        return row


def _sized(rows: list[list[Scalar]], body_bytes: int) -> Iterator[tuple[list[list[Scalar]], int]]:
    """Rows with their size, in pieces that may stand in one body; a single row always may."""
    size = len(compact(rows))
    if size <= body_bytes or len(rows) == 1:
        yield rows, size
    else:
        half = len(rows) // 2
        yield from _sized(rows[:half], body_bytes)
        yield from _sized(rows[half:], body_bytes)
