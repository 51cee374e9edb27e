"""Runs benchmarks: each candidate in a process of its own, candidates interleaved, outputs compared, ratios computed.

*Wall* is from the start of a candidate's process to its result, imports included; *work* from data in hand to result; *peak* is
the greatest resident memory of its process up to the result, or of a program it ran, where that is more; *above* is the peak beyond
what was resident when the work began. Only ratios within one benchmark mean anything. Nothing here imports more than the standard library: a peer may live in another environment.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve().parent
Measure = str  # one of MEASURES, or what a candidate counts itself
MEASURES = ("work_s", "wall_s", "peak_mb", "before_mb", "above_mb")


@dataclass(slots=True)
class Job:
    """What one run of one candidate is given.

    Args:
        data: what `prepare` made; shared, read only.
        out: an empty folder for the result.
        rows: size asked for.
        since_s: `time.monotonic()` when the process was started.
    """

    data: Path
    out: Path
    rows: int
    since_s: float = field(default_factory=time.monotonic)
    measured: dict[str, float] = field(default_factory=lambda: {"work_s": 0.0})

    @contextmanager
    def work(self) -> Iterator[None]:
        """Surrounds what is timed; several blocks add up. What follows the last one is not measured."""
        before_mb = self.measured.setdefault("before_mb", resident_mb())
        started_s = time.perf_counter()
        yield
        self.measured["work_s"] += time.perf_counter() - started_s
        self.measured["wall_s"] = time.monotonic() - self.since_s
        self.measured["peak_mb"] = peak_mb()
        self.measured["above_mb"] = max(0.0, self.measured["peak_mb"] - before_mb)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to do it.

    Args:
        run: does it within `Job.work`, and leaves its result in `Job.out`.
        ours: false for a peer.
        missing: why it cannot run here; None if it can.
        python: interpreter to run it with, if not ours.
    """

    name: str
    run: Callable[[Job], None]
    ours: bool = False
    missing: Callable[[], str | None] = lambda: None
    python: str = sys.executable


@dataclass(frozen=True, slots=True)
class Goal:
    """What one of our candidates is to reach: ``measure`` at most ``at_most`` times that of a peer.

    Args:
        text: as the documents say it.
        against: name of the peer; None: the fastest peer (or the least memory).
        absolute: ``at_most`` is the limit itself, in the measure's unit.
        candidate: which of ours; None: the first.
    """

    text: str
    at_most: float
    measure: Measure = "work_s"
    against: str | None = None
    absolute: bool = False
    candidate: str | None = None


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Candidates that do the same with the same data.

    Args:
        name: as `--only` takes it.
        prepare: makes the data in an empty folder, not timed.
        fingerprint: reads a candidate's result back from (data, out); equal results give equal texts. None: nothing to compare.
        server: starts what candidates need (a database) and gives environment variables for them; None where it is missing.
        scale: rows of this benchmark for each row asked for.
        unit: what its rows are.
    """

    name: str
    title: str
    prepare: Callable[[Path, int], None]
    candidates: Sequence[Candidate]
    goals: Sequence[Goal] = ()
    fingerprint: Callable[[str, Path, Path], str] | None = None
    server: Callable[[], Any] | None = None
    scale: float = 1.0
    unit: str = "rows"


def peak_mb() -> float:
    """Peak resident memory in MB (10⁶ bytes) of this process, or of the largest program it has run."""
    return max(_status_mb("VmHWM"), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6)


def resident_mb() -> float:
    """Resident memory of this process in MB (10⁶ bytes)."""
    return _status_mb("VmRSS")


def _status_mb(name: str) -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    kib = next(int(line.split()[1]) for line in status.splitlines() if line.startswith(f"{name}:"))
    return kib * 1024 / 1e6


def load(name: str) -> Benchmark:
    """The benchmark of that name, from ``bench_<module>.py``: modules name theirs in ``BENCHMARKS``."""
    for path in sorted(HERE.glob("bench_*.py")):
        module = importlib.import_module(f"bench.{path.stem}")
        for benchmark in getattr(module, "BENCHMARKS", ()):
            if benchmark.name == name:
                return benchmark
    raise SystemExit(f"no benchmark {name}")


def names() -> list[str]:
    """All benchmarks, in the order of the documents."""
    found = []
    for path in sorted(HERE.glob("bench_*.py")):
        module = importlib.import_module(f"bench.{path.stem}")
        found += [(getattr(module, "ORDER", 99), i, b.name) for i, b in enumerate(getattr(module, "BENCHMARKS", ()))]
    return [name for _, _, name in sorted(found)]


def child(argv: Sequence[str]) -> None:
    """What a candidate's process does: run it, and write what was measured as JSON."""
    name, candidate_name, data, out, rows, since, report = argv
    job = Job(Path(data), Path(out), int(rows), float(since))
    candidate = next(c for c in load(name).candidates if c.name == candidate_name)
    candidate.run(job)
    Path(report).write_text(json.dumps(job.measured), encoding="utf-8")


