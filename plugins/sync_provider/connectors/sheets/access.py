"""What of a spreadsheet can be used, told apart: Google is reached, the key accepted, the spreadsheet readable, and editable."""

from __future__ import annotations

from collections.abc import Callable

from sync_provider.connectors.base import Probe
from sync_provider.connectors.sheets.api import Book, SheetsApi
from sync_provider.core.errors import SyncError

ASPECTS = ("reach", "authenticate", "read", "write")
_FAILS_AT = {
    **dict.fromkeys(("google_token", "google_unreachable", "google_unavailable", "google_no_json"), "reach"),
    **dict.fromkeys(("google_key", "google_credentials", "google_scopes"), "authenticate"),
}
"""Every other refusal is about the spreadsheet: Google answered, and knows who asks."""
_REACHED = Probe(aspect="reach", ok=True, detail="Google answers")


def probe_access(open_api: Callable[[], SheetsApi], load_book: Callable[[SheetsApi], Book]) -> list[Probe]:
    """Probes of `ASPECTS` up to the first that fails; two requests, and one for a token.

    Args:
        open_api: gives the API with the credentials of the connection.
        load_book: reads the spreadsheet's description.
    """
    try:
        api = open_api()
    except SyncError as error:  # an unusable key, which was not tried at Google
        return [Probe.failed("authenticate", error)]
    try:
        book = load_book(api)
        file = api.file()  # Drive: runs ask it whether the spreadsheet changed
    except SyncError as error:
        return _up_to(error, api)
    who = api.account or "the account"
    tabs = ", ".join(repr(tab.title) for tab in book.tabs[:10]) + (", …" if len(book.tabs) > 10 else "")
    bin_ = "; it lies in the bin" if file.get("trashed") else ""
    return [
        _REACHED,
        _accepted(api),
        Probe(aspect="read", ok=True, detail=f"the spreadsheet {book.title!r}, {len(book.tabs)} tab(s): {tabs}{bin_}"),
        Probe(aspect="write", ok=True, detail="the account may edit it")
        if file.get("capabilities", {}).get("canEdit")
        else Probe(
            aspect="write", ok=False, detail="the account may only read it", hint=f"Share it with {who} as Editor."
        ),
    ]


def _up_to(error: SyncError, api: SheetsApi) -> list[Probe]:
    aspect = _FAILS_AT.get(error.code or "", "read")
    passed = {"reach": [], "authenticate": [_REACHED], "read": [_REACHED, _accepted(api)]}
    return [*passed[aspect], Probe.failed(aspect, error)]


def _accepted(api: SheetsApi) -> Probe:
    return Probe(aspect="authenticate", ok=True, detail=f"as {api.account or 'the connection says'}")
