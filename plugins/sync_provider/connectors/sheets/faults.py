"""What Google answers when it refuses, as SyncErrors: the only module that reads Google's error bodies."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from sync_provider.core.errors import SyncAuthenticationError, SyncConnectionError, SyncDataError, SyncError, Where

_LONGEST_WAIT_S = 300.0


class OutcomeUnknownError(SyncConnectionError):
    """The answer to a write was lost: it may have been applied. Whoever wrote reads back and decides."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One refused request: HTTP status, Google's status, message and reasons, and how long it asked us to wait (seconds)."""

    status: int
    name: str = ""
    message: str = ""
    reasons: frozenset[str] = field(default_factory=frozenset)
    retry_after_s: float | None = None

    @property
    def is_quota(self) -> bool:
        """Whether waiting helps: too many requests for now."""
        quota = {"RATE_LIMIT_EXCEEDED", "rateLimitExceeded", "userRateLimitExceeded"}
        return self.status == 429 or (self.status == 403 and bool(self.reasons & quota))


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


def error_of(refusal: Refusal, *, account: str, spreadsheet: str, place: str | None) -> SyncError:
    """The SyncError of a refusal.

    Args:
        refusal: what Google answered.
        account: e-mail that the spreadsheet would have to be shared with; may be empty.
        spreadsheet: its id.
        place: sheet or range asked for.
    """
    where = Where(endpoint=f"spreadsheet {spreadsheet}", sheet=place)
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
        return _forbidden(refusal, who, where)
    if refusal.status == 404:
        return SyncDataError(
            "there is no such spreadsheet",
            where=where,
            hint=f"Copy the id from its address, and share it with {who}.",
            code="spreadsheet_missing",
        )
    if refusal.status == 400:
        return SyncDataError(
            f"Google refuses the request: {refusal.message or 'no reason given'}", where=where, code="google_request"
        )
    return SyncConnectionError(
        f"Google answered with status {refusal.status}",
        where=where,
        hint="It will be tried again.",
        code="google_unavailable",
        retry_after_s=refusal.retry_after_s,
    )


def _forbidden(refusal: Refusal, who: str, where: Where) -> SyncAuthenticationError:
    if "insufficient authentication scopes" in refusal.message or "ACCESS_TOKEN_SCOPE_INSUFFICIENT" in refusal.reasons:
        return SyncAuthenticationError(
            "the account was not granted the rights that this needs",
            where=where,
            hint="Connect it again with access to spreadsheets.",
            code="google_scopes",
        )
    if "SERVICE_DISABLED" in refusal.reasons:
        return SyncAuthenticationError(
            "the Google Sheets or Drive API is switched off in the account's project",
            where=where,
            hint="Enable both in the Google Cloud console.",
            code="google_api_disabled",
        )
    return SyncAuthenticationError(
        "the spreadsheet is not shared with the account, or not for editing",
        where=where,
        hint=f"Share it with {who} (Editor to write, Viewer to read).",
        code="google_not_shared",
    )


def token_error(error: Any, account: str) -> SyncError:
    """A token that could not be had: revoked credentials, or an unreachable token endpoint."""
    if getattr(error, "retryable", False):
        return SyncConnectionError(
            "Google's sign-in could not be reached", hint="It will be tried again.", code="google_token"
        )
    return SyncAuthenticationError(
        f"Google gives no access token to {account or 'the account'}: its key was revoked, or the clock is wrong",
        hint="Create a new key, or connect the account again.",
        code="google_credentials",
    )
