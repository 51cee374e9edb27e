"""What testing an end of an integration found: how it is told, and what the program exits with."""

from __future__ import annotations

from collections.abc import Sequence

from sync_provider.cli.session import FAILED, FAILED_RETRY_MAY_HELP
from sync_provider.connectors.base import Probe


def probe_line(probe: Probe, bad: str = "FAILED") -> str:
    """One aspect, what was found, and how to mend it; ``bad`` is the word for what is not well."""
    hint = f". {probe.hint}" if probe.hint and not probe.ok else ""
    return f"{probe.aspect:<12} {'ok' if probe.ok else bad:<6}  {probe.detail.rstrip('.')}{hint}"


def probes_exit(probes: Sequence[Probe]) -> int:
    """0 if all is well; 3 if trying again may mend all that is not, else 4."""
    bad = [probe for probe in probes if not probe.ok]
    if not bad:
        return 0
    return FAILED_RETRY_MAY_HELP if all(probe.retryable for probe in bad) else FAILED
