"""What every test shares: Hypothesis profiles, and the rule that a missing part skips at home and fails in CI."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings
from postgres import postgres_server, postgres_url

__all__ = ["postgres_server", "postgres_url"]

# The same examples each time: a red build is the change's own fault. `make test-long` looks for new ones.
settings.register_profile(
    "ci", derandomize=True, max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("long", max_examples=3000, deadline=None, suppress_health_check=list(HealthCheck))
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave `long` tests to `make test-long`, which selects them by their marker."""
    if "long" in (config.option.markexpr or ""):
        return
    skip = pytest.mark.skip(reason="runs in `make test-long`")
    for item in items:
        if "long" in item.keywords:
            item.add_marker(skip)
