"""Encryption at rest: AES-256-GCM with keys that can be rotated. No I/O but the demo's key file.

A key is 32 random bytes, written in base64. The first key of a `Cipher` encrypts, all decrypt, and every ciphertext names its
key, so a key can be retired once nothing names it any more. Purposes never share a key: each gets its own by HKDF
(RFC 5869).
"""

from __future__ import annotations

import base64
import binascii
import os
import secrets
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from sync_provider.connectors.base import Secret
from sync_provider.core.errors import SyncDataError, SyncValidationError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from sync_provider.engine.settings import Settings

KEY_BYTES = 32
KEY_ID_BYTES = 8
TAG_BYTES = 16
_NONCE_BYTES = 12
_VERSION = b"\x01"
_MAKE_ONE = "Make one with `airflow-sync keys new` and set it as AIRFLOW__SYNC_PROVIDER__ENCRYPTION_KEYS."


def new_key() -> Secret:
    """A fresh key, in the form that `[sync_provider] encryption_keys` takes."""
    return Secret(base64.urlsafe_b64encode(secrets.token_bytes(KEY_BYTES)).decode())


class Cipher:
    """Encrypts with the first key, decrypts with any.

    Args:
        keys: base64 (standard or URL-safe) of 32 bytes each, at least one.

    Raises:
        SyncValidationError: no key, or one that is not 32 bytes of base64; the message never shows it.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        if not keys:
            raise SyncValidationError("There is no encryption key", hint=_MAKE_ONE, code="settings_key_missing")
        masters = [_decode(key, position) for position, key in enumerate(keys, start=1)]
        self._masters = {_derive(master, b"", b"sync_provider key id", KEY_ID_BYTES): master for master in masters}
        self.key_id = next(iter(self._masters))

    @property
    def key_ids(self) -> tuple[str, ...]:
        """Public names of the keys, in hex, first the one that encrypts."""
        return tuple(key_id.hex() for key_id in self._masters)

    def derive(self, purpose: bytes, *, salt: bytes = b"", key_id: bytes | None = None) -> bytes:
        """A 32-byte key for one purpose, from the key named (default: the first).

        Raises:
            SyncDataError: no configured key has that name.
        """
        return _derive(self._master(key_id or self.key_id), salt, purpose, KEY_BYTES)

    def encrypt(self, data: bytes, aad: bytes) -> bytes:
        """Encrypt a small value, at most a few MB.

        Args:
            data: the plain bytes.
            aad: what the value belongs to; decryption with another fails.
        """
        nonce = secrets.token_bytes(_NONCE_BYTES)
        header = _VERSION + self.key_id + nonce
        return header + _gcm(self._masters[self.key_id]).encrypt(nonce, data, header + aad)

    def decrypt(self, data: bytes, aad: bytes) -> bytes:
        """The plain bytes.

        Raises:
            SyncDataError: altered, cut, of another place, or written with a key that is not configured.
        """
        from cryptography.exceptions import InvalidTag

        start = 1 + KEY_ID_BYTES + _NONCE_BYTES
        if len(data) < start + TAG_BYTES or data[:1] != _VERSION:
            raise SyncDataError("This is no encrypted value of ours, or it was cut", code="ciphertext_invalid")
        header, body = data[:start], data[start:]
        key_id, nonce = header[1 : 1 + KEY_ID_BYTES], header[1 + KEY_ID_BYTES :]
        cipher = _gcm(self._master(key_id))
        try:
            return cipher.decrypt(nonce, body, header + aad)
        except InvalidTag as exc:
            raise SyncDataError(
                "An encrypted value was altered or belongs elsewhere", code="ciphertext_invalid"
            ) from exc

    def _master(self, key_id: bytes) -> bytes:
        if key_id not in self._masters:
            raise SyncDataError(
                f"This was encrypted with key {key_id.hex()}, which is not configured",
                hint=f"Add that key to encryption_keys; configured are {', '.join(self.key_ids)}.",
                code="key_unknown",
            )
        return self._masters[key_id]


def open_cipher(settings: Settings) -> Cipher:
    """The deployment's cipher. In a demo without keys, one is made and kept in `<home>/sync/demo.key`.

    Raises:
        SyncValidationError: there is no key, and this is no demo.
    """
    if settings.encryption_keys or not settings.demo:
        return Cipher(settings.encryption_keys)
    return Cipher([_demo_key(settings.home / "sync" / "demo.key")])


def _demo_key(path: Path) -> str:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(new_key())
            file.flush()
            os.fsync(file.fileno())
        try:
            # Processes that start together must agree: the first link wins, and nobody ever reads half a key.
            path.hardlink_to(fresh)
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    return path.read_text().strip()


def _decode(key: str, position: int) -> bytes:
    try:
        raw = base64.b64decode(key.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != KEY_BYTES:
        # Not chained: the exception of b64decode may carry the key.
        raise SyncValidationError(
            f"Encryption key {position} is not {KEY_BYTES} bytes of base64", hint=_MAKE_ONE, code="settings_key_invalid"
        ) from None
    return raw


def _derive(master: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(algorithm=SHA256(), length=length, salt=salt or None, info=info).derive(master)


@lru_cache(maxsize=8)
def _gcm(master: bytes) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(_derive(master, b"", b"sync_provider value", KEY_BYTES))
