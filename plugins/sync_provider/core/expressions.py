"""What an expression may say: a walk over the syntax tree that DuckDB's `json_serialize_sql` gives. No I/O.

Everything is refused that is not known to be one scalar expression of one record: the node types, operators, types and
functions allowed are listed, and what each value may grow to is bounded (see `core.functions`).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sync_provider.core.errors import MappingError
from sync_provider.core.functions import FUNCTIONS, MAX_CONSTANT, MAX_FACTOR, REFUSED, Growth, largest, scaled, total

MAX_LENGTH = 4_000
MAX_BRACKETS = 200  # DuckDB's parser takes time cubic in brackets left open
MAX_DEPTH = 100
MAX_COST = 5_000

_SELECT: dict[str, Any] = {
    "type": "SELECT_NODE",
    "modifiers": [],
    "cte_map": {"map": []},
    "where_clause": None,
    "group_expressions": [],
    "group_sets": [],
    "aggregate_handling": "STANDARD_HANDLING",
    "having": None,
    "sample": None,
    "qualify": None,
}
_OPERATORS = frozenset(
    {
        "COMPARE_IN",
        "COMPARE_NOT_IN",
        "OPERATOR_NOT",
        "OPERATOR_IS_NULL",
        "OPERATOR_IS_NOT_NULL",
        "OPERATOR_COALESCE",
        "OPERATOR_TRY",
        "ARRAY_EXTRACT",
        "ARRAY_SLICE",
        "ARRAY_CONSTRUCTOR",
    }
)
_TYPES = frozenset(
    [
        "varchar",
        "text",
        "string",
        "char",
        "bpchar",
        "nvarchar",
        "boolean",
        "bool",
        "logical",
        "tinyint",
        "smallint",
        "short",
        "integer",
        "int",
        "int1",
        "int2",
        "int4",
        "int8",
        "signed",
        "bigint",
        "long",
        "hugeint",
        "utinyint",
        "usmallint",
        "uinteger",
        "ubigint",
        "decimal",
        "dec",
        "numeric",
        "double",
        "float",
        "float4",
        "float8",
        "real",
        "date",
        "time",
        "timestamp",
        "datetime",
        "timestamp_s",
        "timestamp_ms",
        "interval",
        "json",
    ]
)
_NO_ZONED_TYPES = ("timestamptz", "timestamp with time zone", "timetz", "time with time zone")
_LITERALS = frozenset({"INTEGER", "NUMERIC", "STRING", "BOOLEAN", "NULL_LITERAL"})
# SQL's functions without brackets.
_NO_COLUMNS = frozenset(
    {
        "current_catalog",
        "current_date",
        "current_role",
        "current_schema",
        "current_time",
        "current_timestamp",
        "current_user",
        "localtime",
        "localtimestamp",
        "session_user",
        "user",
    }
)
_CLASSES = {
    "SUBQUERY": "sub-queries look beyond the record",
    "WINDOW": "window functions look beyond the record",
    "STAR": "name one column instead of *",
    "LAMBDA": "functions within functions have no bound; for JSON write ->> instead of ->",
    "PARAMETER": "there are no parameters; write the value",
    "POSITIONAL_REFERENCE": "name the column",
    "DEFAULT": "there is no default",
    "COLLATE": "compare lower(…) or strip_accents(…) instead",
}


@dataclass(frozen=True, slots=True)
class Analysis:
    """What an accepted expression uses: column names as written, in order of appearance, and time zones."""

    columns: tuple[str, ...]
    zones: frozenset[str] = frozenset()


def check_text(text: str) -> None:
    """Refuse what must not even be parsed, because parsing it would take long.

    Raises:
        MappingError: the text is too long, too nested, or repeats itself when parsed.
    """
    if not text.strip():
        raise _refused("is empty", hint="Write an expression, or leave the key out.")
    if len(text.encode(errors="surrogatepass")) > MAX_LENGTH:
        raise _refused(f"is longer than {MAX_LENGTH} bytes", hint="Prepare the data in the source instead.")
    if "\0" in text or not _is_unicode(text):
        raise _refused("holds a character that is no text", hint="Remove it.")
    if sum(map(text.count, "([{")) > MAX_BRACKETS:
        raise _refused(f"holds more than {MAX_BRACKETS} brackets", hint="Split it into several fields.")
    # `CASE x WHEN …` is parsed into one copy of x for each WHEN: nested in x, copies multiply without end.
    in_operand = False
    words = _words(text)
    for word, following in zip(words, [*words[1:], "end"], strict=False):
        if word == "case" and in_operand:
            raise _refused("has a CASE inside the operand of another", hint="Write CASE WHEN … = … THEN.")
        if word == "case":
            in_operand = following != "when"
        elif word == "when":
            in_operand = False


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


_TOKEN = re.compile(
    r"""(?P<quoted>'(?:[^']|'')*'|"(?:[^"]|"")*")|(?P<word>\w+)|(?P<comment>--|/\*)|(?P<other>\s|[!-~])|(?P<odd>.)""",
    re.DOTALL,
)


