"""Great Expectations at arm's length: one suite, one data frame, results per expectation. Only this module imports it.

`great_expectations` takes seconds to import and reports progress on stderr; both are dealt with here. Facts from its 1.24 source
and measured: keyword arguments only; ``unexpected_index_column_names`` gives the failing rows; results come in another order than
the suite, so each expectation carries its number in ``meta``.
"""

from __future__ import annotations

import logging
import os
import warnings
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sync_provider.core.errors import MappingError, Where
from sync_provider.core.mapping import Expectation

if TYPE_CHECKING:
    import pandas as pd

ORDINAL = "__n"


@dataclass(slots=True)
class Outcome:
    """What Great Expectations says of one expectation on one frame.

    Args:
        success: its own verdict, `mostly` included.
        elements: records looked at.
        missing: records it skipped for being null.
        rows: ordinals of the failing records (record rules only).
        observed: ``observed_value`` of a batch rule.
        error: why it could not be evaluated, if so.
    """

    success: bool
    elements: int = 0
    missing: int = 0
    rows: list[int] = field(default_factory=list)
    observed: Any = None
    error: str | None = None


@lru_cache(maxsize=1)
def _gx() -> Any:
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own deprecations; nothing a user could act on
        import great_expectations
    # It says of every context which temporary folder it does not use, through a logger with a level of its own.
    logging.getLogger("great_expectations.data_context.types.base").setLevel(logging.WARNING)
    return great_expectations


def build(expectation: Expectation, kwargs: dict[str, Any], number: int) -> Any:
    """The GX object of one expectation.

    Raises:
        MappingError: Great Expectations refuses the arguments.
    """
    _gx()
    from great_expectations.expectations.registry import get_expectation_impl

    try:
        return get_expectation_impl(expectation.type)(**kwargs, meta={ORDINAL: number})
    except (TypeError, ValueError) as error:
        raise MappingError(
            f"{expectation.type} refuses these arguments: {_first_line(error)}",
            where=Where(field=f"validation.expectations[{number}].kwargs"),
            hint="See the expectation's page in the Great Expectations gallery for its arguments.",
            code="expectation_arguments",
        ) from error


def evaluate(built: list[Any], frame: pd.DataFrame) -> list[Outcome]:
    """Judge one frame, which holds the ordinal column beside the columns used; outcomes in the order of ``built``."""
    gx = _gx()
    outcomes: list[Outcome] = [Outcome(success=False, error="no result") for _ in built]
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}
    batch = context.data_sources.add_pandas("staged").add_dataframe_asset("records")
    definition = gx.ValidationDefinition(
        name="validate",
        data=batch.add_batch_definition_whole_dataframe("all"),
        suite=context.suites.add(gx.ExpectationSuite(name="mapping", expectations=built)),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = context.validation_definitions.add(definition).run(
            batch_parameters={"dataframe": frame},
            result_format={
                "result_format": "COMPLETE",
                "unexpected_index_column_names": [ORDINAL],
                "return_unexpected_index_query": False,
            },
        )
    for item in result.results:
        outcomes[item.expectation_config.meta[ORDINAL]] = _outcome(item)
    return outcomes


def _outcome(item: Any) -> Outcome:
    raised = item.exception_info or {}
    # One exception, or one per metric: GX gives both shapes.
    infos = [raised] if "raised_exception" in raised else list(raised.values())
    errors = [info["exception_message"] for info in infos if info.get("raised_exception")]
    if errors:
        return Outcome(success=False, error=_first_line(errors[0]))
    found = item.result
    return Outcome(
        success=bool(item.success),
        elements=int(found.get("element_count") or 0),
        missing=int(found.get("missing_count") or 0),
        rows=[int(entry[ORDINAL]) for entry in found.get("unexpected_index_list") or []],
        observed=found.get("observed_value"),
    )


def _first_line(error: object) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
