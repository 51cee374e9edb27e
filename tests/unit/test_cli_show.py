"""How the command line writes numbers, durations, counters and values."""

from __future__ import annotations

import doctest
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sync_provider.cli import show


def test_the_examples_of_the_documentation_are_true() -> None:
    assert doctest.testmod(show).failed == 0


@given(st.text())
def test_no_value_holds_anything_that_steers_a_terminal_or_breaks_a_line(text: str) -> None:
    shown = show.value(text)
    assert all(unicodedata.category(character) not in ("Cc", "Cf", "Cs") for character in shown)
    shown.encode("utf-8")


@given(st.one_of(st.none(), st.text(max_size=10)), st.one_of(st.none(), st.text(max_size=10)))
def test_null_and_empty_and_the_word_null_look_different(one: str | None, other: str | None) -> None:
    special = {show.value(each) for each in (None, "", "null")}
    assert len(special) == 3
    if one is None and other is not None:
        assert show.value(one) != show.value(other)


def test_a_table_for_a_pipe_is_plain_aligned_text(capsys: pytest.CaptureFixture[str]) -> None:
    show.table(["name", "n"], [["a", "1"], ["[bold]b", "20"]], numbers=(1,))
    assert capsys.readouterr().out == "name      n\na         1\n[bold]b  20\n"
