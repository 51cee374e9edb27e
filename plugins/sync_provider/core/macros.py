"""The functions that we add to DuckDB's own, as their definitions. No I/O.

Each fails on a text it cannot read, which refuses the record (`error()` cannot serve: DuckDB takes it for volatile and its
`TRY` refuses volatile functions; a cast that must fail does). Null stays null, and an empty or blank text becomes null.
"""

from __future__ import annotations

from dataclasses import dataclass

_SPACES = r"\s\x{00a0}\x{2000}-\x{200a}\x{202f}\x{3000}"
_BLANK = f"regexp_full_match(x, '[{_SPACES}]*')"

NUMBER_STYLES = {
    "fr": (r"[ \x{00a0}\x{2009}\x{202f}]", ","),
    "en": ("[,]", "[.]"),
    "de": ("[.]", ","),
    "ch": ("['’]", "[.]"),
}
"""Name → patterns of the mark between groups of three digits, and of the decimal mark."""


@dataclass(frozen=True, slots=True)
class Macro:
    """One macro.

    Args:
        signature: as documented.
        about: one sentence.
        example: an expression, and what it gives as text.
        definitions: parameters and body, one per number of arguments.
        copies: how often the most repeated parameter stands in a body.
    """

    signature: str
    about: str
    example: tuple[str, str]
    definitions: tuple[tuple[str, str], ...]
    copies: int

    def sql(self, name: str) -> str:
        """The statement that defines the macro."""
        bodies = ", ".join(f"({parameters}) AS ({body})" for parameters, body in self.definitions)
        return f"CREATE MACRO {name} {bodies}"


def _fail(what: str, type_: str) -> str:
    return f"CAST('no {what}: ' || x AS {type_})"


def _number() -> str:
    cases = " ".join(
        f"WHEN '{style}' THEN '[+-]?([0-9]+|[1-9][0-9]{{0,2}}({mark.replace(chr(39), chr(39) * 2)}[0-9]{{3}})+)({point}[0-9]{{1,10}}0*)?'"
        for style, (mark, point) in NUMBER_STYLES.items()
    )
    text = f"regexp_replace(x, '^[{_SPACES}]+|[{_SPACES}]+$', '', 'g')"
    kept = "CASE style WHEN 'en' THEN '[^0-9.+-]' WHEN 'ch' THEN '[^0-9.+-]' ELSE '[^0-9,+-]' END"
    return (
        f"CASE WHEN {_BLANK} THEN NULL "
        f"WHEN regexp_full_match({text}, CASE style {cases} END) "
        f"THEN CAST(replace(regexp_replace(x, {kept}, '', 'g'), ',', '.') AS DECIMAL(38,10)) "
        f"ELSE {_fail('number', 'DECIMAL(38,10)')} END"
    )


# A year of one to three digits is what %Y makes of "24": no date of this project's users, and never what the text meant.
_CHECKED_TIME = f"CASE WHEN {_BLANK} THEN NULL WHEN year(strptime(x, format)) < 1000 THEN {_fail('date', 'TIMESTAMP')} ELSE strptime(x, format) END"
_TEXT_TIME = f"CASE WHEN {_BLANK} THEN NULL WHEN year(strptime(x, format)) < 1000 THEN {_fail('date', 'TIMESTAMP')}::VARCHAR ELSE strftime(strptime(x, format), '%Y-%m-%dT%H:%M:%S.%f') || '[' || zone || ']' END"

MACROS: dict[str, Macro] = {
    "parse_number": Macro(
        "parse_number(text, style)",
        "A number as people write it, exact to 10 decimals; style is 'fr' (1 234,56), 'en' (1,234.56), 'de' (1.234,56) or 'ch' (1'234.56).",
        ("parse_number('1 234,56', 'fr')", "1234.5600000000"),
        (("x, style", _number()),),
        4,
    ),
    "parse_date": Macro(
        "parse_date(text, format)",
        "A date in the given format (strptime directives); years have four digits unless the format says %y.",
        ("parse_date('31/12/2024', '%d/%m/%Y')", "2024-12-31"),
        (("x, format", f"CAST({_CHECKED_TIME} AS DATE)"),),
        4,
    ),
    "parse_timestamp": Macro(
        "parse_timestamp(text, format [, zone])",
        "A time in the given format, in the zone named, or else in the mapping's; times that clocks skip or show twice are refused.",
        ("parse_timestamp('31/12/2024 23:59', '%d/%m/%Y %H:%M')", "2024-12-31T23:59:00"),
        (("x, format", _CHECKED_TIME), ("x, format, zone", _TEXT_TIME)),
        4,
    ),
    "parse_boolean": Macro(
        "parse_boolean(text, yes, no)",
        "true where the text is yes, false where it is no, whatever the case; anything else is refused.",
        ("parse_boolean('Oui', 'oui', 'non')", "true"),
        (
            (
                "x, yes, no",
                f"CASE WHEN {_BLANK} THEN NULL WHEN lower(trim(x)) = lower(yes) THEN TRUE WHEN lower(trim(x)) = lower(no) THEN FALSE ELSE {_fail('truth value', 'BOOLEAN')} END",
            ),
        ),
        4,
    ),
    "slug": Macro(
        "slug(text)",
        "Lower-case letters a-z and digits, joined by hyphens; accents are dropped.",
        ("slug('  Café crème & Œufs ')", "cafe-creme-oeufs"),
        (
            (
                "x",
                "trim(regexp_replace(replace(replace(replace(lower(strip_accents(x)), 'œ', 'oe'), 'æ', 'ae'), 'ß', 'ss'), '[^a-z0-9]+', '-', 'g'), '-')",
            ),
        ),
        1,
    ),
    "title": Macro(
        "title(text)",
        "Each word with a capital first letter and small others.",
        ("title('jean-pierre DE LA tour')", "Jean-Pierre De La Tour"),
        (
            (
                "x",
                r"array_to_string(list_transform(regexp_extract_all(x, '[\p{L}\p{M}\p{N}]+|[^\p{L}\p{M}\p{N}]+'), lambda w: upper(left(w, 1)) || lower(substring(w, 2))), '')",
            ),
        ),
        1,
    ),
    "clean_spaces": Macro(
        "clean_spaces(text)",
        "No space at either end and single spaces between words; no-break spaces and line ends count as spaces.",
        ("clean_spaces('  rue   de Rivoli ')", "rue de Rivoli"),
        (("x", f"trim(regexp_replace(x, '[{_SPACES}]+', ' ', 'g'))"),),
        1,
    ),
    "empty_to_null": Macro(
        "empty_to_null(text)",
        "Null where the text is empty or blank, else the text as it is.",
        ("empty_to_null('  ')", ""),
        (("x", f"CASE WHEN {_BLANK} THEN NULL ELSE x END"),),
        2,
    ),
    "digits": Macro(
        "digits(text)",
        "The digits 0 to 9 of the text, and nothing else; they stay text.",
        ("digits('01 42 68-53-00')", "0142685300"),
        (("x", "regexp_replace(x, '[^0-9]', '', 'g')"),),
        1,
    ),
}