def _words(text: str) -> list[str]:
    """Lower-case words and numbers outside quotes; what DuckDB might split differently is refused on the way."""
    words = []
    for token in _TOKEN.finditer(text):
        if token["comment"]:
            raise _refused("holds a comment", hint="Use the mapping's own comments (#).")
        if token["odd"] or token[0] == "$" or (token["other"] and not token[0].isascii()):
            raise _refused(f"holds {token[0]!r} outside quotes", hint="Put texts in '…' and column names in \"…\".")
        if token["word"]:
            word = token[0].lower()
            if word == "e" and text[token.end() : token.end() + 1] == "'":
                raise _refused("holds a text with escapes (E'…')", hint="Write the characters themselves, or chr(10).")
            words.append(word)
    return words


def analyse(tree: Any) -> Analysis:
    """Check a syntax tree, as `json_serialize_sql` gives it for ``SELECT (expression)``.

    Raises:
        MappingError: it is no expression that may run, with the reason and a way out.
    """
    if tree.get("error"):
        raise _refused(
            f"cannot be read: {_first_line(tree.get('error_message', ''))}", hint="Write one SQL expression."
        )
    statements = tree.get("statements", [])
    if len(statements) != 1:
        raise _refused("holds several statements", hint="Write one SQL expression.")
    node = statements[0].get("node", {})
    expressions = node.get("select_list") or []
    source = node.get("from_table") or {}
    plain = all(node.get(name) == value for name, value in _SELECT.items()) and source.get("type") == "EMPTY"
    if not plain or len(expressions) != 1 or statements[0].get("named_param_map"):
        raise _refused("is more than an expression", hint="Write no SELECT, FROM, WHERE, GROUP BY, ORDER BY or LIMIT.")
    walk = _Walk()
    _, cost = walk.visit(expressions[0], 1)
    if cost > MAX_COST:
        raise _refused("repeats itself too often once its functions are written out", hint="Nest fewer functions.")
    return Analysis(columns=tuple(walk.columns), zones=frozenset(walk.zones))


def _first_line(message: str) -> str:
    return message.strip().splitlines()[0][:200] if message.strip() else "it is no SQL"


def _refused(what: str, *, hint: str) -> MappingError:
    return MappingError(f"the expression {what}", hint=hint, code="expression_refused")


@dataclass(slots=True)
class _Walk:
    """Visits every node once; answers how large its value may be, and how many nodes it becomes when macros expand."""

    columns: dict[str, None] = field(default_factory=dict)
    zones: set[str] = field(default_factory=set)

    def visit(self, node: Any, depth: int) -> tuple[Growth, int]:
        if depth > MAX_DEPTH:
            raise _refused("is nested too deeply", hint="Split it into several fields.")
        if node.get("alias"):
            raise _refused(f"gives a name ({node['alias'][:40]})", hint="The field's destination is the name.")
        kind = node.get("class")
        visit = getattr(self, f"_{str(kind).lower()}", None)
        if visit is None:
            raise _refused("holds something that may not run", hint=_CLASSES.get(str(kind), "Write it in simpler SQL."))
        growth, cost = visit(node, depth + 1)
        if growth.factor > MAX_FACTOR or growth.constant > MAX_CONSTANT:
            raise _refused("could make a value far larger than its record", hint="Repeat, pad or replace less.")
        return growth, min(cost, MAX_COST + 1)

    def _all(self, nodes: Iterable[Any], depth: int) -> tuple[list[Growth], int]:
        visited = [self.visit(node, depth) for node in nodes]
        return [growth for growth, _ in visited], sum(cost for _, cost in visited)

    def _constant(self, node: Any, _depth: int) -> tuple[Growth, int]:
        if node["literal"]["kind"] not in _LITERALS:
            raise _refused("holds a literal of bytes or of an unknown kind", hint="Write a text or a number.")
        return Growth(0, len(node["literal"]["text"].encode())), 1

    def _column_ref(self, node: Any, _depth: int) -> tuple[Growth, int]:
        names = node["column_names"]
        if len(names) != 1:
            dotted = ".".join(names)[:80]
            raise _refused(f"names {dotted}", hint=f'Write "{dotted}" in double quotes if the column is called so.')
        self.columns.setdefault(names[0])
        return Growth(1, 0), 1

    def _comparison(self, node: Any, depth: int) -> tuple[Growth, int]:
        _, cost = self._all((node["left"], node["right"]), depth)
        return total(()), cost + 1

    def _conjunction(self, node: Any, depth: int) -> tuple[Growth, int]:
        _, cost = self._all(node["children"], depth)
        return total(()), cost + 1

    def _between(self, node: Any, depth: int) -> tuple[Growth, int]:
        _, cost = self._all((node["input"], node["lower"], node["upper"]), depth)
        return total(()), cost + 1

    def _operator(self, node: Any, depth: int) -> tuple[Growth, int]:
        if node["type"] not in _OPERATORS:
            raise _refused("holds an operator that may not run", hint="Write it in simpler SQL.")
        growths, cost = self._all(node["children"], depth)
        many = node["type"] == "ARRAY_CONSTRUCTOR"
        return (total(growths) if many else largest(growths)), cost + 1

    def _case(self, node: Any, depth: int) -> tuple[Growth, int]:
        checks = node["case_checks"]
        _, asked = self._all((check["when_expr"] for check in checks), depth)
        growths, given = self._all([*(check["then_expr"] for check in checks), node["else_expr"]], depth)
        return largest(growths), asked + given + 1

    def _cast(self, node: Any, depth: int) -> tuple[Growth, int]:
        _check_type(node["type_expr"])
        growth, cost = self.visit(node["child"], depth)
        return scaled(growth, 1), cost + 1

    def _function(self, node: Any, depth: int) -> tuple[Growth, int]:
        name = node["function_name"].lower()
        if node["schema"] or node["catalog"]:
            raise _refused(f"calls {name} on something", hint=f"Write {name}(…) with its arguments in brackets.")
        if node["distinct"] or node["filter"] or node["order_bys"]["orders"]:
            raise _refused(f"calls {name} as if over many records", hint="An expression sees one record.")
        function = FUNCTIONS.get(name)
        if function is None:
            raise _unknown_function(name)
        arguments = [argument["expression"] for argument in node["arguments"]]
        if any(argument["name"] for argument in node["arguments"]):
            raise _refused(f"names an argument of {name}", hint="Give arguments by position.")
        fewest, most = function.arguments
        if not fewest <= len(arguments) <= most:
            expected = str(fewest) if fewest == most else f"{fewest} to {most}"
            raise _refused(f"calls {name} with {len(arguments)} arguments", hint=f"It takes {expected}.")
        literals = [_literal(argument) for argument in arguments]
        for position, check in function.literals.items():
            if position >= len(arguments):
                continue
            text = literals[position]
            reason = "must be written out as a literal" if text is None else check(text, literals)
            if reason:
                raise _refused(f"calls {name}, whose argument {position + 1} {reason}", hint="See docs/expressions.md.")
        if name == "parse_timestamp" and len(arguments) == 3:
            self.zones.add(str(literals[2]))
        growths, cost = self._all(arguments, depth)
        return function.growth(growths, literals), function.copies * cost + 1


