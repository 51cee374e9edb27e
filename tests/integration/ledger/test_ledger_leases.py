"""Leases: one live writer, whoever is paused, killed or late."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sync_provider.core.errors import SyncConnectionError, SyncDataError
from sync_provider.engine.clock import SystemClock
from sync_provider.engine.ledger import Ledger

TTL = timedelta(minutes=2)


def ours(ledger, lease) -> bool:
    try:
        ledger.leases.check(lease)
    except SyncDataError:
        return False
    return True


def test_a_second_writer_is_refused_with_the_run_and_the_time(ledger, clock):
    ledger.leases.acquire("sql:app:clients", "RUN-1", TTL)
    clock.sleep(30)
    with pytest.raises(SyncConnectionError) as caught:
        ledger.leases.acquire("sql:app:clients", "RUN-2", TTL)
    error = caught.value
    assert (error.code, error.retryable, error.retry_after_s) == ("lease_held", True, 90)
    assert "Run RUN-1" in str(error)
    assert "00:32:00 UTC" in str(error)
    assert ledger.leases.acquire("sql:app:orders", "RUN-2", TTL).number == 1


def test_numbers_only_grow_over_release_expiry_and_return(ledger, clock):
    first = ledger.leases.acquire("r", "A", TTL)
    assert ledger.leases.release(first)
    assert not ledger.leases.release(first)
    second = ledger.leases.acquire("r", "B", TTL)
    clock.sleep(121)
    third = ledger.leases.acquire("r", "C", TTL)
    again = ledger.leases.acquire("r", "C", TTL)
    assert [lease.number for lease in (first, second, third, again)] == [1, 2, 3, 4]
    assert [ours(ledger, lease) for lease in (first, second, third, again)] == [False, False, False, True]


def test_a_late_release_does_not_free_the_successors_lease(ledger, clock):
    late = ledger.leases.acquire("r", "A", TTL)
    clock.sleep(121)
    current = ledger.leases.acquire("r", "B", TTL)
    assert not ledger.leases.release(late)
    assert ours(ledger, current)
    with pytest.raises(SyncDataError):
        ledger.leases.renew(late, TTL)


def test_renewing_keeps_a_lease_and_an_expired_one_cannot_be_renewed(ledger, clock):
    lease = ledger.leases.acquire("r", "A", TTL)
    clock.sleep(100)
    lease = ledger.leases.renew(lease, TTL)
    clock.sleep(100)
    assert ours(ledger, lease)
    assert ledger.leases.held() == [lease]
    clock.sleep(21)
    assert not ours(ledger, lease)
    assert ledger.leases.held() == []
    with pytest.raises(SyncDataError) as caught:
        ledger.leases.renew(lease, TTL)
    assert caught.value.code == "lease_lost"


_steps = st.lists(
    st.tuples(st.sampled_from(["acquire", "release", "renew", "wait"]), st.integers(0, 2), st.integers(1, 150)),
    max_size=30,
)


@settings(max_examples=settings.default.max_examples // 2, suppress_health_check=list(HealthCheck))
@given(steps=_steps, resource=st.uuids())
def test_at_most_one_holder_can_write_under_any_interleaving(ledger, clock, steps, resource):
    leases: dict[int, list] = {0: [], 1: [], 2: []}
    highest = 0
    for what, who, seconds in steps:
        try:
            if what == "acquire":
                lease = ledger.leases.acquire(str(resource), f"RUN-{who}", TTL)
                assert lease.number > highest
                highest = lease.number
                leases[who].append(lease)
            elif what == "wait":
                clock.sleep(seconds)
            elif leases[who]:
                if what == "release":
                    ledger.leases.release(leases[who][-1])
                else:
                    leases[who][-1] = ledger.leases.renew(leases[who][-1], TTL)
        except (SyncConnectionError, SyncDataError):
            pass
        writers = [lease for mine in leases.values() for lease in mine if ours(ledger, lease)]
        assert len(writers) <= 1
        assert all(lease.number == highest for lease in writers)


class WrongClock(SystemClock):
    def now(self) -> datetime:
        return datetime(2001, 1, 1, tzinfo=UTC)


@pytest.mark.postgres
def test_a_workers_wrong_clock_does_not_decide_on_postgresql(postgres_url, cipher):
    with (
        Ledger.open(postgres_url, cipher, SystemClock()) as right,
        Ledger.open(postgres_url, cipher, WrongClock()) as off,
    ):
        lease = right.leases.acquire("r", "A", TTL)
        with pytest.raises(SyncConnectionError):
            off.leases.acquire("r", "B", TTL)
        assert ours(off, lease)
        off.leases.release(lease)
        assert ours(right, off.leases.acquire("r", "B", TTL))


WRITER = """
    import sys
    from datetime import timedelta
    from pathlib import Path
    from sync_provider.core.errors import SyncConnectionError
    from sync_provider.engine.clock import SystemClock
    from sync_provider.engine.crypto import Cipher
    from sync_provider.engine.ledger import Ledger

    url, key, counter, me = sys.argv[1:]
    counter = Path(counter)
    with Ledger.open(url, Cipher([key]), SystemClock()) as ledger:
        done = 0
        while done < 15:
            try:
                lease = ledger.leases.acquire("r", me, timedelta(minutes=1))
            except SyncConnectionError:
                continue
            value = int(counter.read_text())
            ledger.leases.check(lease)
            counter.write_text(str(value + 1))
            ledger.leases.release(lease)
            done += 1
