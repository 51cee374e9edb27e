"""Runs calamine in a process of its own: a damaged .xls can make it abort, or ask for a hundred gigabytes.

This file is the program of that process, too, and therefore imports nothing of ours. It reads requests, one JSON array a line,
and answers each with one line: ``["sheets"]`` with ``[[name, visible, has cells], …]``, ``["rows", name, first, count]`` with
``[first column, rows]``. Values that JSON does not have are ``{kind: ISO text or number of microseconds}``.
"""

from __future__ import annotations

import datetime
import json
import resource
import sys
from itertools import islice
from typing import Any, BinaryIO

MEMORY_BYTES = 1 << 30
CPU_S = 600


def plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, datetime.datetime):
        return {"datetime": value.isoformat()}
    if isinstance(value, datetime.date):
        return {"date": value.isoformat()}
    if isinstance(value, datetime.time):
        return {"time": value.isoformat()}
    if isinstance(value, datetime.timedelta):
        return {"us": value // datetime.timedelta(microseconds=1)}
    return value


def serve(file: BinaryIO, requests: Any, answers: Any) -> None:
    """Answer requests about one workbook until there are no more."""
    from python_calamine import CalamineError, CalamineWorkbook, PasswordError, SheetTypeEnum, SheetVisibleEnum

    book: Any = None
    current: tuple[str, int, Any, int] = ("", 0, iter(()), 0)
    for line in requests:
        asked = json.loads(line)
        answer: Any
        try:
            book = book or CalamineWorkbook.from_filelike(file)
            if asked[0] == "sheets":
                answer = [
                    [s.name, s.visible == SheetVisibleEnum.Visible, s.typ == SheetTypeEnum.WorkSheet]
                    for s in book.sheets_metadata
                ]
            else:
                _, name, first, count = asked
                if current[:2] != (name, first):
                    sheet = book.get_sheet_by_name(name)
                    # calamine leaves out the empty columns on the left, yet not the empty rows above.
                    current = (
                        name,
                        first,
                        islice(sheet.iter_rows(), first, None),
                        sheet.start[1] if sheet.start else 0,
                    )
                rows = [[plain(value) for value in row] for row in islice(current[2], count)]
                current = (name, first + len(rows), *current[2:])
                answer = [current[3], rows]
        except PasswordError:
            answer = {"error": "password"}
        except (CalamineError, OSError, ValueError) as error:
            answer = {"error": str(error)[:200]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with open(int(sys.argv[1]), "rb") as workbook:  # noqa: PTH123 - a descriptor
        workbook.seek(0)
        serve(workbook, sys.stdin, sys.stdout)
