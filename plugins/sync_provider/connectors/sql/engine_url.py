"""From an Airflow connection to a database: which kind it is, and how to reach it. No I/O, no secrets in errors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sync_provider.connectors.base import ConnectionInfo
from sync_provider.core.errors import MappingError, Where

if TYPE_CHECKING:
    from sqlalchemy import URL

_SQLITE = ("sqlite",)
# Airflow's names for connections, where SQLAlchemy has another.
_DRIVERS = {
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "mssql": "mssql+pymssql",
    "mysql": "mysql+pymysql",
}
_POSTGRES = ("postgres", "postgresql")
_URL_KEYS = ("sqlalchemy_url", "sqlalchemy_uri")
# What libpq understands and a person may want to set in the connection's extra.
_LIBPQ = (
    "sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl", "connect_timeout", "application_name", "options", "target_session_attrs",
    "channel_binding", "gssencmode", "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout",
)  # fmt: skip
CONNECT_TIMEOUT_S = 10
# A peer that vanished without a word is noticed within about a minute.
_LIVENESS = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 60_000}


def kind_of(connection: ConnectionInfo) -> str:
    """``sqlite``, ``postgresql``, or ``other`` (anything that SQLAlchemy has a dialect for).

    ``extra.bulk: false`` makes PostgreSQL ``other``: for databases that speak its language but lack its COPY.
    """
    name = _url(connection).get_backend_name() if _has_url(connection) else connection.type
    if name in _SQLITE:
        return "sqlite"
    bulk = str(connection.extra.get("bulk", True)).lower() not in ("false", "0", "no")
    return "postgresql" if name in _POSTGRES and bulk else "other"


def sqlite_path(connection: ConnectionInfo) -> Path:
    """The database file of a SQLite connection: its host, or its schema (where Airflow puts the path of a URI).

    Raises:
        MappingError: no path, or an in-memory database, which nobody else could read.
    """
    text = _url(connection).database if _has_url(connection) else connection.host or connection.schema
    text = (text or "").strip()
    if not text or text == ":memory:" or "mode=memory" in text:
        raise MappingError(
            "the SQLite connection names no file",
            where=_where(connection),
            hint="Put the path of the database file into the connection's host.",
            code="connection_incomplete",
        )
    return Path(text.removeprefix("file:").partition("?")[0]).expanduser()


def postgres_parameters(connection: ConnectionInfo) -> dict[str, Any]:
    """Libpq parameters of a PostgreSQL connection, the password among them: keep them out of messages."""
    if _has_url(connection):
        url = _url(connection)
        given: dict[str, Any] = {
            "host": url.host,
            "port": url.port,
            "dbname": url.database,
            "user": url.username,
            "password": url.password,
        }
        options: dict[str, Any] = dict(url.query)
    else:
        given = {
            "host": connection.host,
            "port": connection.port,
            "dbname": connection.schema,
            "user": connection.login,
            "password": str(connection.password) if connection.password else None,
        }
        options = connection.extra
    merged = {
        "connect_timeout": CONNECT_TIMEOUT_S,
        "application_name": "sync_provider",
        **_LIVENESS,
        **{name: options[name] for name in _LIBPQ if options.get(name) not in (None, "")},
        **{name: value for name, value in given.items() if value not in (None, "")},
    }
    timeout = connection.extra.get("read_timeout")
    if timeout not in (None, ""):
        limit = f"-c statement_timeout={int(float(timeout) * 1000)}"
        merged["options"] = f"{merged.get('options', '')} {limit}".strip()
    return merged


def sqlalchemy_url(connection: ConnectionInfo) -> URL:
    """The SQLAlchemy URL of any other database.

    Raises:
        MappingError: SQLAlchemy has no dialect of that name.
    """
    from sqlalchemy import URL
    from sqlalchemy.exc import NoSuchModuleError

    if _has_url(connection):
        url = _url(connection)
    else:
        query = connection.extra.get("query") or {}
        url = URL.create(
            str(connection.extra.get("sqlalchemy_driver") or _DRIVERS.get(connection.type, connection.type)),
            username=connection.login,
            password=str(connection.password) if connection.password else None,
            host=connection.host,
            port=connection.port,
            database=connection.schema,
            query={str(name): str(value) for name, value in query.items()},
        )
    try:
        url.get_dialect()
    except (NoSuchModuleError, ImportError) as error:
        raise MappingError(
            f"no driver for databases of type {url.drivername!r} is installed",
            where=_where(connection),
            hint="Install its SQLAlchemy dialect, or correct the connection's type or extra.sqlalchemy_url.",
            code="driver_missing",
        ) from error
    return url


def secrets_of(connection: ConnectionInfo) -> tuple[str, ...]:
    """Every text of a connection that no message may hold."""
    in_url = str(_url(connection).password or "") if _has_url(connection) else ""
    return (*connection.secrets(), *([in_url] if in_url else []))


def _has_url(connection: ConnectionInfo) -> bool:
    return any(connection.extra.get(key) for key in _URL_KEYS)


def _url(connection: ConnectionInfo) -> URL:
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    text = next(connection.extra[key] for key in _URL_KEYS if connection.extra.get(key))
    try:
        return make_url(str(text))
    except (ArgumentError, ValueError):
        # The driver's own message quotes the URL, and the URL may hold a password.
        raise MappingError(
            "extra.sqlalchemy_url is no SQLAlchemy URL",
            where=_where(connection),
            hint="Write it as dialect+driver://user:password@host:port/database.",
            code="connection_incomplete",
        ) from None


def _where(connection: ConnectionInfo) -> Where:
    return Where(endpoint=f"connection {connection.id}")
