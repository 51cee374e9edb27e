"""Refusals, in the words and the shape that Google gives them."""

from __future__ import annotations

from typing import Any

_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"
_ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo"

UNAUTHENTICATED = (
    "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid "
    "authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project."
)


class ApiError(Exception):
    """A request refused.

    Args:
        code: HTTP status.
        message: the exact text.
        details: google.rpc details, Sheets only.
        reason: word for the program, Drive only.
        location: name of the parameter or header at fault, Drive only.
    """

    def __init__(
        self,
        code: int,
        message: str,
        *,
        details: list[dict[str, Any]] | None = None,
        reason: str = "invalid",
        location: str | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details
        self.reason = reason
        self.location = location

    def body(self, service: str) -> dict[str, Any]:
        """The answer's body as `service` (``sheets`` or ``drive``) writes it."""
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        if service == "drive":
            first = {"message": self.message, "domain": "global", "reason": self.reason}
            if self.location:
                kind = "header" if self.location == "Authorization" else "parameter"
                first |= {"location": self.location, "locationType": kind}
            return {"error": {**error, "errors": [first]}}
        error["status"] = _STATUS.get(self.code, "UNKNOWN")
        if self.details:
            error["details"] = self.details
        return {"error": error}


def invalid(message: str) -> ApiError:
    """400 without details."""
    return ApiError(400, message)


def bad_field(field: str, description: str, message: str | None = None) -> ApiError:
    """400 that names the field, in the message and in a BadRequest detail; `message` when the two differ."""
    violation = {"description": description, **({"field": field} if field else {})}
    return ApiError(400, message or description, details=[{"@type": _BAD_REQUEST, "fieldViolations": [violation]}])


def not_found() -> ApiError:
    """404 of Sheets."""
    return ApiError(404, "Requested entity was not found.", reason="notFound")


def forbidden(
    reason: str | None = None, message: str = "The caller does not have permission", **metadata: str
) -> ApiError:
    """403; `reason` and `metadata` become an ErrorInfo detail."""
    details = None
    if reason:
        details = [{"@type": _ERROR_INFO, "reason": reason, "domain": "googleapis.com", "metadata": metadata}]
    return ApiError(
        403, message, details=details, reason="accessNotConfigured" if reason == "SERVICE_DISABLED" else "forbidden"
    )


def quota_exceeded(kind: str, per_user: bool, limit: int, project: str) -> ApiError:
    """429 of a Sheets quota; `kind` is ``Read`` or ``Write``."""
    name = f"{kind} requests per minute{' per user' if per_user else ''}"
    metadata = {
        "consumer": f"projects/{project}",
        "quota_limit": f"{kind}RequestsPerMinutePer{'User' if per_user else 'Project'}",
        "quota_limit_value": str(limit),
        "quota_location": "global",
        "quota_metric": f"sheets.googleapis.com/{kind.lower()}_requests",
        "quota_unit": "1/min/{project}/{user}" if per_user else "1/min/{project}",
        "service": "sheets.googleapis.com",
    }
    help_link = {
        "@type": "type.googleapis.com/google.rpc.Help",
        "links": [
            {
                "description": "Request a higher quota limit.",
                "url": "https://cloud.google.com/docs/quotas/help/request_increase",
            }
        ],
    }
    info = {"@type": _ERROR_INFO, "reason": "RATE_LIMIT_EXCEEDED", "domain": "googleapis.com", "metadata": metadata}
    return ApiError(
        429,
        f"Quota exceeded for quota metric '{kind} requests' and limit '{name}' of service 'sheets.googleapis.com' "
        f"for consumer 'project_number:{project}'.",
        details=[info, help_link],
        reason="rateLimitExceeded",
    )
