"""Which Great Expectations expectations a mapping may use, and how each attributes its failures. No I/O.

Only expectations whose failing records are known exactly are offered as record rules; the rest judge the batch as a whole.
Left out on purpose: those that need SQL (`expect_query_…`, `unexpected_rows_expectation`), whose verdict on a record depends on
all others (`z_scores`, `outliers`) or on their order (`increasing`, `decreasing`), and `quantile_values`, which GX 1.24 fails to serialise.
"""

from __future__ import annotations

from difflib import get_close_matches

from sync_provider.core.errors import MappingError, Where
from sync_provider.core.mapping import Expectation, Mapping

# Judged record by record, so that a batch may be judged piece by piece.
RECORD = frozenset(
    {
        "expect_column_pair_values_a_to_be_greater_than_b",
        "expect_column_pair_values_to_be_equal",
        "expect_column_pair_values_to_be_in_set",
        "expect_column_value_lengths_to_be_between",
        "expect_column_value_lengths_to_equal",
        "expect_column_values_to_be_between",
        "expect_column_values_to_be_dateutil_parseable",
        "expect_column_values_to_be_in_set",
        "expect_column_values_to_be_json_parseable",
        "expect_column_values_to_be_null",
        "expect_column_values_to_match_json_schema",
        "expect_column_values_to_match_regex",
        "expect_column_values_to_match_regex_list",
        "expect_column_values_to_match_strftime_format",
        "expect_column_values_to_not_be_in_set",
        "expect_column_values_to_not_be_null",
        "expect_column_values_to_not_match_regex",
        "expect_column_values_to_not_match_regex_list",
        "expect_multicolumn_sum_to_equal",
        "expect_select_column_values_to_be_unique_within_record",
    }
)

# Judged record by record, against all other records.
UNIQUE = frozenset({"expect_column_values_to_be_unique", "expect_compound_columns_to_be_unique"})

# Judge the batch: they pass or fail as a whole.
BATCH = frozenset(
    {
        "expect_column_distinct_values_to_be_in_set",
        "expect_column_distinct_values_to_contain_set",
        "expect_column_distinct_values_to_equal_set",
        "expect_column_max_to_be_between",
        "expect_column_mean_to_be_between",
        "expect_column_median_to_be_between",
        "expect_column_min_to_be_between",
        "expect_column_most_common_value_to_be_in_set",
        "expect_column_proportion_of_non_null_values_to_be_between",
        "expect_column_proportion_of_unique_values_to_be_between",
        "expect_column_stdev_to_be_between",
        "expect_column_sum_to_be_between",
        "expect_column_unique_value_count_to_be_between",
        "expect_table_row_count_to_be_between",
        "expect_table_row_count_to_equal",
    }
)

OFFERED = RECORD | UNIQUE | BATCH
_COLUMN_ARGUMENTS = ("column", "column_A", "column_B")


def columns_of(expectation: Expectation) -> list[str]:
    """Destination names that the expectation looks at, in the order of its arguments."""
    named = [expectation.kwargs[name] for name in _COLUMN_ARGUMENTS if name in expectation.kwargs]
    return [*named, *expectation.kwargs.get("column_list", [])]


def derived(mapping: Mapping) -> list[Expectation]:
    """The rules every mapping with a key has without saying so: no part of it is null, no two records share it."""
    if not mapping.key:
        return []
    rules = [Expectation(type="expect_column_values_to_not_be_null", kwargs={"column": name}) for name in mapping.key]
    if len(mapping.key) == 1:
        rules.append(Expectation(type="expect_column_values_to_be_unique", kwargs={"column": mapping.key[0]}))
    else:
        rules.append(
            Expectation(type="expect_compound_columns_to_be_unique", kwargs={"column_list": list(mapping.key)})
        )
    return rules


def check_expectations(mapping: Mapping) -> list[MappingError]:
    """What is wrong with a mapping's expectations, without Great Expectations itself: names and columns."""
    fields = [f.destination for f in mapping.fields]
    errors = []
    for index, expectation in enumerate(mapping.validation.expectations):
        path = f"validation.expectations[{index}]"
        if expectation.type not in OFFERED:
            errors.append(
                MappingError(
                    f"{expectation.type!r} is not offered",
                    where=Where(field=f"{path}.type"),
                    hint=_nearest(expectation.type, sorted(OFFERED)),
                    code="expectation_unknown",
                )
            )
            continue
        if "row_condition" in expectation.kwargs:
            errors.append(
                MappingError(
                    "row_condition is not offered: it names the wrong records",
                    where=Where(field=f"{path}.kwargs.row_condition"),
                    hint="Say it in the mapping's filter, or in an expression.",
                    code="expectation_condition",
                )
            )
        errors += [
            MappingError(
                f"{name!r} is no destination field",
                where=Where(field=f"{path}.kwargs"),
                hint=_nearest(str(name), fields),
                code="expectation_column",
            )
            for name in columns_of(expectation)
            if name not in fields
        ]
    return errors


def _nearest(name: str, names: list[str]) -> str:
    close = get_close_matches(name, names, n=1)
    return f"Did you mean {close[0]}?" if close else f"Use one of {', '.join(names)}."
