"""`sync_provider.testing`: the fixture that users' own tests stand on, and the example that its page shows."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sync_provider.core.errors import SyncDataError
from sync_provider.core.report import Counters
from sync_provider.testing import SyncWorkspace

ROOT = Path(__file__).parents[2]
MAPPING = """\
version: 1
id: shop
mode: export
source: {type: sql, connection: boutique, table: products}
destination: {type: csv, connection: sorties, path: out/products.csv}
key: [ref]
fields:
  - {source: ref, destination: ref}
  - {source: stock, destination: stock, type: integer}
write: replace
"""


def test_the_example_of_the_documentation_passes(
    sync_workspace: SyncWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "testing.md").read_text("utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, "docs/testing.md", "exec"), names)
    examples: list[Callable[[SyncWorkspace], None]] = [each for name, each in names.items() if name.startswith("test_")]
    assert len(examples) == 1
    examples[0](sync_workspace)
    names["use_postgres"](sync_workspace)
    assert sync_workspace.connections["entrepot"].type == "postgres"


def test_connections_are_made_as_a_mapping_needs_them(sync_workspace: SyncWorkspace) -> None:
    (sync_workspace.mappings / "shop.yaml").write_text(MAPPING, encoding="utf-8")
    sync_workspace.execute("boutique", "CREATE TABLE products (ref TEXT, stock INTEGER)")
    sync_workspace.execute("boutique", "INSERT INTO products VALUES (?, ?)", "R1", 3)
    result = sync_workspace.run("shop")
    assert (result.state, result.counters) == ("succeeded", Counters(read=1, inserted=1))
    assert (sync_workspace.files / "out" / "products.csv").read_text("utf-8") == "ref,stock\nR1,3\n"


def test_a_two_way_run_tells_both_sides_and_its_conflicts(sync_workspace: SyncWorkspace) -> None:
    two_way = MAPPING.replace("mode: export", "mode: bidirectional").replace("write: replace\n", "")
    (sync_workspace.mappings / "shop.yaml").write_text(two_way, encoding="utf-8")
    sync_workspace.execute("boutique", "CREATE TABLE products (ref TEXT, stock INTEGER)")
    sync_workspace.execute("boutique", "INSERT INTO products VALUES (?, ?)", "R1", 3)
    assert sync_workspace.run("shop").sides["destination"].inserted == 1
    sync_workspace.execute("boutique", "UPDATE products SET stock = 4")
    sync_workspace.add_file("out/products.csv", "ref,stock\nR1,5\n")
    result = sync_workspace.run("shop")
    assert (result.counters.conflict, result.sides["source"].conflict, result.sides["source"].updated) == (2, 1, 0)
    (recorded,) = result.conflicts
    assert (recorded.conflict.key, recorded.conflict.source, recorded.conflict.destination) == ("R1", "4", "5")


def test_what_fails_in_airflow_fails_in_the_test(sync_workspace: SyncWorkspace) -> None:
    (sync_workspace.mappings / "shop.yaml").write_text(MAPPING, encoding="utf-8")
    with pytest.raises(SyncDataError, match="there is no table products"):
        sync_workspace.run("shop")


def test_pytest_knows_the_fixture_and_pays_nothing_for_it() -> None:
    code = """
import importlib.metadata, sys
import pytest
(entry,) = importlib.metadata.entry_points(group="pytest11", name="sync_provider")
assert entry.load().sync_workspace
heavy = {"pandas", "numpy", "great_expectations", "pyarrow", "duckdb", "sqlalchemy", "pydantic", "airflow", "yaml"}
print(*sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
