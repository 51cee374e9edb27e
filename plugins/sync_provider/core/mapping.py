"""One mapping: everything a YAML file can declare. No I/O.

The JSON Schema, the reference page and the configuration form are generated from these models. Values are structural
here; SQL expressions are checked by `engine.expressions`, names by the connectors.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from sync_provider.core.endpoints import Endpoint
from sync_provider.core.schedule import Schedule, parse_schedule
from sync_provider.core.schema import LogicalType, parse_type
from sync_provider.core.values import (
    AssetUri,
    Clock,
    ConnectionId,
    Duration,
    Email,
    IsoDate,
    Items,
    MappingId,
    Model,
    ScheduleText,
    Share,
    Text,
    TimeZone,
    TypeName,
)


class FieldMapping(Model):
    """One field: a source column, a destination column, a type between them."""

    source: Text
    """Name of the source column."""
    destination: Text
    """Name of the destination column; expressions, keys, rules and filters use this name."""
    type: TypeName = "string"
    """string, integer, decimal(p,s), double, boolean, date, timestamp or json."""
    to_destination: str | None = None
    """DuckDB expression over `value` (the source's raw value) and other source columns, giving the destination's value."""
    to_source: str | None = None
    """Two-way: the expression back."""
    direction: Literal["both", "to_destination", "to_source"] = "both"
    """Two-way: which way values of this field travel."""
    nulls: Literal["clear", "keep", "skip"] = "clear"
    """What a null does to an existing value: `clear` it, `keep` it, or `skip` the record's update altogether."""
    optional: bool = False
    """The source may lack this column: then the destination's column is left alone, which is not the same as null."""

    @property
    def logical_type(self) -> LogicalType:
        return parse_type(self.type)


class Expectation(Model):
    """One Great Expectations expectation, by its own name and arguments."""

    type: str
    """Name of the expectation, such as `expect_column_values_to_not_be_null`."""
    kwargs: dict[str, Any] = Field(default_factory=dict)
    """Its arguments; columns go by their destination names."""
    severity: Literal["critical", "warning", "info"] = "critical"
    """`critical` failures leave the batch (quarantine) or stop it; `warning` and `info` are reported only."""


class Validation(Model):
    """What records must satisfy, and what becomes of those that do not."""

    expectations: Items[Expectation] = ()
    """Rules, beside those that follow from the declared types and the key."""
    on_failure: Literal["quarantine", "fail", "warn"] = "quarantine"
    """What becomes of records that fail a critical rule: set aside (`quarantine`), stop the batch (`fail`), or only tell (`warn`)."""
    max_rejected: Share = "100%"
    """More rejected records than this number, or this share such as 5%, trip the batch: nothing is written."""
    on_partial: Literal["success", "fail"] = "success"
    """State of the `report` task when some records were rejected."""
    atomic: bool = False
    """All or nothing: one rejected record stops the batch."""


class Incremental(Model):
    """Read only records whose cursor is at or after the last one committed."""

    cursor: str
    """Destination name of the field to follow: an integer, date, timestamp, decimal or string that only grows."""
    lookback: Duration = "PT0S"
    """How far before the last cursor to read again, for records that arrive late (date and timestamp cursors)."""


class Conflicts(Model):
    """Two-way only: who wins where both sides changed the same field."""

    policy: Literal["merge", "source_wins", "destination_wins", "newest", "manual", "keep_both"] = "merge"
    """Who wins: field by field where only one side changed it (`merge`), a side, the later change, a person, or both as two records."""
    granularity: Literal["cell", "row"] = "cell"
    """Whether a conflict is about one field or about the whole record."""
    change_time: dict[Literal["source", "destination"], str] = Field(default_factory=dict)
    """Per side, the column that says when the record was changed; needed by `newest`."""
    fields: dict[str, Literal["merge", "source_wins", "destination_wins", "newest", "manual", "keep_both"]] = Field(
        default_factory=dict
    )
    """Policies of single fields, by destination name."""


class Guards(Model):
    """Brakes: when one trips, nothing is written until a person agrees."""

    max_deletes: Share = "20%"
    """Most deletions in one run: a number of records or a share of the destination's, such as 20%."""
    window: Duration = "P1D"
    """How far back `max_deletes_in_window` looks."""
    max_deletes_in_window: Share = "40%"
    """Most deletions by all runs of the window together: a number of records or a share, such as 40%."""
    empty_source: Literal["trip", "allow"] = "trip"
    """Whether a source without records trips a `mirror` or `replace` over a destination that has some; two-way: whether a side without records trips while the other side's were in step with it."""
    all_changed: Literal["trip", "allow"] = "trip"
    """Two-way: whether it trips that all of 20 or more records changed on one side."""
    on_trip: Literal["ask", "fail"] = "ask"
    """Ask a person in Airflow's required actions, or fail at once."""
    approval_timeout: Duration = "PT24H"
    """How long to wait for that person."""


class Limits(Model):
    """Bounds on waiting for other systems."""

    total_wait: Duration = "PT30M"
    """Longest time that one run waits for other systems in all."""
    requests_per_minute: int | None = Field(default=None, ge=1)
    """Requests sent to the other system per minute, all runs together."""


class AssetSchedule(Model):
    """Start when assets were updated, alone or with a clock beside them."""

    assets: Annotated[Items[AssetUri], Field(min_length=1)]
    """URIs of Airflow assets; any of them starts a run."""
    cron: Clock | None = None
    """Cron expression or preset that starts runs beside them."""


class Notifier(Model):
    """An Airflow notifier from the deployment's allow-list `[sync_provider] notifiers`."""

    name: str
    """Name in the allow-list."""
    kwargs: dict[str, Any] = Field(default_factory=dict)
    """Its arguments."""


class Alerts(Model):
    """Who hears of what. One message per change of state, and one on recovery."""

    emails: Items[Email] = ()
    """Addresses that are written to."""
    on: Items[Literal["failure", "conflict", "rejected", "anomaly"]] = ("failure",)
    """What is told."""
    notifiers: Items[Notifier] = ()
    """Further ways of telling, such as Slack."""


class Webhook(Model):
    """An outbound notification."""

    connection: ConnectionId
    """Airflow connection that holds the address and the signing secret."""
    events: Items[str] = ("run.succeeded", "run.failed")
    """What is sent."""


class Backup(Model):
    """Copies of the records about to change."""

    keep: int = Field(default=10, ge=1)
    """Backups kept; the last verified one is never removed."""


class AirflowOptions(Model):
    """Airflow's own knobs, passed on as they are."""

    owner: str = "data"
    """Shown in Airflow's list of DAGs."""
    tags: Items[str] = ()
    """Tags beside `sync`, the direction and the types."""
    retries: int = Field(default=3, ge=0, le=20)
    """Retries of a task after an error that may pass."""
    retry_delay: Duration = "PT1M"
    """Wait before the first retry; it grows from there."""
    execution_timeout: Duration | None = "PT1H"
    """Longest time that one task may take; null: no limit."""
    pool: str | None = None
    """Airflow pool that the tasks take a slot of."""
    queue: str | None = None
    """Queue of the workers that run the tasks."""
    priority_weight: int = Field(default=1, ge=1)
    """Order among waiting tasks; more comes first."""
    max_active_runs: int = Field(default=1, ge=1)
    """Runs of this integration at the same time."""


class Mapping(Model):
    """One integration: two endpoints, a direction, a field mapping, rules, a schedule, alerts."""

    version: Literal[1]
    """Version of this format."""
    id: MappingId
    """Name of the integration: 1 to 80 characters a-z, 0-9 and _, starting with a letter; normally the file's name without `.yaml`. The DAG is `sync__<id>`."""
    description: str = ""
    """One sentence for people; shown in Airflow."""
    mode: Literal["import", "export", "bidirectional"]
    """`import` (into our systems) and `export` (out of them) both flow source → destination; they differ as labels."""
    source: Endpoint
    """Where records come from."""
    destination: Endpoint
    """Where records go to."""
    key: Items[Text] = ()
    """Destination names of the fields that identify a record."""
    fields: Items[FieldMapping] = Field(min_length=1)
    """The fields that travel; others are left alone."""
    filter: str | None = None
    """One boolean DuckDB expression over destination names; records for which it is not true are filtered out."""
    write: Literal["append", "replace", "upsert", "mirror"] = "upsert"
    """One-way: add all records (`append`), swap the whole content (`replace`), insert and update by key (`upsert`), or also delete what the source no longer has (`mirror`; only records that we wrote)."""
    incremental: Incremental | None = None
    """One-way: read only what is new since the last run. Two-way runs always compare whole sides, so that what was not read is not taken for deleted."""
    validation: Validation = Field(default_factory=Validation)
    """Rules that records must satisfy."""
    conflicts: Conflicts | None = None
    """Two-way: who wins where both sides changed."""
    deletes: Literal["none", "propagate", "to_destination", "to_source"] = "none"
    """Two-way: which way deletions of tracked records travel."""
    delete_grace: Duration = "P0D"
    """How long a record must have been gone before its deletion travels."""
    guards: Guards = Field(default_factory=Guards)
    """Brakes on destructive runs."""
    limits: Limits = Field(default_factory=Limits)
    """Bounds on waiting for other systems."""
    schedule: ScheduleText | AssetSchedule | None = None
    """cron, preset (`@daily`), ISO 8601 duration, `realtime`, null, or `{assets: […], cron: …}`."""
    timezone: TimeZone = "Europe/Paris"
    """Time zone of the schedule and of times that name none, by IANA name."""
    start_date: IsoDate | None = None
    """ISO date, in `timezone`, of the first scheduled interval; default 2025-01-01."""
    alerts: Alerts = Field(default_factory=Alerts)
    """Who hears of failures."""
    webhooks: Items[Webhook] = ()
    """Programs that are told."""
    backup: Backup = Field(default_factory=Backup)
    """Copies of the records about to change."""
    airflow: AirflowOptions = Field(default_factory=AirflowOptions)
    """Airflow's own options."""

    @property
    def when(self) -> Schedule:
        """``schedule``, told apart."""
        if isinstance(self.schedule, AssetSchedule):
            return Schedule("assets", self.schedule.cron, assets=self.schedule.assets)
        return parse_schedule(self.schedule)

    @property
    def two_way(self) -> bool:
        """Whether both sides are written."""
        return self.mode == "bidirectional"

    @property
    def dag_id(self) -> str:
        return f"sync__{self.id}"

    def endpoint(self, side: Literal["source", "destination"]) -> Endpoint:
        return self.source if side == "source" else self.destination

    def id_column(self, side: Literal["source", "destination"]) -> str | None:
        """A side's own name of the column in which its rows are given ids; None where they have keys of their own."""
        return getattr(self.endpoint(side), "id_column", None)

    @model_validator(mode="after")
    def _consistent(self) -> Mapping:
        from sync_provider.core.mapping_checks import inconsistencies  # imported late: it knows this module

        problems = inconsistencies(self)
        if problems:
            # pydantic keeps one error per raise: the loader places each of these by its own path.
            raise PydanticCustomError("inconsistent", "{summary}", {"summary": problems[0][1], "problems": problems})
        return self
