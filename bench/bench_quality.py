"""Validation: 15 rules of Great Expectations over 12 columns, 0.3 % of the records bad, the failing records wanted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import ours
from bench.harness import Benchmark, Candidate, Goal, Job

ORDER = 5
RULES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("expect_column_values_to_not_be_null", {"column": "code"}),
    ("expect_column_values_to_match_regex", {"column": "code", "regex": r"^\d{7}$"}),
    ("expect_column_value_lengths_to_be_between", {"column": "name", "min_value": 3, "max_value": 60}),
    ("expect_column_values_to_not_be_null", {"column": "name"}),
    ("expect_column_values_to_match_regex", {"column": "city", "regex": "^Ville "}),
    ("expect_column_values_to_be_between", {"column": "quantity", "min_value": 0, "max_value": 1_000_003}),
    ("expect_column_values_to_not_be_null", {"column": "quantity"}),
    ("expect_column_values_to_be_between", {"column": "reference", "max_value": 0}),
    ("expect_column_values_to_be_between", {"column": "ratio", "min_value": 0}),
    ("expect_column_values_to_not_be_null", {"column": "active"}),
    ("expect_column_values_to_be_in_set", {"column": "active", "value_set": [True, False]}),
    ("expect_column_values_to_not_be_null", {"column": "seen"}),
    ("expect_column_values_to_not_be_null", {"column": "day"}),
    ("expect_column_values_to_match_regex", {"column": "note", "regex": "^Remarque"}),
    ("expect_column_value_lengths_to_be_between", {"column": "note", "max_value": 80}),
)


def prepare(data: Path, rows: int) -> None:
    from pyarrow import parquet

    def every(step: int, bad: Any) -> Any:
        return lambda number, value: bad if number % step == 1 else value

    parquet.write_table(
        ours.table(range(rows), code=every(1000, "x"), quantity=every(1500, -1), note=every(750, "?")),
        data / "in.parquet",
    )


def records(job: Job) -> Any:
    from pyarrow import parquet

    return parquet.read_table(job.data / "in.parquet")


def quality_ours(job: Job) -> None:
    import great_expectations.expectations  # noqa: F401 - imports are not part of the work
    import pyarrow as pa
    from sync_provider.connectors.base import FILE, ROW, SHEET
    from sync_provider.engine.quality import assess

    ours.warm()
    table = records(job)
    for name, kind in ((FILE, pa.string()), (SHEET, pa.string()), (ROW, pa.int64())):
        table = table.append_column(name, pa.nulls(table.num_rows, kind))
    batches = table.to_batches(ours.BATCH)
    mapping = ours.mapping(
        validation={"expectations": [{"type": name, "kwargs": arguments} for name, arguments in RULES]}
    )

    def staged(columns: list[str] | None) -> Iterator[Any]:
        return (batch if columns is None else batch.select(columns) for batch in batches)

    with job.work():
        verdict = assess(mapping, staged, rows=table.num_rows)
        rejections = list(verdict.rejections)
    if len(rejections) != len(verdict.rejected_rows):
        raise RuntimeError("a record is refused without saying why")
    keep(job, sorted(verdict.rejected_rows))


def quality_gx(job: Job) -> None:
    import great_expectations as gx
    import pandas as pd
    from great_expectations.expectations.registry import get_expectation_impl

    table = records(job)
    frame = table.to_pandas()
    frame["n"] = pd.RangeIndex(len(frame))
    with job.work():
        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = {"globally": False, "metric_calculations": False}
        asset = context.data_sources.add_pandas("bench").add_dataframe_asset("records")
        suite = gx.ExpectationSuite(name="bench")
        for name, arguments in RULES:
            suite.add_expectation(get_expectation_impl(name)(**arguments))
        definition = gx.ValidationDefinition(
            name="bench", data=asset.add_batch_definition_whole_dataframe("all"), suite=context.suites.add(suite)
        )
        result = context.validation_definitions.add(definition).run(
            batch_parameters={"dataframe": frame},
            result_format={"result_format": "COMPLETE", "unexpected_index_column_names": ["n"]},
        )
        failing = {entry["n"] for each in result.results for entry in each.result.get("unexpected_index_list") or []}
    keep(job, sorted(int(n) for n in failing))


def keep(job: Job, rows: list[int]) -> None:
    (job.out / "rows.json").write_text(json.dumps(rows), encoding="utf-8")


def failing_rows(name: str, data: Path, out: Path) -> str:
    del name, data
    return (out / "rows.json").read_text(encoding="utf-8")


BENCHMARKS = (
    Benchmark(
        name="quality",
        title="Validation, 15 rules, failing records wanted",
        prepare=prepare,
        fingerprint=failing_rows,
        candidates=(
            Candidate("sync_provider", quality_ours, ours=True),
            Candidate("Great Expectations, COMPLETE", quality_gx),
        ),
        goals=(
            Goal("≤ 1.0 × bare Great Expectations", 1.0),
            Goal("memory ≤ 0.6 × bare Great Expectations", 0.6, measure="peak_mb"),
        ),
    ),
)
