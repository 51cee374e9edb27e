"""The page about settings says what the code does."""

from __future__ import annotations

from pathlib import Path

from sync_provider.engine.settings import OPTIONS
from sync_provider.engine.settings_reference import settings_reference

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def test_the_page_is_up_to_date_with_the_options():
    assert PAGE.read_text(encoding="utf-8") == settings_reference(), (
        "run: python -m sync_provider.engine.settings_reference docs/settings.md"
    )


def test_the_page_tells_every_option_with_its_variable():
    text = PAGE.read_text(encoding="utf-8")
    for option in OPTIONS:
        assert f"## `{option.name}`" in text
        assert f"`{option.variable}`" in text
