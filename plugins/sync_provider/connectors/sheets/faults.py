"""What Google answers when it refuses, as SyncErrors: the only module that reads Google's error bodies."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from sync_provider.core.errors import SyncAuthenticationError, SyncConnectionError, SyncDataError, SyncError, Where

_LONGEST_WAIT_S = 300.0
_QUOTED = re.compile(r'"[^"]*"')  # Google repeats the values that it does not like


class OutcomeUnknownError(SyncConnectionError):
    """The answer to a write was lost: it may have been applied. Whoever wrote reads back and decides."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One refused request: HTTP status, Google's status, message and reasons, and how long it asked us to wait (seconds).

    ``status`` is 0 where no answer came; ``sent`` tells whether the request may have arrived all the same.
    """

    status: int
    name: str = ""
    message: str = ""
    reasons: frozenset[str] = field(default_factory=frozenset)
    retry_after_s: float | None = None
    sent: bool = True

    @property
    def is_quota(self) -> bool:
        """Whether waiting helps: too many requests for now."""
        quota = {"RATE_LIMIT_EXCEEDED", "rateLimitExceeded", "userRateLimitExceeded"}
        return self.status == 429 or (self.status == 403 and bool(self.reasons & quota))

    @property
    def is_doubtful(self) -> bool:
        """Whether it may have been applied all the same."""
        return self.sent and (self.status == 0 or self.status >= 500)

    @property
    def may_pass(self) -> bool:
        """Whether trying again may help."""
        return self.is_quota or self.status in (0, 408) or self.status >= 500


def refusal_of(status: int, body: str, retry_after: str | None, now: datetime) -> Refusal:
    """Read an error answer; whatever it holds, there is a `Refusal`."""
    wait = _seconds(retry_after, now)
    try:
        error = json.loads(body)["error"]
        details = error.get("details", [])
        reasons = {str(item.get("reason")) for item in [*details, *error.get("errors", [])] if isinstance(item, dict)}
        return Refusal(status, str(error.get("status", "")), str(error.get("message", "")), frozenset(reasons), wait)
    except (ValueError, KeyError, TypeError, AttributeError):
        return Refusal(status, retry_after_s=wait)


def _seconds(text: str | None, now: datetime) -> float | None:
    """``Retry-After`` (RFC 9110 §10.2.3): seconds or a date; junk is as if it were absent."""
    if text is None:
        return None
    try:
        seconds = float(text) if text.strip().isdigit() else (parsedate_to_datetime(text) - now).total_seconds()
    except (ValueError, TypeError):
        return None
    return min(max(seconds, 0.0), _LONGEST_WAIT_S)


def error_of(
    refusal: Refusal,
    *,
    account: str,
    spreadsheet: str,
    place: str | None,
    cell: str | None = None,
    write: bool = False,
    drive: bool = False,
) -> SyncError:
    """The SyncError of a refusal.

    Args:
        refusal: what Google answered.
        account: e-mail that the spreadsheet would have to be shared with; may be empty.
        spreadsheet: its id.
        place: sheet or range asked for.
        cell: the cell that Google refuses, if it can be told.
        write: it was a change: then the spreadsheet was read before.
        drive: it was a request to Drive, not to Sheets.
    """
    where = Where(endpoint=f"spreadsheet {spreadsheet}", sheet=place, cell=cell)
    who = account or "this account"
    if refusal.is_quota:
        return SyncConnectionError(
            "Google's quota of requests is used up",
            where=where,
            hint="It refills every minute: it will be tried again. Fewer integrations at the same time need less.",
            code="google_quota",
            retry_after_s=refusal.retry_after_s,
        )
    if refusal.status == 401:
        return SyncAuthenticationError(
            "Google refuses the credentials",
            where=where,
            hint="Create a new key, or connect the account again.",
            code="google_credentials",
        )
    if refusal.status == 403:
        return _forbidden(refusal, who, where, write=write, drive=drive)
    if refusal.status == 404:
        return SyncDataError(
            # Drive says so too of what it may not show.
            "there is no such spreadsheet" + (", or it is not shared with the account" if drive else ""),
            where=where,
            hint=f"Copy the id from its address, and share it with {who}.",
            code="spreadsheet_missing",
        )
    if refusal.status == 400:
        said = _QUOTED.sub('"…"', refusal.message)
        return SyncDataError(
            f"Google refuses the request: {said or 'no reason given'}",
            where=where,
            code="google_request",
        )
    if refusal.status == 0:
        return SyncConnectionError(
            "Google cannot be reached, or does not answer",
            where=where,
            hint="Check the network and the connection's base_url.",
            code="google_unreachable",
        )
    if refusal.status < 400:
        return no_json(None, spreadsheet)
    return SyncConnectionError(
        f"Google answered with status {refusal.status}",
        where=where,
        hint="It will be tried again.",
        code="google_unavailable",
        retry_after_s=refusal.retry_after_s,
    )


def no_json(content_type: str | None, spreadsheet: str) -> SyncDataError:
    """An answer that cannot be Google's: a page of a proxy or of a login. Nothing of it is shown."""
    return SyncDataError(
        f"the answer is {content_type or 'a redirection'} instead of JSON: it is not Google's",
        where=Where(endpoint=f"spreadsheet {spreadsheet}"),
        hint="A proxy or a login page stands between; check the network and the connection's base_url.",
        code="google_no_json",
    )


