from __future__ import annotations

from typing import Any

import pytest
from sync_provider.connectors.base import ConnectionInfo, Secret
from sync_provider.connectors.sql.engine_url import kind_of, postgres_parameters, secrets_of, sqlalchemy_url
from sync_provider.core.errors import MappingError


def connection(type_: str = "postgres", **parts: Any) -> ConnectionInfo:
    return ConnectionInfo(id="app_db", type=type_, **parts)


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (connection("sqlite"), "sqlite"),
        (connection("postgres"), "postgresql"),
        (connection("generic", extra={"sqlalchemy_url": "postgresql+psycopg2://h/d"}), "postgresql"),
        (connection("generic", extra={"sqlalchemy_url": "sqlite:////tmp/x.db"}), "sqlite"),
        (connection("postgres", extra={"bulk": False}), "other"),
        (connection("postgres", extra={"bulk": "false"}), "other"),
        (connection("mysql"), "other"),
    ],
)
def test_the_kind_follows_from_the_type_or_the_url(given: ConnectionInfo, kind: str) -> None:
    assert kind_of(given) == kind


def test_ssl_options_and_timeouts_reach_libpq() -> None:
    extra = {
        "sslmode": "verify-full",
        "sslrootcert": "/etc/ca.pem",
        "read_timeout": 1.5,
        "options": "-c geqo=off",
        "other": 1,
    }
    given = postgres_parameters(
        connection(host="h", port=5433, schema="d", login="u", password=Secret("p"), extra=extra)
    )
    expected = {"host": "h", "port": 5433, "dbname": "d", "user": "u", "password": "p", "sslmode": "verify-full", "sslrootcert": "/etc/ca.pem"}  # fmt: skip
    assert expected.items() <= given.items()
    assert given["options"] == "-c geqo=off -c statement_timeout=1500"
    assert given["connect_timeout"] == 10
    assert "other" not in given


def test_what_is_not_given_is_left_to_libpq() -> None:
    assert {"host", "port", "dbname", "user", "password", "sslmode"}.isdisjoint(postgres_parameters(connection()))


def test_other_databases_get_an_url_of_their_own() -> None:
    url = sqlalchemy_url(
        connection("postgres", host="h", login="u", password=Secret("p@/:"), schema="d", extra={"bulk": False})
    )
    assert (url.drivername, url.host, url.password, url.database) == ("postgresql+psycopg", "h", "p@/:", "d")


def test_a_missing_driver_is_named() -> None:
    with pytest.raises(MappingError, match="nosuchdb"):
        sqlalchemy_url(connection("nosuchdb", host="h"))


def test_the_password_of_an_url_is_a_secret_too() -> None:
    given = connection("generic", extra={"sqlalchemy_url": "postgresql://u:hidden-1@h/d"}, password=Secret("hidden-2"))
    assert {"hidden-1", "hidden-2"} <= set(secrets_of(given))
