"""Trying untrusted expressions: they get a result, a refusal or a limit; the caller survives them all."""

from __future__ import annotations

import pytest
from sync_provider.core.errors import MappingError, SyncDataError
from sync_provider.core.schema import parse_type
from sync_provider.engine.preview import MAX_ROWS, preview


def test_each_record_gets_its_value_or_the_reason_it_would_be_refused():
    rows = [{"value": "1 234,5"}, {"value": "x"}, {"value": None}]
    good, bad, null = preview("parse_number(value, 'fr')", rows, type=parse_type("decimal(12,2)"))
    assert (good.value, good.error) == ("1234.50", None)
    assert bad.value is None
    assert "'x'" in (bad.error or "")
    assert (null.value, null.error) == (None, None)


@pytest.mark.parametrize(
    "attack", ["repeat('a', 3000000000)", "__import__('os')", "(SELECT 1)", "read_text('/etc/passwd')"]
)
def test_an_attack_is_refused_with_a_reason(attack):
    with pytest.raises(MappingError):
        preview(attack, [{"value": "a"}])


def test_an_expression_that_grows_its_record_is_stopped_by_the_memory_limit():
    rows = [{"value": "a" * 9_000}] * MAX_ROWS
    wide = " || ".join(["repeat(value, 20)"] * 3)
    with pytest.raises(SyncDataError) as refused:
        preview(wide, rows, memory_bytes=350 << 20)
    assert refused.value.code == "preview_limits"


def test_an_expression_that_takes_too_long_is_killed():
    with pytest.raises(SyncDataError) as refused:
        preview("value", [{"value": "a"}], deadline_s=0.01)
    assert refused.value.code == "preview_limits"


def test_more_records_than_a_preview_shows_are_not_accepted():
    with pytest.raises(SyncDataError):
        preview("value", [{"value": "a"}] * (MAX_ROWS + 1))
