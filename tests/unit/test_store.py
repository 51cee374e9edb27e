"""The store: whole files or none, and never a wrong byte."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import textwrap
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sync_provider.core.errors import SyncConnectionError, SyncDataError
from sync_provider.engine.crypto import Cipher, new_key
from sync_provider.engine.sealed_file import CHUNK_BYTES, SealedReader, SealedWriter
from sync_provider.engine.store import Store

CIPHER = Cipher([new_key()])


@pytest.fixture(params=["local", "memory"])
def store(request, tmp_path: Path) -> Store:
    url = str(tmp_path / "store") if request.param == "local" else f"memory://{tmp_path.name}"
    return Store(url, CIPHER)


def put(store: Store, path: str, data: bytes) -> None:
    with store.open_write(path) as file:
        file.write(data)
    assert file.size_bytes == len(data)


def fail_while_writing(store: Store, path: str) -> None:
    with store.open_write(path) as file:
        file.write(b"new" * CHUNK_BYTES)
        raise ZeroDivisionError


def seal(data: bytes, path: str = "a/b", chunk_bytes: int = 16, cipher: Cipher = CIPHER) -> bytes:
    out = bytearray()
    writer = SealedWriter(out.extend, cipher, path, chunk_bytes)
    writer.write(data)
    writer.seal()
    return bytes(out)


def unseal(data: bytes, path: str = "a/b", cipher: Cipher = CIPHER) -> bytes:
    with SealedReader(io.BytesIO(data), len(data), cipher, path) as file:
        return file.read()


def test_what_was_written_is_read_back_with_its_size_and_digest(store: Store) -> None:
    import hashlib

    data = os.urandom(3 * CHUNK_BYTES + 5)
    put(store, "staging/run/x.bin", data)
    with store.open_read("staging/run/x.bin") as file:
        assert file.read() == data
    assert store.size("staging/run/x.bin") == len(data)
    assert store.sha256("staging/run/x.bin") == hashlib.sha256(data).hexdigest()


def test_nothing_stored_shows_the_plain_bytes(tmp_path: Path) -> None:
    put(Store(str(tmp_path), CIPHER), "x", b"very personal data" * 100)
    assert b"personal" not in (tmp_path / "x").read_bytes()


@given(st.binary(max_size=200), st.integers(1, 40), st.lists(st.integers(0, 60), max_size=6))
def test_any_pieces_and_chunk_size_give_the_same_bytes(data: bytes, chunk_bytes: int, cuts: list[int]) -> None:
    out = bytearray()
    writer = SealedWriter(out.extend, CIPHER, "p", chunk_bytes)
    rest = data
    for cut in cuts:
        writer.write(rest[:cut])
        rest = rest[cut:]
    writer.write(rest)
    writer.seal()
    assert unseal(bytes(out), "p") == data


@given(st.binary(max_size=200), st.lists(st.tuples(st.integers(0, 220), st.integers(0, 90)), max_size=8))
def test_random_access_reads_what_a_plain_file_would(data: bytes, reads: list[tuple[int, int]]) -> None:
    sealed = seal(data)
    with SealedReader(io.BytesIO(sealed), len(sealed), CIPHER, "a/b") as file:
        plain = io.BytesIO(data)
        for offset, size in reads:
            file.seek(offset)
            plain.seek(offset)
            assert file.read(size) == plain.read(size)
            assert file.tell() == plain.tell() or offset > len(data)


@given(st.binary(max_size=100), st.data())
def test_one_flipped_bit_is_refused(data: bytes, choice: st.DataObject) -> None:
    sealed = bytearray(seal(data))
    bit = choice.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SyncDataError):
        unseal(bytes(sealed))


@given(st.binary(max_size=100), st.data())
def test_a_file_cut_anywhere_never_opens(data: bytes, choice: st.DataObject) -> None:
    sealed = seal(data)
    kept = choice.draw(st.integers(0, len(sealed) - 1))
    with pytest.raises(SyncDataError):
        SealedReader(io.BytesIO(sealed[:kept]), kept, CIPHER, "a/b")


@given(st.binary(max_size=100), st.binary(min_size=1, max_size=40))
def test_a_file_with_something_appended_never_gives_more_than_was_written(data: bytes, more: bytes) -> None:
    with pytest.raises(SyncDataError):
        unseal(seal(data) + more)


def test_chunks_that_changed_places_are_refused() -> None:
    sealed = seal(b"a" * 16 + b"b" * 16 + b"c")
    head, one, two, rest = sealed[:48], sealed[48:80], sealed[80:112], sealed[112:]
    assert unseal(head + one + two + rest)
    for forged in (head + two + one + rest, head + one + one + rest, head + two + rest, head + one + two + two + rest):
        with pytest.raises(SyncDataError):
            unseal(forged)


def test_chunks_of_another_file_of_the_same_path_are_refused() -> None:
    one, two = seal(b"a" * 16 + b"x"), seal(b"b" * 16 + b"y")
    with pytest.raises(SyncDataError):
        unseal(one[:80] + two[80:])


def test_another_key_is_named_and_an_older_one_still_reads() -> None:
    old, new = new_key(), new_key()
    sealed = seal(b"data", cipher=Cipher([old]))
    assert unseal(sealed, cipher=Cipher([new, old])) == b"data"
    with pytest.raises(SyncDataError, match="not configured") as caught:
        unseal(sealed, cipher=Cipher([new]))
    assert caught.value.code == "key_unknown"
    assert Cipher([old]).key_ids[0] in str(caught.value)
    assert old not in str(caught.value)


def test_a_file_swapped_with_another_mappings_is_refused(tmp_path: Path) -> None:
    store = Store(str(tmp_path), CIPHER)
    put(store, "backup/clients/1", b"clients")
    put(store, "backup/orders/1", b"orders!")
    one, two = tmp_path / "backup/clients/1", tmp_path / "backup/orders/1"
    swapped = two.read_bytes()
    two.write_bytes(one.read_bytes())
    one.write_bytes(swapped)
    for path in ("backup/clients/1", "backup/orders/1"):
        with pytest.raises(SyncDataError) as caught:
            store.open_read(path)
        assert caught.value.code == "store_damaged"
        assert path in str(caught.value)


def test_a_failed_write_leaves_the_old_file_and_no_rest(store: Store) -> None:
    put(store, "x", b"old")
    with pytest.raises(ZeroDivisionError):
        fail_while_writing(store, "x")
    with store.open_read("x") as file:
        assert file.read() == b"old"
    assert store.list() == ["x"]
    assert store.remove_unfinished(datetime.now(UTC) + timedelta(days=1)) == 0


def test_a_new_file_is_not_seen_before_it_is_complete(store: Store) -> None:
    with store.open_write("a/x") as file:
        file.write(b"half" * CHUNK_BYTES)
        assert not store.exists("a/x")
        assert store.list() == []
    assert store.exists("a/x")


def test_a_writer_that_was_killed_leaves_the_old_file_and_a_rest_that_can_be_removed(tmp_path: Path) -> None:
    key = new_key()
    store = Store(str(tmp_path), Cipher([key]))
    put(store, "x", b"old")
    program = """
        import os, signal, sys
        from sync_provider.engine.crypto import Cipher
        from sync_provider.engine.store import Store
        with Store(sys.argv[1], Cipher([sys.argv[2]])).open_write("x") as file:
            file.write(b"new" * 1_000_000)
            os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program), str(tmp_path), key], check=False)
    assert done.returncode == -9
    with store.open_read("x") as file:
        assert file.read() == b"old"
    assert store.list() == ["x"]
    assert len(list(tmp_path.iterdir())) == 2
    assert store.remove_unfinished(datetime.now(UTC) - timedelta(hours=1)) == 0
    assert store.remove_unfinished(datetime.now(UTC) + timedelta(hours=1)) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_a_full_disk_names_path_and_bytes_and_keeps_the_old_file(tmp_path: Path) -> None:
    key = new_key()
    store = Store(str(tmp_path), Cipher([key]))
    put(store, "x", b"old")
    program = """
        import resource, sys
        from sync_provider.core.errors import SyncConnectionError
        from sync_provider.engine.crypto import Cipher
        from sync_provider.engine.store import Store
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
        try:
            with Store(sys.argv[1], Cipher([sys.argv[2]])).open_write("x") as file:
                file.write(b"n" * 3_000_000)
        except SyncConnectionError as error:
            print(error.code, error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(tmp_path), key], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("disk_full")
    assert str(tmp_path / "x") in done.stdout
    assert "1,000,000 bytes were written" in done.stdout
    with store.open_read("x") as file:
        assert file.read() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_parquet_is_written_and_read_column_by_column(store: Store) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"a": list(range(50_000)), "b": [f"text {i}" for i in range(50_000)]})
    with store.open_write("t.parquet") as file, pq.ParquetWriter(file, table.schema) as writer:
        writer.write_table(table, row_group_size=10_000)
    with store.open_read("t.parquet") as file:
        parquet = pq.ParquetFile(file)
        assert parquet.read().equals(table)
        assert parquet.read_row_group(3, columns=["b"]).column("b")[0].as_py() == "text 30000"


def test_a_missing_file_says_to_clear_from_extract(store: Store) -> None:
    with pytest.raises(SyncDataError, match="clear the run from `extract`") as caught:
        store.open_read("staging/gone")
    assert caught.value.code == "store_missing"


def test_files_are_listed_below_a_folder_and_deleted(store: Store) -> None:
    for path in ("staging/a/1", "staging/a/2", "staging/ab/1", "backup/a"):
        put(store, path, b"x")
    assert store.list("staging/a/") == ["staging/a/1", "staging/a/2"]
    assert store.list("staging/a") == ["staging/a/1", "staging/a/2"]
    assert store.list() == ["backup/a", "staging/a/1", "staging/a/2", "staging/ab/1"]
    assert store.list("nothing") == []
    assert all(f.modified_at and abs(f.modified_at - datetime.now(UTC)) < timedelta(minutes=5) for f in store.files())
    assert store.delete("staging/a/1")
    assert not store.delete("staging/a/1")
    assert not store.exists("staging/a/1")
    assert store.exists("staging/a/2")


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/./b", "a\\b", "a\0b", "a/"])
def test_paths_that_could_leave_the_store_are_refused(store: Store, path: str) -> None:
    with pytest.raises(SyncDataError) as caught, store.open_write(path):
        pytest.fail("opened")
    assert caught.value.code == "store_path"


def test_a_place_that_cannot_be_written_is_a_connection_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(SyncConnectionError) as caught, Store(str(tmp_path / "file"), CIPHER).open_write("x"):
        pytest.fail("opened")
    assert caught.value.code == "store_unreachable"


def test_local_files_are_private_to_their_user(tmp_path: Path) -> None:
    put(Store(str(tmp_path / "store"), CIPHER), "a/x", b"x")
    assert (tmp_path / "store/a/x").stat().st_mode & 0o077 == 0
    assert (tmp_path / "store/a").stat().st_mode & 0o077 == 0
