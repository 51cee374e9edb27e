"""What the formulas of a spreadsheet give. A small part of Sheets' language; the rest is ``#NAME?``."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import partial
from typing import cast
from zoneinfo import ZoneInfo

from sync_provider.sandbox.a1 import Bounds, clamp, grid_bounds
from sync_provider.sandbox.entry import parse_entry
from sync_provider.sandbox.errors import ApiError
from sync_provider.sandbox.formats import plain_number
from sync_provider.sandbox.formulas import FormulaError, Node, Reference, parse
from sync_provider.sandbox.functions import ERRORS, FUNCTIONS, LAZY, Context, Matrix, Result
from sync_provider.sandbox.locales import Locale, find_locale
from sync_provider.sandbox.model import Cell, CellError, Scalar, Sheet, Spreadsheet

_CIRCULAR = CellError("#REF!", "REF", "Circular dependency detected.")


class Calculator:
    """Values of the cells of one state of a spreadsheet; each formula is worked out once, when it is asked for.

    Args:
        book: the spreadsheet; what was worked out is kept in its `cache`.
        now: the time that NOW and TODAY give.
    """

    def __init__(self, book: Spreadsheet, now: datetime) -> None:
        self.book = book
        self.locale: Locale = find_locale(book.locale)
        try:
            self.now = now.astimezone(ZoneInfo(book.time_zone))
        except (KeyError, ValueError):
            self.now = now
        self._open: set[tuple[int, int, int]] = set()

    def value(self, sheet: Sheet, row: int, column: int) -> Result:
        """What the cell holds: a constant, what its formula gives, or None."""
        cell = sheet.cell(row, column)
        return cell.value if cell.formula is None else self.formula(sheet, row, column, cell)

    def formula(self, sheet: Sheet, row: int, column: int, cell: Cell) -> Result:
        """What a cell with a formula gives."""
        place = (sheet.sheet_id, row, column)
        cache = self.book.cache
        if place not in cache:
            if not self._open:
                self._work_out_precedents(sheet, row, column)
            self._work_out(sheet, row, column, cell)
        return cast("Result", cache.get(place, _CIRCULAR))

    def _work_out(self, sheet: Sheet, row: int, column: int, cell: Cell) -> None:
        place = (sheet.sheet_id, row, column)
        if place in self._open or place in self.book.cache:
            return
        self._open.add(place)
        try:
            self.book.cache[place] = self._worked_out(sheet, row, column, cast("str", cell.formula))
        except RecursionError:
            self.book.cache[place] = _CIRCULAR
        finally:
            self._open.discard(place)

    def _work_out_precedents(self, sheet: Sheet, row: int, column: int) -> None:
        """Work out what a formula depends on, deepest first, so that a long chain needs no deep recursion."""
        seen = {(sheet.sheet_id, row, column)}
        stack = [(sheet, row, column, self._precedents(sheet, row, column))]
        while stack:
            at, down, across, waiting = stack[-1]
            found = next(((s, r, c) for s, r, c in waiting if (s.sheet_id, r, c) not in seen), None)
            if found is None:
                stack.pop()
                if stack:
                    self._work_out(at, down, across, at.cell(down, across))
                continue
            seen.add((found[0].sheet_id, found[1], found[2]))
            stack.append((*found, self._precedents(*found)))

    def _precedents(self, sheet: Sheet, row: int, column: int) -> Iterator[tuple[Sheet, int, int]]:
        """The cells with a formula that a formula names and that are not worked out yet."""
        try:
            waiting = [parse(cast("str", sheet.cell(row, column).formula), self.locale.separator)]
        except FormulaError:
            return
        while waiting:
            node = waiting.pop()
            waiting += node.parts
            if not isinstance(node.value, Reference):
                continue
            title, top, left, bottom, right = node.value
            named = sheet if title is None else self.book.titled(title)
            if named is None:
                continue
            last = len(named.rows) if bottom is None else min(bottom + 1, len(named.rows))
            for at in range(top or 0, last):
                cells = named.part(at, left or 0, None if right is None else right + 1)
                for across, cell in enumerate(cells, left or 0):
                    if cell.formula and (named.sheet_id, at, across) not in self.book.cache:
                        yield named, at, across

    def _worked_out(self, sheet: Sheet, row: int, column: int, formula: str) -> Result:
        try:
            tree = parse(formula, self.locale.separator)
        except FormulaError:
            return CellError("#ERROR!", "ERROR", "Formula parse error.")
        result = self._evaluate(tree, _Place(sheet, row, column))
        if isinstance(result, list):
            result = result[0][0] if result and result[0] else None
        return 0.0 if result is None else result

    def _evaluate(self, node: Node, place: _Place) -> Result | Matrix:
        if node.kind in {"number", "text"}:
            return cast("Scalar", node.value)
        if node.kind == "blank":
            return None
        if node.kind == "error":
            return ERRORS[cast("str", node.value)]
        if node.kind == "reference":
            return self._cells(cast("Reference", node.value), place.sheet)
        if node.kind == "name":
            return self._name(cast("str", node.value))
        if node.kind == "call":
            return self._call(cast("str", node.value), node.parts, place)
        values = [self._single(part, place) for part in node.parts]
        return cast("Result", FUNCTIONS[f"{node.kind} {node.value}"](self._context(), values))

    def _single(self, node: Node, place: _Place) -> Result:
        value = self._evaluate(node, place)
        if isinstance(value, list):
            if len(value) == 1 and len(value[0]) == 1:
                return value[0][0]
            return self._crossing(value, node, place)
        return value

    def _crossing(self, matrix: Matrix, node: Node, place: _Place) -> Result:
        """A range where one value is meant: the one in the formula's own row or column."""
        reference = node.value
        if isinstance(reference, Reference):
            row = place.row - (reference.top or 0)
            column = place.column - (reference.left or 0)
            if matrix and len(matrix[0]) == 1 and 0 <= row < len(matrix):
                return matrix[row][0]
            if len(matrix) == 1 and 0 <= column < len(matrix[0]):
                return matrix[0][column]
        return CellError("#VALUE!", "VALUE", "An array value could not be found.")

    def _call(self, name: str, parts: tuple[Node, ...], place: _Place) -> Result | Matrix:
        context = self._context()
        if name in LAZY:
            return cast(
                "Result | Matrix", LAZY[name](context, [partial(self._evaluate, part, place) for part in parts])
            )
        if name in {"ROW", "COLUMN"}:
            reference = parts[0].value if parts else None
            row, column = (
                (reference.top, reference.left) if isinstance(reference, Reference) else (place.row, place.column)
            )
            return float((row if name == "ROW" else column) or 0) + 1
        function = FUNCTIONS.get(name)
        if function is None:
            return CellError("#NAME?", "NAME", f"Unknown function: '{name}'.")
        return cast("Result | Matrix", function(context, [self._evaluate(part, place) for part in parts]))

    def _context(self) -> Context:
        return Context(
            now=self.now,
            text=lambda value: plain_number(value, self.locale),
            parse=lambda text: parse_entry(text, self.locale, self.now.date()).value,
            locale=self.locale,
        )

    def _name(self, name: str) -> Result | Matrix:
        if name.upper() in {"TRUE", self.locale.true}:
            return True
        if name.upper() in {"FALSE", self.locale.false}:
            return False
        for named in self.book.named_ranges:
            if named["name"].casefold() == name.casefold():
                return self._matrix(*grid_bounds(self.book, named["range"]))
        return CellError("#NAME?", "NAME", f"Unknown range name: '{name.upper()}'.")

    def _cells(self, reference: Reference, here: Sheet) -> Result | Matrix:
        sheet = here if reference.title is None else self.book.titled(reference.title)
        if sheet is None:
            return CellError("#REF!", "REF", f"Unresolved sheet name '{reference.title}'.")
        bottom = None if reference.bottom is None else reference.bottom + 1
        right = None if reference.right is None else reference.right + 1
        return self._matrix(sheet, Bounds(reference.top, bottom, reference.left, right))

    def _matrix(self, sheet: Sheet, bounds: Bounds) -> Matrix:
        try:
            area = clamp(sheet, bounds)
        except ApiError:
            return [[CellError("#REF!", "REF", "Reference does not exist.")]]
        height, width = sheet.extent() if area.rows * area.columns > 1000 else (area.bottom, area.right)
        rows = range(area.top, max(min(area.bottom, height), area.top + 1))
        columns = range(area.left, max(min(area.right, width), area.left + 1))
        return [[self.value(sheet, row, column) for column in columns] for row in rows]


class _Place:
    """Where the formula that is worked out stands."""

    __slots__ = ("column", "row", "sheet")

    def __init__(self, sheet: Sheet, row: int, column: int) -> None:
        self.sheet, self.row, self.column = sheet, row, column
