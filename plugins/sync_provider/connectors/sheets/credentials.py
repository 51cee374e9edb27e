"""Google credentials of an Airflow connection of type `google_cloud_platform`. The only module that knows its extras."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from sync_provider.connectors.base import ConnectionInfo
from sync_provider.core.errors import SyncAuthenticationError, Where

# The least that works: metadata tells whether a spreadsheet changed, and whether it may be edited.
_METADATA = "https://www.googleapis.com/auth/drive.metadata.readonly"
READ_SCOPES = ("https://www.googleapis.com/auth/spreadsheets.readonly", _METADATA)
WRITE_SCOPES = ("https://www.googleapis.com/auth/spreadsheets", _METADATA)
_TOKEN_URI = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
_GOOGLE_TYPES = ("google", "gcp")
_PREFIX = "extra__google_cloud_platform__"


def extra(info: ConnectionInfo, name: str) -> Any:
    """One extra of the Google provider's connection form, in its old or new spelling; None if it is not set."""
    return info.extra.get(name) or info.extra.get(_PREFIX + name) or None


def google_credentials(info: ConnectionInfo, *, write: bool) -> Any:
    """Credentials as google-auth has them: key file, key JSON, OAuth user token, impersonation, or the machine's own.

    Args:
        info: the connection.
        write: ask for the right to change spreadsheets.

    Raises:
        SyncAuthenticationError: the key is missing or unreadable.
    """
    import google.auth
    from google.auth import impersonated_credentials
    from google.auth.exceptions import DefaultCredentialsError

    scopes = list(WRITE_SCOPES if write else READ_SCOPES)
    key = _key(info)
    try:
        if key is None and not info.type.startswith(_GOOGLE_TYPES):
            # The machine's own identity is not for a connection that was meant for something else.
            raise _unusable(info, f"it is of type {info.type!r}", "Name one of type google_cloud_platform.")
        if key is None:
            found, _ = google.auth.default(scopes=scopes)
        elif key.get("type") == "authorized_user":
            from google.oauth2.credentials import Credentials as UserCredentials

            # google-auth's own way from such a key forgets its token_uri, without which there is no sandbox for people.
            names = ("refresh_token", "client_id", "client_secret")
            found = UserCredentials(
                None, scopes=scopes, token_uri=key.get("token_uri", _TOKEN_URI), **{name: key[name] for name in names}
            )
        elif key.get("type") == "external_account":
            found, _ = google.auth.load_credentials_from_dict(key, scopes=scopes)
        else:
            from google.oauth2.service_account import Credentials as ServiceCredentials

            found = ServiceCredentials.from_service_account_info(key, scopes=scopes)
    except DefaultCredentialsError as error:
        raise _unusable(
            info,
            "it names no key, and this machine has no Google credentials of its own",
            "Set key_path or keyfile_dict.",
        ) from error
    except (ValueError, KeyError, TypeError) as error:  # google-auth says what of the key is wrong, and may quote it
        raise _unusable(info, "its key is no Google key", "Paste the whole JSON file that Google gave.") from error
    if chain := extra(info, "impersonation_chain"):
        accounts = (
            chain if isinstance(chain, list) else [part.strip() for part in str(chain).split(",") if part.strip()]
        )
        found = impersonated_credentials.Credentials(
            source_credentials=found, target_principal=accounts[-1], target_scopes=scopes, delegates=accounts[:-1]
        )
    return found


def token_name(info: ConnectionInfo, *, write: bool) -> str | None:
    """Under which name workers share the access token of these very credentials; None for those that are the machine's own."""
    key = _key(info)
    if key is None:
        return None
    # Whatever is changed in the connection makes other tokens. A digest of a private key tells nothing about it.
    content = json.dumps([info.extra, key, WRITE_SCOPES if write else READ_SCOPES], sort_keys=True)
    return f"google:{hashlib.sha256(content.encode()).hexdigest()[:40]}"


def account_of(credentials: Any) -> str:
    """The account's e-mail, which spreadsheets are shared with; empty where the credentials do not tell."""
    for name in ("service_account_email", "signer_email", "account"):
        value = getattr(credentials, name, None)
        if isinstance(value, str) and "@" in value:
            return value
    return ""


def _key(info: ConnectionInfo) -> dict[str, Any] | None:
    given = extra(info, "keyfile_dict") or extra(info, "credential_config_file")
    path = extra(info, "key_path")
    try:
        if isinstance(given, dict):
            return given
        if isinstance(given, str) and given.lstrip().startswith("{"):
            return dict(json.loads(given))
        path = path or given
        return None if path is None else dict(json.loads(Path(str(path)).read_text(encoding="utf-8")))
    except OSError as error:
        raise _unusable(info, f"its key file cannot be read: {error.strerror}", "Correct key_path.") from error
    except (ValueError, TypeError):
        raise _unusable(info, "its key is no JSON", "Paste the whole JSON file that Google gave.") from None


def _unusable(info: ConnectionInfo, why: str, hint: str) -> SyncAuthenticationError:
    return SyncAuthenticationError(
        f"the connection cannot be used: {why}",
        where=Where(endpoint=f"connection {info.id}"),
        hint=hint,
        code="google_key",
    )
