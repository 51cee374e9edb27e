"""Where a table is: the connected blocks of filled cells that `values.append` looks for."""

from __future__ import annotations

from sync_provider.sandbox.model import Area, Sheet

Box = tuple[int, int, int, int]
"""Top, bottom, left, right; half open."""


def find_table(sheet: Sheet, within: Area) -> Area | None:
    """The last table that meets an area: the lowest, then the rightmost."""
    meeting = [table for table in find_tables(sheet) if table.meets(within)]
    return max(meeting, key=lambda table: (table.bottom, table.right), default=None)


def find_tables(sheet: Sheet) -> list[Area]:
    """The boxes around the connected blocks of filled cells; a corner connects."""
    blocks = _Blocks()
    above: list[tuple[int, int, int]] = []
    for row, cells in enumerate(sheet.rows):
        current = []
        for start, end in _runs([cell.filled for cell in cells]):
            block = blocks.new((row, row + 1, start, end))
            for left, right, other in above:
                if left <= end and start <= right:
                    blocks.join(block, other)
            current.append((start, end, block))
        above = current
    return [Area(sheet.sheet_id, *box) for box in _apart(blocks.boxes())]


class _Blocks:
    """Disjoint sets of runs of cells, each with the box around it."""

    def __init__(self) -> None:
        self.parents: list[int] = []
        self.around: list[Box] = []

    def new(self, box: Box) -> int:
        self.parents.append(len(self.parents))
        self.around.append(box)
        return len(self.parents) - 1

    def root(self, block: int) -> int:
        while self.parents[block] != block:
            self.parents[block] = block = self.parents[self.parents[block]]
        return block

    def join(self, first: int, second: int) -> None:
        first, second = self.root(first), self.root(second)
        if first != second:
            self.parents[first] = second
            self.around[second] = _box(self.around[first], self.around[second])

    def boxes(self) -> list[Box]:
        return [box for number, box in enumerate(self.around) if self.parents[number] == number]


def _runs(filled: list[bool]) -> list[tuple[int, int]]:
    runs, start = [], None
    for column, full in enumerate([*filled, False]):
        if full and start is None:
            start = column
        elif not full and start is not None:
            runs.append((start, column))
            start = None
    return runs


def _box(first: Box, second: Box) -> Box:
    return min(first[0], second[0]), max(first[1], second[1]), min(first[2], second[2]), max(first[3], second[3])


def _apart(boxes: list[Box]) -> list[Box]:
    """Boxes that overlap are one table."""
    kept: list[Box] = []
    for box in boxes:
        merged = box
        while True:
            hit = next((other for other in kept if _overlap(other, merged)), None)
            if hit is None:
                break
            kept.remove(hit)
            merged = _box(hit, merged)
        kept.append(merged)
    return kept


def _overlap(first: Box, second: Box) -> bool:
    return first[0] < second[1] and second[0] < first[1] and first[2] < second[3] and second[2] < first[3]
