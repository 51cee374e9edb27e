"""The Data Docs page of one run: every rule and its outcome, no record value, no outside asset."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from sync_provider.core.expectations import columns_of
from sync_provider.core.mapping import Mapping

if TYPE_CHECKING:
    from sync_provider.engine.quality import Verdict

_STYLE = """
:root { color-scheme: light dark; --ink: #1f2a37; --paper: #f6f8fa; --card: #fff; --line: #d5dce4; --soft: #5b6b7c;
  --ok: #1f7a4d; --bad: #b3261e; --warn: #8a5a00; --accent: #1f4e8c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e9ef; --paper: #12181f; --card: #1b232d; --line: #34404d;
  --soft: #9fb0c1; --ok: #5fd39a; --bad: #ff8a80; --warn: #f0c36d; --accent: #8ab8f5; } }
body { margin: 0; padding: 2rem; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1100px; margin: 0 auto; }
h1 { font-size: 1.4rem; margin: 0 0 .25rem; } h1 code { color: var(--accent); }
p { margin: 0 0 1.25rem; color: var(--soft); }
table { width: 100%; border-collapse: collapse; background: var(--card); border: 1px solid var(--line); }
th, td { padding: .5rem .75rem; text-align: left; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; color: var(--soft); } td.n { text-align: right; font-variant-numeric: tabular-nums; }
.ok { color: var(--ok); } .bad { color: var(--bad); } .warn { color: var(--warn); }
"""

_SEVERITY = {"critical": "critique", "warning": "avertissement", "info": "information"}
# Measured values that are no record's own; a minimum or a most common value would be.
_SHOWN = ("row_count", "unique_value_count", "proportion", "mean", "stdev", "sum_to_be")


def render(mapping: Mapping, verdicts: list[Verdict], *, rows: int, rejected: int) -> str:
    """One self-contained HTML page, in French.

    Args:
        mapping: the integration.
        verdicts: one per rule, in order.
        rows: records judged.
        rejected: records that validation refused.
    """
    failed = sum(not verdict.success for verdict in verdicts)
    lines = "\n".join(_line(verdict) for verdict in verdicts)
    return (
        f'<!doctype html>\n<html lang="fr"><head><meta charset="utf-8"><title>Validation · {escape(mapping.id)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body><main>'
        f"<h1>Validation de <code>{escape(mapping.id)}</code></h1>"
        f"<p>{rows} enregistrements contrôlés, {rejected} refusés ; {len(verdicts)} règles, {failed} non respectées. "
        "Cette page ne contient aucune valeur d’enregistrement.</p>"
        "<table><thead><tr><th>Règle</th><th>Champs</th><th>Arguments</th><th>Gravité</th><th>Résultat</th>"
        f"<th>Contrôlés</th><th>En échec</th></tr></thead><tbody>{lines}</tbody></table></main></body></html>\n"
    )


def _line(verdict: Verdict) -> str:
    expectation = verdict.expectation
    arguments = ", ".join(f"{k} = {v!r}" for k, v in expectation.kwargs.items() if not k.startswith("column"))
    if verdict.error is not None:
        outcome, style = f"non évaluée : {verdict.error}", "bad"
    elif verdict.success:
        outcome, style = "respectée", "ok"
    else:
        outcome, style = "non respectée", "bad" if expectation.severity == "critical" else "warn"
    if observed := observed_text(verdict):
        outcome += f" (observé : {observed})"
    origin = " (clé)" if verdict.derived else ""
    return (
        f"<tr><td><code>{escape(expectation.type)}</code>{origin}</td><td>{escape(', '.join(columns_of(expectation)))}</td>"
        f"<td>{escape(arguments)}</td><td>{_SEVERITY[expectation.severity]}</td><td class={style}>{escape(outcome)}</td>"
        f'<td class="n">{verdict.elements}</td><td class="n">{len(verdict.rows)}</td></tr>'
    )


def observed_text(verdict: Verdict) -> str:
    """What a batch rule measured, unless that would show a record's value."""
    shown = verdict.observed is not None and any(part in verdict.expectation.type for part in _SHOWN)
    return str(verdict.observed) if shown else ""
