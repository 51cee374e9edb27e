"""Keeps known secret values out of what is stored."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

# Shorter ones stand in ordinary words, and replacing these would only tell them.
_MIN_CHARS = 4


class Redactor:
    """Replaces known secrets in JSON-like values by ``***``, also as they look in URLs and JSON."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._known: list[str] = []
        self.add(*secrets)

    def add(self, *secrets: str) -> None:
        forms = {form for text in secrets for form in (str(text), quote(text, safe=""), json.dumps(text)[1:-1]) if form}
        # The longest first: a secret may hold another.
        self._known = sorted({*self._known, *(f for f in forms if len(f) >= _MIN_CHARS)}, key=len, reverse=True)

    def __call__(self, value: Any) -> Any:
        """The value without secrets; dicts and lists are copied."""
        match value:
            case str():
                for secret in self._known:
                    value = value.replace(secret, "***")
                return value
            case dict():
                return {self(key): self(item) for key, item in value.items()}
            case list() | tuple():
                return [self(item) for item in value]
            case _:
                return value
