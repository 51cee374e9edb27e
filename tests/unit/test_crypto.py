"""Keys and small encrypted values."""

from __future__ import annotations

import base64
import stat
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sync_provider.core.errors import SyncDataError, SyncValidationError
from sync_provider.engine.crypto import Cipher, new_key, open_cipher
from sync_provider.engine.settings import load_settings

KEYS = [new_key(), new_key()]


@given(st.binary(max_size=300), st.binary(max_size=30))
def test_a_value_comes_back_for_the_place_it_was_made_for(data: bytes, aad: bytes) -> None:
    cipher = Cipher(KEYS)
    assert cipher.decrypt(cipher.encrypt(data, aad), aad) == data


@given(st.binary(max_size=60), st.data())
def test_an_altered_value_is_refused(data: bytes, choice: st.DataObject) -> None:
    cipher = Cipher(KEYS)
    sealed = bytearray(cipher.encrypt(data, b"here"))
    bit = choice.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SyncDataError):
        cipher.decrypt(bytes(sealed), b"here")


@given(st.binary(max_size=60), st.data())
def test_a_cut_value_is_refused(data: bytes, choice: st.DataObject) -> None:
    cipher = Cipher(KEYS)
    sealed = cipher.encrypt(data, b"here")
    with pytest.raises(SyncDataError):
        cipher.decrypt(sealed[: choice.draw(st.integers(0, len(sealed) - 1))], b"here")


def test_a_value_of_another_place_is_refused() -> None:
    cipher = Cipher(KEYS)
    with pytest.raises(SyncDataError) as caught:
        cipher.decrypt(cipher.encrypt(b"x", b"here"), b"there")
    assert caught.value.code == "ciphertext_invalid"


def test_the_first_key_writes_and_every_key_reads() -> None:
    old, new = KEYS
    written = Cipher([old]).encrypt(b"x", b"")
    rotated = Cipher([new, old])
    assert rotated.decrypt(written, b"") == b"x"
    assert Cipher([new]).decrypt(rotated.encrypt(b"y", b""), b"") == b"y"
    with pytest.raises(SyncDataError) as caught:
        Cipher([new]).decrypt(written, b"")
    assert caught.value.code == "key_unknown"
    assert Cipher([old]).key_ids[0] in caught.value.message


def test_the_same_value_never_looks_the_same_twice() -> None:
    cipher = Cipher(KEYS)
    assert len({cipher.encrypt(b"x", b"") for _ in range(100)}) == 100


def test_purposes_keys_and_salts_give_different_keys() -> None:
    cipher = Cipher(KEYS)
    derived = [
        cipher.derive(b"a"),
        cipher.derive(b"b"),
        cipher.derive(b"a", salt=b"s"),
        Cipher(KEYS[::-1]).derive(b"a"),
        base64.urlsafe_b64decode(KEYS[0]),
    ]
    assert len(set(derived)) == len(derived)
    assert cipher.derive(b"a") == Cipher(KEYS).derive(b"a")


@pytest.mark.parametrize("key", ["", "short", "é" * 43, "A" * 43, base64.b64encode(b"x" * 31).decode(), "=" * 44])
def test_a_bad_key_is_refused_by_its_position_and_never_shown(key: str) -> None:
    with pytest.raises(SyncValidationError) as caught:
        Cipher([KEYS[0], key])
    assert caught.value.code == "settings_key_invalid"
    assert "key 2" in caught.value.message
    assert not key or key not in str(caught.value)
    assert caught.value.__cause__ is None


def test_both_alphabets_of_base64_name_the_same_key() -> None:
    raw = b"\xff\xfe" * 16
    standard, url_safe = base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode()
    assert standard != url_safe
    assert Cipher([standard]).key_ids == Cipher([url_safe]).key_ids


def test_keys_do_not_show_in_their_own_representation() -> None:
    assert KEYS[0] not in repr(KEYS[0])


def test_without_a_key_the_error_says_how_to_make_one(tmp_path: Path) -> None:
    settings = load_settings({"AIRFLOW_HOME": str(tmp_path)})
    with pytest.raises(SyncValidationError, match="airflow-sync keys new") as caught:
        open_cipher(settings)
    assert caught.value.code == "settings_key_missing"
    assert list(tmp_path.iterdir()) == []


def test_a_demo_makes_one_private_key_and_keeps_it(tmp_path: Path) -> None:
    settings = load_settings({"AIRFLOW_HOME": str(tmp_path), "AIRFLOW__SYNC_PROVIDER__DEMO": "true"})
    with ThreadPoolExecutor(8) as pool:
        ids = set(pool.map(lambda _: open_cipher(settings).key_ids, range(16)))
    assert len(ids) == 1
    (file,) = (tmp_path / "sync").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert open_cipher(settings).key_ids in ids


def test_processes_that_start_a_demo_together_agree_on_its_key(tmp_path: Path) -> None:
    program = textwrap.dedent("""
        import sys
        from sync_provider.engine.crypto import open_cipher
        from sync_provider.engine.settings import load_settings
        settings = load_settings({"AIRFLOW_HOME": sys.argv[1], "AIRFLOW__SYNC_PROVIDER__DEMO": "true"})
        sys.stdin.readline()
        print(open_cipher(settings).key_ids)
    """)
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    answers = {process.communicate("\n", timeout=60)[0] for process in started}
    assert len(answers) == 1
    assert "(" in answers.pop()


def test_a_configured_key_comes_before_the_demos(tmp_path: Path) -> None:
    settings = load_settings({"AIRFLOW_HOME": str(tmp_path), "AIRFLOW__SYNC_PROVIDER__DEMO": "true"})
    assert open_cipher(replace(settings, encryption_keys=(KEYS[0],))).key_ids == Cipher([KEYS[0]]).key_ids
    assert list(tmp_path.iterdir()) == []