def _literal(node: Any) -> str | None:
    if node.get("class") != "CONSTANT" or node["literal"]["kind"] not in ("STRING", "INTEGER"):
        return None
    return str(node["literal"]["text"])


def _check_type(node: Any) -> None:
    name = str(node.get("type_name", "")).lower()
    if name in _NO_ZONED_TYPES:
        raise _refused(
            f"casts to {name}, which shifts times that clocks skip or show twice",
            hint="Cast to TIMESTAMP (taken in the mapping's timezone), or use parse_timestamp(text, format, zone).",
        )
    simple = all(child.get("class") == "CONSTANT" for child in node.get("children", ()))
    if node.get("class") != "TYPE" or node.get("schema") or node.get("catalog") or name not in _TYPES or not simple:
        raise _refused(
            f"casts to {name[:40] or 'something'}", hint="Cast to VARCHAR, a number, BOOLEAN, DATE or TIMESTAMP."
        )


def _unknown_function(name: str) -> MappingError:
    if reason := REFUSED.get(name):
        return _refused(f"calls {name}: {reason}", hint="See docs/expressions.md for the functions there are.")
    near = difflib.get_close_matches(name, FUNCTIONS, n=1)
    hint = f"Did you mean {near[0]}?" if near else "See docs/expressions.md for the functions there are."
    return _refused(f"calls {name[:40]}, which is not among the functions allowed", hint=hint)


def resolve(names: Iterable[str], known: Iterable[str], *, open_names: bool) -> dict[str, str]:
    """Which column each name written in an expression means; case decides only where two columns differ by nothing else.

    Args:
        names: column names as written.
        known: names there are.
        open_names: other names may exist too, and mean themselves.

    Raises:
        MappingError: there is no such column, or several.
    """
    known = list(known)
    found: dict[str, str] = {}
    for name in names:
        candidates = [name] if name in known else [column for column in known if column.lower() == name.lower()]
        if not candidates and open_names and name.lower() not in _NO_COLUMNS:
            candidates = [name]
        if len(candidates) > 1:
            raise _refused(f"names {name}, which could be {' or '.join(candidates)}", hint="Write its case exactly.")
        if not candidates:
            raise _unknown_column(name, known)
        clash = next(
            (other for other in found if other.lower() == name.lower() and found[other] != candidates[0]), None
        )
        if clash:
            raise _refused(
                f"names {clash} and {name}, which SQL takes for the same", hint="Rename one of them in the source."
            )
        found[name] = candidates[0]
    return found


def _unknown_column(name: str, known: list[str]) -> MappingError:
    if name.lower() in _NO_COLUMNS:
        return _refused(f"uses {name}: {REFUSED[name.lower()]}", hint="Use a column of the record.")
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"Did you mean {near[0]}?" if near else f"There are {', '.join(known[:20])}."
    return MappingError(f"the expression names {name[:80]!r}, which is no column", hint=hint, code="expression_column")
