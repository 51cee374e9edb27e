"""The Sheets sandbox beside Airflow: how it is started, filled with the samples' spreadsheets, looked at and typed into."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml

from local import LocalError
from local.api import Api, ApiError

KEY_FILE = "service-account.json"
"""The key that the sandbox writes into its folder."""

_CONTROL = "/__sandbox__"


class SheetsSandbox:
    """A stand-in for Google Sheets, as a person uses it: through its page's own requests.

    Args:
        url: its address without a final slash.
        folder: keeps its spreadsheets and its key file between starts.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self._folder = folder
        self._api = Api(url)

    def command(self, port: int) -> list[str]:
        """What starts it."""
        start = "from sync_provider.cli import main; main()"
        return [sys.executable, "-P", "-c", start, "sandbox", "--port", str(port), "--state", str(self._folder)]

    def answers(self) -> bool:
        """Whether it is ready."""
        try:
            self._spreadsheets()
        except ApiError:
            return False
        return True

    def fill(self, path: Path) -> list[str]:
        """Create the spreadsheets of a file that are not there yet, shared with the sandbox's own account; one that is there stays.

        Args:
            path: a YAML list of `id`, `title`, `locale`, `timeZone` and `sheets`, title → rows of cells as a person would type them;
                a file that does not exist holds none.

        Returns:
            Titles of those created.

        Raises:
            LocalError: the file is not of that form, or the sandbox refuses a spreadsheet.
        """
        account = json.loads((self._folder / KEY_FILE).read_text(encoding="utf-8"))["client_email"]
        known = {book["id"] for book in self._spreadsheets()}
        created = []
        for book in _read(path):
            if book["id"] in known:
                continue
            body = {**book, "share": {account: "writer"}, "valueInputOption": "USER_ENTERED"}
            try:
                self._api.request("POST", f"{_CONTROL}/spreadsheets", body)
            except ApiError as exc:
                raise LocalError(f"The sandbox refused the spreadsheet {book['id']} of {path.name}: {exc}") from exc
            created.append(str(book["title"]))
        return created

    def rows(self, spreadsheet: str, sheet: str) -> list[list[str]]:
        """The first hundred rows of a sheet as a person sees them; empty cells at the end of a row are left out."""
        shown = self._api.request("GET", f"{_CONTROL}/cells", id=spreadsheet, sheet=sheet)
        return [[str(cell) for cell in row] for row in shown["values"]]

    def type_in(self, spreadsheet: str, sheet: str, cell: str, text: str) -> None:
        """Type into a cell, such as ``C4``, as a person."""
        body = {"id": spreadsheet, "sheet": sheet, "cell": cell, "value": text}
        self._api.request("POST", f"{_CONTROL}/cells", body)

    def _spreadsheets(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._api.request("GET", f"{_CONTROL}/spreadsheets")
        return found


def _read(path: Path) -> list[dict[str, Any]]:
    """The file's spreadsheets. Without YAML's types: a cell is what was typed, and the sandbox makes a date or a number of it."""
    if not path.exists():
        return []
    try:
        books = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        raise LocalError(f"{path.name} is not valid YAML: {' '.join(str(exc).split())}") from exc
    keys = {"id", "title", "locale", "timeZone", "sheets"}
    if not isinstance(books, list) or not all(isinstance(book, dict) and set(book) == keys for book in books):
        raise LocalError(f"{path.name}: expected a list of spreadsheets, each with {', '.join(sorted(keys))}")
    return books
