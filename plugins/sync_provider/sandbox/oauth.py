"""Who calls: service accounts, people, their tokens. The two OAuth 2 grants that Google's clients use."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sync_provider.sandbox.errors import UNAUTHENTICATED, ApiError
from sync_provider.sandbox.state import Store

DEFAULT_ACCOUNT = "sync@sandbox-project.iam.gserviceaccount.com"
DEFAULT_PROJECT = "sandbox-project"
_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_LIFETIME_S = 3599
_SKEW = timedelta(minutes=5)
_STALE = (
    "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. "
    "Check your iat and exp values in the JWT claim."
)


class Caller(NamedTuple):
    """Whose token it is, what it may do, which project pays."""

    email: str
    scopes: frozenset[str]
    project: str


class TokenError(Exception):
    """The token endpoint refuses.

    Args:
        error: OAuth 2 error code.
        description: its text.
        status: HTTP status.
    """

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.status = status
        self.body = {"error": error, "error_description": description}


class Accounts:
    """The accounts of the sandbox; they outlive a restart and a reset."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._secret = bytes.fromhex(store.fact("token_secret", lambda: secrets.token_hex(32)))
        self._services: dict[str, dict[str, Any]] = store.fact("service_accounts", dict)
        self._people: dict[str, dict[str, Any]] = store.fact("people", dict)
        self._public: dict[str, Any] = {}

    def service_account(self, email: str, base_url: str, project: str = DEFAULT_PROJECT) -> dict[str, str]:
        """The key file of a service account, which is made if it is new."""
        account = self._services.get(email)
        if account is None:
            account = {"project": project, "key_id": secrets.token_hex(20), "key": _new_key(), "disabled": False}
            self._services[email] = account
            self._store.keep("service_accounts", self._services)
        return {
            "type": "service_account",
            "project_id": account["project"],
            "private_key_id": account["key_id"],
            "private_key": account["key"],
            "client_email": email,
            "client_id": str(int(hashlib.sha256(email.encode()).hexdigest()[:16], 16)),
            "auth_uri": f"{base_url}/o/oauth2/auth",
            "token_uri": f"{base_url}/token",
        }

    def person(self, email: str, base_url: str, scopes: list[str], project: str = DEFAULT_PROJECT) -> dict[str, str]:
        """An authorized-user file: a person who has granted scopes to a program."""
        person = self._people.get(email)
        if person is None or set(person["scopes"]) != set(scopes):
            person = {
                "project": project,
                "client_id": f"{secrets.token_hex(8)}.apps.googleusercontent.com",
                "client_secret": f"GOCSPX-{secrets.token_urlsafe(20)}",
                "refresh_token": f"1//{secrets.token_urlsafe(40)}",
                "scopes": scopes,
                "disabled": False,
            }
            self._people[email] = person
            self._store.keep("people", self._people)
        return {
            "type": "authorized_user",
            **{name: person[name] for name in ("client_id", "client_secret", "refresh_token")},
            "token_uri": f"{base_url}/token",
        }

    def disable(self, email: str, *, disabled: bool) -> None:
        """Revoke an account, or let it in again: its tokens stop working at once.

        Raises:
            KeyError: nobody has that e-mail.
        """
        table, name = (self._services, "service_accounts") if email in self._services else (self._people, "people")
        table[email]["disabled"] = disabled
        self._store.keep(name, table)

    def grant(self, form: dict[str, str], base_url: str) -> dict[str, Any]:
        """Answer the token endpoint.

        Raises:
            TokenError: refused.
        """
        kind = form.get("grant_type")
        if kind == _GRANT:
            return self._service_token(form.get("assertion", ""), base_url)
        if kind == "refresh_token":
            return self._person_token(form)
        raise TokenError("unsupported_grant_type", f"Invalid grant_type: {kind}")

    def _service_token(self, assertion: str, base_url: str) -> dict[str, Any]:
        claims = self._checked_assertion(assertion)
        email = claims["iss"]
        if claims.get("aud") not in {f"{base_url}/token", "https://oauth2.googleapis.com/token"}:
            raise TokenError(
                "invalid_grant", "Invalid JWT: Failed audience check. The right audience is the token endpoint."
            )
        self._check_times(claims)
        if claims.get("sub") not in {None, email}:
            raise TokenError(
                "unauthorized_client",
                "Client is unauthorized to retrieve access tokens using this method, or client not authorized for any "
                "of the scopes requested.",
                401,
            )
        scopes = str(claims.get("scope", "")).split()
        if not scopes:
            raise TokenError("invalid_scope", "Invalid OAuth scope or ID token audience provided.")
        return self._token(email, scopes)

    def _checked_assertion(self, assertion: str) -> dict[str, Any]:
        """The claims of a JWT signed by one of our accounts."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.hashes import SHA256

        try:
            head, payload, signature = assertion.split(".")
            header, claims = json.loads(_unpack(head)), json.loads(_unpack(payload))
            signed = _unpack(signature)
        except ValueError as exc:
            raise TokenError("invalid_grant", "Invalid JWT: Failed to parse.") from exc
        account = self._services.get(claims.get("iss", ""))
        if account is None:
            raise TokenError("invalid_grant", "Invalid grant: account not found")
        forged = TokenError("invalid_grant", "Invalid JWT Signature.")
        if header.get("alg") != "RS256" or header.get("kid", account["key_id"]) != account["key_id"]:
            raise forged
        try:
            self._key(claims["iss"], account).verify(signed, f"{head}.{payload}".encode(), PKCS1v15(), SHA256())
        except InvalidSignature as exc:
            raise forged from exc
        if account["disabled"]:
            raise TokenError("invalid_grant", "Invalid grant: account not found")
        checked: dict[str, Any] = claims
        return checked

    def _key(self, email: str, account: dict[str, Any]) -> Any:
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        if email not in self._public:
            self._public[email] = load_pem_private_key(account["key"].encode(), None).public_key()
        return self._public[email]

    def _check_times(self, claims: dict[str, Any]) -> None:
        now = self._store.clock()
        try:
            issued = datetime.fromtimestamp(claims["iat"], now.tzinfo)
            expires = datetime.fromtimestamp(claims["exp"], now.tzinfo)
        except (KeyError, TypeError, ValueError, OverflowError) as exc:
            raise TokenError("invalid_grant", _STALE) from exc
        short = timedelta(0) < expires - issued <= timedelta(hours=1)
        if not short or issued > now + _SKEW or expires < now:
            raise TokenError("invalid_grant", _STALE)

    def _person_token(self, form: dict[str, str]) -> dict[str, Any]:
        for email, person in self._people.items():
            if hmac.compare_digest(form.get("client_id", ""), person["client_id"]):
                if not hmac.compare_digest(form.get("client_secret", ""), person["client_secret"]):
                    raise TokenError("invalid_client", "The provided client secret is invalid.", 401)
                if person["disabled"] or not hmac.compare_digest(
                    form.get("refresh_token", ""), person["refresh_token"]
                ):
                    raise TokenError("invalid_grant", "Token has been expired or revoked.")
                wanted = form.get("scope", "").split() or person["scopes"]
                if not set(wanted) <= set(person["scopes"]):
                    raise TokenError("invalid_scope", "Some requested scopes were invalid.")
                return {**self._token(email, wanted), "scope": " ".join(wanted)}
        raise TokenError("invalid_client", "The OAuth client was not found.", 401)

    def _token(self, email: str, scopes: list[str]) -> dict[str, Any]:
        expires = int(self._store.clock().timestamp()) + _LIFETIME_S
        # The nonce makes every token a new one, as at Google's.
        payload = _pack(json.dumps([email, scopes, expires, secrets.token_hex(8)]).encode())
        return {
            "access_token": f"ya29.{payload}.{self._seal(payload)}",
            "expires_in": _LIFETIME_S,
            "token_type": "Bearer",
        }

    def _seal(self, payload: str) -> str:
        return _pack(hmac.digest(self._secret, payload.encode(), "sha256"))

    def caller(self, authorization: str | None) -> Caller:
        """Who sends this header.

        Raises:
            ApiError: 401.
        """
        refused = ApiError(401, UNAUTHENTICATED, reason="authError", location="Authorization")
        scheme, _, token = (authorization or "").partition(" ")
        prefix, _, rest = token.partition(".")
        payload, _, seal = rest.partition(".")
        if scheme.lower() != "bearer" or prefix != "ya29" or not hmac.compare_digest(seal, self._seal(payload)):
            raise refused
        email, scopes, expires, _ = json.loads(_unpack(payload))
        account = self._services.get(email) or self._people.get(email)
        if account is None or account["disabled"] or expires <= self._store.clock().timestamp():
            raise refused
        return Caller(email, frozenset(scopes), account["project"])


def _new_key() -> str:
    from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = generate_private_key(65537, 2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _pack(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unpack(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
