"""The Sheets connector where Google refuses, fails or falls silent: nothing twice, nothing lost, no secret in any text."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from sheets_side import TAB, SheetsSide, columns
from sync_provider.connectors.sheets import api as sheets_api
from sync_provider.connectors.sheets.edits import BODY_BYTES
from sync_provider.core.errors import SyncAuthenticationError, SyncConnectionError, SyncDataError, SyncError

FIELDS = columns(code="string", name="string")
BATCH = "sheets.spreadsheets.batchUpdate"
VALUES = r"sheets.spreadsheets.values.batchGet$"
GET = r"sheets.spreadsheets.get$"


@pytest.fixture
def side(tmp_path: Path) -> Iterator[SheetsSide]:
    made = SheetsSide(tmp_path)
    made.put(["code", "name"], ["a", "Ada"], ["b", "Bob"])
    made.forget()
    yield made
    made.close()


def rec(code: str, name: str | None) -> dict[str, Any]:
    return {"code": code, "name": name}


def everything(error: BaseException) -> str:
    """All that could be shown or logged of an error."""
    parts = [str(error), repr(error), repr(getattr(error, "hint", "")), repr(getattr(error, "where", ""))]
    while error.__cause__ is not None:
        error = error.__cause__
        parts += [str(error), repr(error)]
    return "\n".join(parts)


def assert_no_secret(side: SheetsSide, error: BaseException) -> None:
    text = everything(error)
    for secret in (side.key["private_key"], side.key["private_key"].splitlines()[1], "ya29.", "Bearer "):
        assert secret not in text


# Quota


@pytest.mark.parametrize(
    ("header", "least_s", "most_s"),
    [("7", 7, 7), ("date", 7, 7), ("in a moment", 0.5, 1.5), ("-3", 0.5, 1.5), ("86400", 300, 300)],
)
def test_a_refusal_for_quota_waits_as_long_as_it_says(
    side: SheetsSide, header: str, least_s: float, most_s: float
) -> None:
    if header == "date":
        header = format_datetime(side.clock.now() + timedelta(seconds=7), usegmt=True)
    side.fault(VALUES, status=429, headers={"Retry-After": header})
    records, _ = side.read(code="string")
    assert [record["code"] for record in records] == ["a", "b"]
    assert len(side.clock.slept) == 1
    assert least_s <= side.clock.slept[0] <= most_s


def test_quota_is_waited_for_no_longer_than_allowed(side: SheetsSide) -> None:
    side.fault(VALUES, status=429, times=None)
    with pytest.raises(SyncConnectionError, match="quota") as caught:
        side.read(side.connector(total_wait_s=100), code="string")
    assert caught.value.code == "google_quota"
    assert caught.value.retryable
    assert sum(side.clock.slept) <= 100
    assert len(side.clock.slept) > 5


def test_the_quota_of_the_sandbox_itself_is_waited_for(side: SheetsSide) -> None:
    side.client.control("PUT", "quotas", {"reads_per_user": 1})
    clock = side.clock

    def refill(seconds: float) -> None:
        clock.slept.append(seconds)
        if len(clock.slept) % 3 == 0:  # a minute is over
            side.client.control("PUT", "quotas", {"reads_per_user": 1})

    clock.sleep = refill  # type: ignore[method-assign]
    records, _ = side.read(code="string", name="string")
    assert [record["name"] for record in records] == ["Ada", "Bob"]
    assert side.log()["by_status"]["429"] == len(clock.slept)


def test_quota_used_up_halfway_keeps_what_was_written_and_a_rerun_goes_on(side: SheetsSide) -> None:
    rows = [("insert", rec(f"k{n:04d}", "x" * 30_000), None) for n in range(300)]  # 9 MB: some requests
    side.fault(BATCH, status=429, skip=2, times=None)
    with pytest.raises(SyncConnectionError, match="quota"):
        side.write(FIELDS, *rows, connector=side.connector(total_wait_s=30))
    written = len(side.rows()) - 3
    assert 0 < written < 300
    side.client.control("DELETE", "faults")
    result = side.write(FIELDS, *rows)
    assert result.inserted == 300 - written
    assert [row[0] for row in side.rows()[3:]] == [f"k{n:04d}" for n in range(300)]


# Failures and lost answers


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_failing_read_is_tried_again(side: SheetsSide, status: int) -> None:
    side.fault(VALUES, status=status, times=3)
    records, _ = side.read(code="string")
    assert len(records) == 2
    assert len(side.clock.slept) == 3
    assert all(0.5 * 2**n <= pause <= 1.5 * 2**n for n, pause in enumerate(side.clock.slept))


def test_a_read_that_always_fails_ends_as_a_connection_error(side: SheetsSide) -> None:
    side.fault(VALUES, status=503, times=None)
    with pytest.raises(SyncConnectionError) as caught:
        side.read(code="string")
    assert caught.value.code == "google_unavailable"
    assert side.count("sheets.spreadsheets.values.batchGet") == 6


@pytest.mark.parametrize("cut", ["before", "after"])
def test_a_read_whose_answer_is_cut_is_tried_again(side: SheetsSide, cut: str) -> None:
    side.fault(GET, cut=cut)
    side.fault(VALUES, cut=cut, times=2)
    records, _ = side.read(code="string")
    assert len(records) == 2


@pytest.mark.parametrize("fault", [{"cut": "after"}, {"cut": "before"}, {"status": 503}, {"status": 500}])
def test_changes_whose_answer_is_lost_are_applied_once(side: SheetsSide, fault: dict[str, Any]) -> None:
    side.fault(BATCH, **fault)
    result = side.write(
        FIELDS,
        ("update", rec("a", "Adela"), rec("a", "Ada")),
        ("delete", None, rec("b", "Bob")),
        ("insert", rec("c", "Cyd"), None),
    )
    assert (result.inserted, result.updated, result.deleted) == (1, 1, 1)
    assert not result.deferred_keys
    assert side.rows() == [["code", "name"], ["a", "Adela"], ["c", "Cyd"]]
    assert side.count(BATCH) == (1 if fault == {"cut": "after"} else 2)


def test_several_lost_answers_in_a_row_are_borne(side: SheetsSide) -> None:
    side.fault(BATCH, cut="before", times=2)
    side.fault(BATCH, cut="after")
    result = side.write(FIELDS, ("insert", rec("c", "Cyd"), None))
    assert result.inserted == 1
    assert side.rows()[3:] == [["c", "Cyd"]]
    assert len(side.clock.slept) == 3


def test_a_write_whose_answer_is_always_lost_fails_and_a_rerun_finishes_it(side: SheetsSide) -> None:
    side.fault(BATCH, cut="before", times=None)
    with pytest.raises(SyncConnectionError) as caught:
        side.write(FIELDS, ("insert", rec("c", "Cyd"), None))
    assert caught.value.code == "google_outcome_unknown"
    assert caught.value.retryable
    side.client.control("DELETE", "faults")
    assert side.write(FIELDS, ("insert", rec("c", "Cyd"), None)).inserted == 1
    assert len(side.rows()) == 4


@pytest.mark.parametrize("cut", ["before", "after"])
def test_an_append_whose_answer_is_lost_stands_there_once(side: SheetsSide, cut: str) -> None:
    side.fault(BATCH, cut=cut)
    result = side.write(
        FIELDS, ("insert", rec("c", "Cyd"), None), ("insert", rec("c", "Cyd"), None), mode="append", marker="m1"
    )
    assert result.inserted == 2
    assert side.rows()[3:] == [["c", "Cyd"]] * 2


@pytest.mark.parametrize("cut", ["before", "after"])
@pytest.mark.parametrize("count", [1, 1500])
def test_a_replacement_whose_answer_is_lost_lets_the_grid_grow_once(side: SheetsSide, cut: str, count: int) -> None:
    side.fault(BATCH, cut=cut)
    result = side.write(FIELDS, *(("insert", rec(f"k{n}", "x"), None) for n in range(count)), mode="replace")
    assert result.inserted == count
    assert side.rows() == [["code", "name"], *([f"k{n}", "x"] for n in range(count))]
    (tab,) = side.grid()
    assert tab["properties"]["gridProperties"]["rowCount"] == max(1000, count + 1)


@pytest.mark.parametrize("cut", ["before", "after"])
@pytest.mark.parametrize("skip", [0, 1, 2, 3])
def test_a_large_replacement_bears_a_lost_answer_at_every_step(side: SheetsSide, cut: str, skip: int) -> None:
    rows = [("insert", rec(f"k{n}", "é" * 20_000), None) for n in range(60)]
    side.fault("sheets.spreadsheets.(values.)?batchUpdate$", cut=cut, skip=skip)
    result = side.write(FIELDS, *rows, mode="replace")
    assert result.inserted == 60
    assert [row[0] for row in side.rows()] == ["code", *(f"k{n}" for n in range(60))]
    assert len(side.grid()) == 1


@pytest.mark.parametrize("cut", ["before", "after"])
def test_a_new_tab_whose_answer_is_lost_is_made_once(side: SheetsSide, cut: str) -> None:
    side.fault(BATCH, cut=cut)
    result = side.write(FIELDS, ("insert", rec("a", "Ada"), None), connector=side.connector(sheet="New"))
    assert result.inserted == 1
    assert side.rows("New") == [["code", "name"], ["a", "Ada"]]
    assert [tab["properties"]["title"] for tab in side.grid()] == [TAB, "New"]


# Refusals of a batch


def test_a_refused_batch_names_the_cell_and_applies_nothing(side: SheetsSide) -> None:
    side.fault(BATCH, status=400, message='Invalid requests[1].updateCells: I do not like "secret value" here.')
    before = side.grid()
    with pytest.raises(SyncDataError) as caught:
        side.write(
            FIELDS,
            ("update", rec("a", "Adela"), rec("a", "Ada")),
            ("update", rec("b", "Bert"), rec("b", "Bob")),
            ("insert", rec("a2", "x"), None),
            ("delete", None, rec("zz", None)),
        )
    assert side.grid() == before
    assert caught.value.code == "google_request"
    assert caught.value.where.sheet == TAB
    assert caught.value.where.cell == "A4"
    assert "secret value" not in everything(caught.value)


def test_a_refused_batch_leaves_the_others(side: SheetsSide) -> None:
    long = "x" * (BODY_BYTES // 45)
    rows = [("insert", rec(f"k{n:03d}", long), None) for n in range(150)]
    side.fault(BATCH, status=400, message="Invalid requests[0].updateCells: no", skip=1)
    with pytest.raises(SyncDataError) as caught:
        side.write(FIELDS, *rows)
    written = len(side.rows()) - 3
    assert 0 < written < 150
    assert caught.value.where.cell == f"A{written + 4}"
    assert side.write(FIELDS, *rows).inserted == 150 - written


# Rights


def test_an_expired_token_is_refreshed_once_and_the_request_repeated_once(side: SheetsSide) -> None:
    connector = side.connector()
    connector.describe()
    side.forget()
    side.fault(BATCH, status=401)
    assert side.write(FIELDS, ("insert", rec("c", "Cyd"), None), connector=connector).inserted == 1
    assert side.count("oauth.token") == 2  # one for the right to write, one refresh
    assert side.count(BATCH) == 2


def test_a_token_that_is_always_refused_is_an_authentication_error(side: SheetsSide) -> None:
    side.fault("^sheets", status=401, times=None)
    with pytest.raises(SyncAuthenticationError) as caught:
        side.read(code="string")
    assert caught.value.code == "google_credentials"
    assert side.count("oauth.token") == 2
    assert_no_secret(side, caught.value)


def test_a_revoked_key_asks_for_a_token_at_most_twice(side: SheetsSide) -> None:
    side.client.control("PUT", "accounts", {"email": side.key["client_email"], "disabled": True})
    side.forget()
    with pytest.raises(SyncAuthenticationError) as caught:
        side.read(code="string")
    assert caught.value.code == "google_credentials"
    assert "connect" in str(caught.value.hint)
    assert 1 <= side.count("oauth.token") <= 2
    assert not side.clock.slept
    assert_no_secret(side, caught.value)


def test_another_key_than_googles_asks_for_a_token_at_most_twice(side: SheetsSide) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    foreign = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    side.key = {**side.key, "private_key": foreign.decode()}
    with pytest.raises(SyncAuthenticationError) as caught:
        side.read(code="string")
    assert side.count("oauth.token") <= 2
    assert_no_secret(side, caught.value)


def test_a_refused_refresh_token_of_a_person_asks_at_most_twice(side: SheetsSide) -> None:
    person = side.client.control("POST", "people", {"email": "ada@example.org"})
    key = {**person, "type": "authorized_user", "refresh_token": "1//revoked-refresh-token"}
    with pytest.raises(SyncAuthenticationError) as caught:
        side.read(side.connector(key), code="string")
    assert side.count("oauth.token") <= 2
    assert "1//revoked-refresh-token" not in everything(caught.value)


def test_a_person_who_granted_too_little_is_told_so(side: SheetsSide) -> None:
    scopes = ["https://www.googleapis.com/auth/drive.metadata.readonly"]
    person = side.client.control("POST", "people", {"email": "ada@example.org", "scopes": scopes})
    side.client.control("POST", "share", {"id": side.book, "email": "ada@example.org"})
    with pytest.raises(SyncAuthenticationError) as caught:
        side.read(side.connector({"type": "authorized_user", **person}), code="string")
    assert caught.value.code == "google_scopes"


def test_a_switched_off_api_is_told_so(side: SheetsSide) -> None:
    side.client.control("PUT", "apis", {"project": side.key["project_id"], "enabled": False})
    with pytest.raises(SyncAuthenticationError) as caught:
        side.read(code="string")
    assert caught.value.code == "google_api_disabled"
    assert "Enable" in str(caught.value.hint)


def test_not_shared_reader_only_and_missing_are_told_apart(side: SheetsSide) -> None:
    other = side.client.control("POST", "accounts", {"email": "robot@other.iam.gserviceaccount.com"})
    with pytest.raises(SyncAuthenticationError) as caught:
        side.read(side.connector(other), code="string")
    assert caught.value.code == "google_not_shared"
    assert other["client_email"] in str(caught.value.hint)
    with pytest.raises(SyncDataError, match="or it is not shared with the account"):
        side.connector(other).token()

    side.client.control("POST", "share", {"id": side.book, "email": other["client_email"], "role": "reader"})
    assert len(side.read(side.connector(other), code="string")[0]) == 2
    with pytest.raises(SyncAuthenticationError) as caught:
        side.write(FIELDS, ("insert", rec("c", "Cyd"), None), connector=side.connector(other))
    assert caught.value.code == "google_read_only"
    assert "Editor" in str(caught.value.hint)
    probes = {probe.aspect: probe for probe in side.connector(other).test(["code"], write=True)}
    assert probes["read"].ok
    assert not probes["write"].ok
    assert len(side.rows()) == 3

    with pytest.raises(SyncDataError) as missing:
        side.read(side.connector(spreadsheet="1" + "x" * 43), code="string")
    assert missing.value.code == "spreadsheet_missing"


# What is not Google at all


@pytest.mark.parametrize("method", [GET, VALUES])
def test_a_page_instead_of_json_is_an_error_and_not_an_empty_sheet(side: SheetsSide, method: str) -> None:
    side.fault(method, body="<html><form>Sign in, secret-page-text</form></html>", times=None)
    with pytest.raises(SyncDataError) as caught:
        side.read(code="string")
    assert caught.value.code == "google_no_json"
    assert "text/html" in str(caught.value)
    assert "secret-page-text" not in everything(caught.value)


def test_a_redirection_to_a_login_is_not_followed(side: SheetsSide) -> None:
    side.fault(GET, status=302, body="", headers={"Location": "https://login.example.org/?token=abc"}, times=None)
    with pytest.raises(SyncDataError) as caught:
        side.read(code="string")
    assert caught.value.code == "google_no_json"
    assert "login.example.org" not in everything(caught.value)


@pytest.mark.parametrize("url", ["no address", "http://127.0.0.1:1"])
def test_an_address_where_nobody_answers_is_a_connection_error(side: SheetsSide, url: str) -> None:
    connector = side.connector(extra={"base_url": url})
    with pytest.raises(SyncConnectionError) as caught:
        connector.describe()
    assert caught.value.code == "google_unreachable"
    assert_no_secret(side, caught.value)


def test_a_token_endpoint_that_cannot_be_reached_is_a_connection_error(side: SheetsSide) -> None:
    side.key = {**side.key, "token_uri": "http://127.0.0.1:1/token"}
    with pytest.raises(SyncConnectionError) as caught:
        side.read(code="string")
    assert caught.value.code == "google_token"
    assert caught.value.retryable


def test_an_answer_that_trickles_in_is_given_up(side: SheetsSide, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheets_api, "TIMEOUT_S", (5.0, 0.2))
    done = threading.Event()

    def serve(listener: socket.socket) -> None:
        while not done.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                try:
                    while not done.wait(0.02):
                        connection.sendall(b" ")
                except OSError:
                    continue

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            with pytest.raises(SyncConnectionError) as caught:
                side.connector(extra={"base_url": f"http://127.0.0.1:{listener.getsockname()[1]}"}).describe()
        finally:
            done.set()
            listener.close()
            thread.join(10)
    assert caught.value.code == "google_unreachable"


def test_no_error_of_any_status_shows_a_secret(side: SheetsSide) -> None:
    for status in (400, 401, 403, 404, 409, 413, 429, 500, 503):
        side.client.control("DELETE", "faults")
        side.fault("^sheets", status=status, times=None, message="ya29.leak Bearer leak")
        try:
            side.read(side.connector(total_wait_s=0), code="string")
        except SyncError as error:
            if status != 400:  # Google's reason is shown there, and nowhere else
                assert_no_secret(side, error)
        else:
            pytest.fail(f"status {status} was no error")
    assert json.dumps(side.key) not in repr(side.connector())