"""


def spawn(program: str, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_processes_that_race_for_a_lease_never_write_at_once(url, tmp_path):
    from sync_provider.engine.crypto import new_key

    counter = tmp_path / "counter"
    counter.write_text("0")
    key = new_key()
    writers = [spawn(WRITER, url, key, str(counter), f"RUN-{n}") for n in range(3)]
    for writer in writers:
        writer.communicate(timeout=120)
        assert writer.returncode == 0
    assert counter.read_text() == "45"


PAUSED = """
    import sys
    from datetime import timedelta
    from sync_provider.core.errors import SyncDataError
    from sync_provider.engine.clock import SystemClock
    from sync_provider.engine.crypto import Cipher
    from sync_provider.engine.ledger import Ledger

    with Ledger.open(sys.argv[1], Cipher([sys.argv[2]]), SystemClock()) as ledger:
        lease = ledger.leases.acquire("r", "PAUSED", timedelta(milliseconds=300))
        print("held", flush=True)
        sys.stdin.readline()
        try:
            ledger.leases.check(lease)
        except SyncDataError as error:
            print(error.code, ledger.leases.release(lease), flush=True)
        else:
            print("wrote", flush=True)
"""


def test_a_holder_paused_past_its_expiry_stops_before_it_writes(url, cipher):
    from sync_provider.engine.crypto import new_key

    paused = spawn(PAUSED, url, new_key())
    try:
        assert paused.stdout.readline() == "held\n"
        os.kill(paused.pid, signal.SIGSTOP)
        clock = SystemClock()
        with Ledger.open(url, cipher, clock) as ledger:
            while True:
                try:
                    lease = ledger.leases.acquire("r", "NEXT", TTL)
                    break
                except SyncConnectionError as error:
                    clock.sleep(error.retry_after_s)
            os.kill(paused.pid, signal.SIGCONT)
            answer, _ = paused.communicate("go\n", timeout=60)
            assert answer == "lease_lost False\n"
            assert ours(ledger, lease)
            assert lease.number == 2
    finally:
        paused.kill()
        paused.wait()


def test_the_lease_of_a_killed_process_is_free_again_for_its_own_retry_at_once(url, cipher):
    from sync_provider.engine.crypto import new_key

    killed = spawn(PAUSED.replace("milliseconds=300", "hours=1"), url, new_key())
    assert killed.stdout.readline() == "held\n"
    killed.kill()
    killed.communicate()
    with Ledger.open(url, cipher, SystemClock()) as ledger:
        with pytest.raises(SyncConnectionError):
            ledger.leases.acquire("r", "OTHER", TTL)
        assert ledger.leases.acquire("r", "PAUSED", TTL).number == 2
