"""Several processes on one account's quota: Google, as the sandbox plays it, refuses none of their requests."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from datetime import UTC, datetime

from sandbox_support import Client
from sync_provider.engine.clock import SystemClock
from sync_provider.engine.crypto import Cipher, new_key
from sync_provider.engine.ledger import Ledger
from sync_provider.sandbox.server import Sandbox

TIMES_FASTER = 10  # the sandbox's minute lasts six seconds
QUOTA = 10
PROCESSES = 3
REQUESTS = 12  # of each process: together two minutes and a bit

READER = """
    import json, sys
    from sync_provider.connectors.base import ConnectionInfo
    from sync_provider.connectors.sheets.credentials import google_credentials
    from sync_provider.connectors.sheets.api import SheetsApi
    from sync_provider.engine.budget import RequestBudget
    from sync_provider.engine.clock import SystemClock
    from sync_provider.engine.crypto import Cipher
    from sync_provider.engine.ledger import Ledger
    from sync_provider.engine.ledger.budgets import WAY_S, WINDOW_S

    given = json.loads(sys.argv[1])

    class Faster:
        def __init__(self, budgets):
            self.budgets = budgets

        def reserve(self, quotas, *, cost=1, longest_s):
            window_s = WINDOW_S / given["times_faster"] + WAY_S
            return self.budgets.reserve(quotas, cost=cost, longest_s=longest_s, window_s=window_s)

    info = ConnectionInfo(id="g", type="google_cloud_platform", extra={"keyfile_dict": given["key"]})
    with Ledger.open(given["url"], Cipher([given["cipher"]]), SystemClock()) as ledger:
        budget = RequestBudget(Faster(ledger.budgets), SystemClock(), lambda name: {name: given["quota"]}, 600.0)
        api = SheetsApi(
            given["book"], google_credentials(info, write=False), base_url=given["base_url"],
            clock=SystemClock(), budget=budget,
        )
        sys.stdin.readline()
        for _ in range(given["requests"]):
            api.book()
"""


def test_processes_that_share_a_budget_are_never_refused(tmp_path):
    start = datetime.now(UTC)
    faster = lambda: start + (datetime.now(UTC) - start) * TIMES_FASTER  # noqa: E731
    with Sandbox(tmp_path / "sandbox", clock=faster) as sandbox:
        client = Client(sandbox)
        book = client.create()
        client.control("PUT", "quotas", {"reads_per_user": QUOTA})
        client.control("DELETE", "requests")
        url, cipher = f"sqlite:///{tmp_path}/ledger.db", new_key()
        Ledger.open(url, Cipher([cipher]), SystemClock()).close()
        given = {
            "key": json.loads(sandbox.service_account_file.read_text()),
            "base_url": sandbox.base_url,
            "url": url,
            "cipher": cipher,
            "book": book,
            "quota": QUOTA,
            "requests": REQUESTS,
            "times_faster": TIMES_FASTER,
        }
        readers = [
            subprocess.Popen(
                [sys.executable, "-c", textwrap.dedent(READER), json.dumps(given)], stdin=subprocess.PIPE, text=True
            )
            for _ in range(PROCESSES)
        ]
        for reader in readers:
            reader.stdin.write("go\n")
            reader.stdin.flush()
        for reader in readers:
            reader.communicate(timeout=300)
            assert reader.returncode == 0
        log = [entry for entry in client.control("GET", "requests")["requests"] if entry["kind"] == "read"]
    assert len(log) == PROCESSES * REQUESTS
    assert [entry for entry in log if entry["status"] == 429] == []
    times = sorted(datetime.fromisoformat(entry["at"]) for entry in log)
    minutes = (times[-1] - times[0]).total_seconds() / 60
    print(f"{(len(log) - QUOTA) / minutes / QUOTA:.1%} of the allowed rate")  # noqa: T201 - a report, seen with -rP