def run(benchmark: Benchmark, *, rows: int, runs: int, say: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Run a benchmark: its candidates in turn, `runs` times over.

    Args:
        benchmark: which; its server is running.
        rows: size asked for; the benchmark's own scale applies.
        runs: ≥ 1; medians are taken.
        say: told what goes on.

    Returns:
        name, title, rows, unit, runs, goals, skipped (name → why) and candidates (name → medians, all runs, ratio, same).
    """
    rows = max(1, int(rows * benchmark.scale))
    skipped: dict[str, str] = {}
    wanted = []
    for candidate in benchmark.candidates:
        if why := candidate.missing():
            skipped[candidate.name] = why
        else:
            wanted.append(candidate)
    with tempfile.TemporaryDirectory(prefix="sync-bench-") as folder:
        data = Path(folder) / "data"
        data.mkdir()
        say(f"{benchmark.name}: preparing {rows:,} {benchmark.unit}")
        benchmark.prepare(data, rows)
        samples: dict[str, list[dict[str, float]]] = {c.name: [] for c in wanted}
        prints: dict[str, str] = {}
        for number in range(runs):
            for candidate in wanted:
                if candidate.name in skipped:
                    continue
                say(f"{benchmark.name}: {candidate.name}, {number + 1} of {runs}")
                out = Path(folder) / "out"
                shutil.rmtree(out, ignore_errors=True)
                out.mkdir()
                outcome = _spawn(benchmark, candidate, data, out, rows)
                if isinstance(outcome, str):
                    skipped[candidate.name] = outcome
                    continue
                samples[candidate.name].append(outcome)
                if number == 0 and benchmark.fingerprint is not None:
                    prints[candidate.name] = benchmark.fingerprint(candidate.name, data, out)
    ours = {c.name for c in wanted if c.ours}
    results = summarize({name: each for name, each in samples.items() if each}, ours, prints)
    goals = [judge(goal, results) for goal in benchmark.goals]
    return {
        "name": benchmark.name,
        "title": benchmark.title,
        "rows": rows,
        "unit": benchmark.unit,
        "runs": runs,
        "candidates": results,
        "skipped": skipped,
        "goals": [goal for goal in goals if goal is not None],
    }


def _spawn(benchmark: Benchmark, candidate: Candidate, data: Path, out: Path, rows: int) -> dict[str, float] | str:
    """Run a candidate once: what it measured, or the last line it said before it failed."""
    report = out.parent / "report.json"
    report.unlink(missing_ok=True)
    command = [candidate.python, str(HERE / "run.py"), "--child", benchmark.name, candidate.name, str(data), str(out)]
    command += [str(rows), str(time.monotonic()), str(report)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
    if done.returncode != 0 or not report.exists():
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return f"failed: {said[-1][:200]}"
    measured: dict[str, float] = json.loads(report.read_text(encoding="utf-8"))
    return measured


def summarize(
    samples: dict[str, list[dict[str, float]]], ours: set[str], prints: dict[str, str]
) -> dict[str, dict[str, Any]]:
    """Medians per candidate, the ratio of work to the fastest peer's, and whether the output equals ours.

    ``same`` is None for what was not compared. Without a peer, ratios are to the fastest of ours.
    """
    medians = {
        name: {measure: median(run[measure] for run in runs) for measure in runs[0]} for name, runs in samples.items()
    }
    peers = [name for name in medians if name not in ours] or list(medians)
    fastest_s = min((medians[name]["work_s"] for name in peers), default=0.0)
    reference = next((prints[name] for name in medians if name in ours and name in prints), None)
    return {
        name: {
            **values,
            "ratio": values["work_s"] / fastest_s if fastest_s else None,
            "ours": name in ours,
            "same": None if reference is None or name not in prints else prints[name] == reference,
            "runs": samples[name],
        }
        for name, values in medians.items()
    }


def judge(goal: Goal, results: dict[str, dict[str, Any]]) -> dict[str, Any] | None:
    """A goal beside what was measured; None where a side of it did not run."""
    mine = [name for name, each in results.items() if each["ours"]]
    name = goal.candidate or (mine[0] if mine else None)
    if name not in results:
        return None
    value = results[name][goal.measure]
    if not goal.absolute:
        peers = {n: each for n, each in results.items() if not each["ours"]}
        if goal.against is not None:
            peers = {n: each for n, each in peers.items() if n == goal.against}
        if not peers:
            return None
        value /= min(each[goal.measure] for each in peers.values())
    return {"text": goal.text, "at_most": goal.at_most, "measured": value, "met": value <= goal.at_most}


def table(result: dict[str, Any]) -> str:
    """A result as a Markdown table, goals and what was skipped below it."""
    known = {*MEASURES, "ratio", "ours", "same", "runs"}
    counts = list(dict.fromkeys(name for each in result["candidates"].values() for name in each if name not in known))
    lines = [
        f"### {result['title']} ({result['rows']:,} {result['unit']}, median of {result['runs']})",
        "",
        f"| | work s | wall s | ratio | peak MB |{''.join(f' {name} |' for name in counts)} output |",
        f"|---|--:|--:|--:|--:|{'--:|' * len(counts)}---|",
    ]
    for name, each in sorted(result["candidates"].items(), key=lambda item: item[1]["work_s"]):
        shown = f"**{name}**" if each["ours"] else name
        ratio = f"{each['ratio']:.2f}" if each["ratio"] is not None else ""
        output = {True: "same", False: "differs", None: "not compared"}[each["same"]]
        lines.append(
            f"| {shown} | {each['work_s']:.3f} | {each['wall_s']:.2f} | {ratio} | {each['peak_mb']:.0f} |"
            f"{''.join(f' {each[name]:.4g} |' for name in counts)} {output} |"
        )
    lines.append("")
    for goal in result["goals"]:
        verdict = "met" if goal["met"] else "**not met**"
        lines.append(
            f"- Goal: {goal['text']}. Measured {goal['measured']:.2f}, at most {goal['at_most']:g}: {verdict}."
        )
    lines += [f"- Left out: {name}: {why}" for name, why in result["skipped"].items()]
    return "\n".join(lines)