def unreachable(error: Exception, spreadsheet: str) -> SyncConnectionError:
    """An address that cannot be called, or a certificate that is not trusted: waiting does not help."""
    what = "its certificate is not trusted" if "SSL" in type(error).__name__ else "base_url is no address"
    return SyncConnectionError(
        f"Google cannot be reached: {what}",
        where=Where(endpoint=f"spreadsheet {spreadsheet}"),
        hint="Check the connection's base_url, and the certificates of a proxy.",
        code="google_unreachable",
    )


def _forbidden(refusal: Refusal, who: str, where: Where, *, write: bool, drive: bool) -> SyncAuthenticationError:
    if "insufficient authentication scopes" in refusal.message or "ACCESS_TOKEN_SCOPE_INSUFFICIENT" in refusal.reasons:
        return _scopes(where)
    if refusal.reasons & {"SERVICE_DISABLED", "accessNotConfigured"}:  # Sheets' word and Drive's
        name, service = ("Drive", "drive") if drive else ("Sheets", "sheets")
        return SyncAuthenticationError(
            f"the Google {name} API is switched off in the account's project",
            where=where,
            hint=f"Enable it at https://console.cloud.google.com/apis/library/{service}.googleapis.com; Sheets and Drive are both needed.",
            code="google_api_disabled",
        )
    if write:
        return SyncAuthenticationError(
            "the account may only read the spreadsheet, or what it is to change is protected",
            where=where,
            hint=f"Share it with {who} as Editor, and let it edit protected ranges.",
            code="google_read_only",
        )
    return SyncAuthenticationError(
        "the spreadsheet is not shared with the account",
        where=where,
        hint=f"Share it with {who} (Editor to write, Viewer to read).",
        code="google_not_shared",
    )


def _scopes(where: Where) -> SyncAuthenticationError:
    return SyncAuthenticationError(
        "the account was not granted the rights that this needs",
        where=where,
        hint="Connect it again with access to spreadsheets.",
        code="google_scopes",
    )


def token_error(error: Any, account: str) -> SyncError:
    """A token that could not be had: revoked credentials, or an unreachable token endpoint."""
    from google.auth.exceptions import TransportError

    if isinstance(error, TransportError) or getattr(error, "retryable", False):
        return SyncConnectionError(
            "Google's sign-in could not be reached", hint="It will be tried again.", code="google_token"
        )
    if "invalid_scope" in str(error):
        return _scopes(Where())
    return SyncAuthenticationError(
        f"Google gives no access token to {account or 'the account'}: its key was revoked, or the clock is wrong",
        hint="Create a new key, or connect the account again.",
        code="google_credentials",
    )
