"""CSV files as banks, offices, shops and programs leave them, with what a careful person would say about each."""

from __future__ import annotations

import csv
import io
import random
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

CITIES = ["Paris", "Saint-Étienne", "Évry", "Besançon", "Le Mans"]
NAMES = ["Müller & Söhne", "L'Hôtel du Lac", 'Garage "Le Bon"', "Noël; Fils", "Ångström AB", "Société Générale"]


@dataclass(frozen=True, slots=True)
class Case:
    """One file.

    Args:
        findings: endpoint key → value that `inspect` must find; None: it must leave the value open.
        types: column → type.
        first: the first record as text, by column, as the endpoint's conventions read it.
        records: how many records are read; None: not checked.
        rejected: how many records are rejected when reading.
        doubts: words that must stand in the ambiguities, one for each; empty: there must be none.
    """

    name: str
    data: bytes
    findings: dict[str, Any]
    types: dict[str, str]
    first: dict[str, Any] = field(default_factory=dict)
    records: int | None = None
    rejected: int = 0
    doubts: tuple[str, ...] = ()


def _amount(rng: random.Random, group: str, mark: str) -> str:
    return f"{rng.uniform(-20000, 200000):,.2f}".replace(",", "_").replace(".", mark).replace("_", group)


def _day(rng: random.Random, form: str) -> str:
    return (date(2023, 1, 1) + timedelta(days=rng.randrange(700))).strftime(form)


def french_bank() -> Case:
    rng = random.Random(1)
    lines = ["Relevé de compte au 31/12/2024", "Compte n°;00012345678", "Solde;12 345,67 €", ""]
    lines.append("Date;Date valeur;Libellé;Débit;Crédit;Référence")
    for n in range(200):
        amount = _amount(rng, "\u00a0", ",").lstrip("-")
        sides = ("-" + amount, "") if n % 3 else ("", amount)
        label = f'"VIR SEPA {rng.choice(NAMES).replace(chr(34), chr(34) * 2)}"'
        lines.append(";".join([_day(rng, "%d/%m/%Y"), _day(rng, "%d/%m/%Y"), label, *sides, f"00{n:06}"]))
    lines.append("Total;;;-123,45;456,00")
    return Case(
        "french bank: preamble, cp1252, semicolons, no-break spaces, total line",
        ("\r\n".join(lines) + "\r\n").encode("cp1252"),
        {"encoding": "cp1252", "delimiter": ";", "quote": '"', "header_row": 5, "decimal": ",", "date_order": "dmy"},
        {
            "Date": "date",
            "Libellé": "string",
            "Débit": "decimal(12,2)",
            "Crédit": "decimal(12,2)",
            "Référence": "string",
        },
        records=200,
        rejected=1,
    )


def excel_unicode_text() -> Case:
    rows = [["Code", "Désignation", "Prix", "Créé le"]]
    rows += [[f"A{n:03}", f"Pièce {n} « été »", f"{n},5", f"{n % 28 + 1:02}/03/2024 08:30"] for n in range(50)]
    text = "\r\n".join("\t".join(row) for row in rows) + "\r\n"
    return Case(
        "Excel's Unicode text: UTF-16 with a mark, tabs",
        text.encode("utf-16"),
        {"encoding": "utf-16", "delimiter": "\t", "header_row": 1, "decimal": ",", "date_order": "dmy"},
        {"Code": "string", "Désignation": "string", "Prix": "decimal(12,1)", "Créé le": "timestamp"},
        {"Code": "A000", "Désignation": "Pièce 0 « été »", "Prix": "0.5", "Créé le": "2024-03-01T08:30:00"},
        records=50,
    )


def excel_csv_utf8() -> Case:
    text = "id;nom;actif\r\n" + "".join(f"{n};{CITIES[n % 5]};{'VRAI' if n % 2 else 'FAUX'}\r\n" for n in range(30))
    return Case(
        "Excel's CSV UTF-8: byte order mark, semicolons",
        b"\xef\xbb\xbf" + text.encode(),
        {"encoding": "utf-8-sig", "delimiter": ";", "header_row": 1},
        {"id": "integer", "nom": "string", "actif": "boolean"},
        {"id": "0", "nom": "Paris", "actif": "false"},
        records=30,
    )


def quoted_newlines() -> Case:
    file = io.StringIO(newline="")
    writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(["ticket", "opened", "description"])
    for n in range(40):
        text = f'Line one of {n}\nline "two", and; more\r\n\r\nend'
        writer.writerow([1000 + n, f"2024-05-{n % 28 + 1:02}T10:00:00Z", text])
    return Case(
        "help desk export: everything quoted, line ends and quotes inside",
        file.getvalue().encode(),
        {"encoding": "utf-8", "delimiter": ",", "quote": '"', "header_row": 1, "date_order": "ymd"},
        {"ticket": "integer", "opened": "timestamp", "description": "string"},
        {
            "ticket": "1000",
            "opened": "2024-05-01T10:00:00Z",
            "description": 'Line one of 0\nline "two", and; more\r\n\r\nend',
        },
        records=40,
    )


def pipes() -> Case:
    lines = ["SKU|LABEL|PRICE_USD|DATE"] + [
        f"{n:05}|Bolt, {n} mm; zinc|{n}.{n % 100:02}|12/{n % 28 + 1:02}/2024" for n in range(60)
    ]
    return Case(
        "American mainframe: pipes, month first, leading zeros",
        "\n".join(lines).encode(),
        {"encoding": "utf-8", "delimiter": "|", "header_row": 1, "decimal": ".", "date_order": "mdy"},
        {"SKU": "string", "LABEL": "string", "PRICE_USD": "decimal(12,2)", "DATE": "date"},
        {"SKU": "00000", "LABEL": "Bolt, 0 mm; zinc", "PRICE_USD": "0.00", "DATE": "2024-12-01"},
        records=60,
    )


def long_numbers() -> Case:
    lines = ["iban,card,count,tracking"] + [f"FR76{n:020},{4970100000000000 + n},{n},{n:03}" for n in range(30)]
    return Case(
        "identifiers: more than 15 digits and leading zeros stay texts",
        "\n".join(lines).encode(),
        {"delimiter": ",", "header_row": 1},
        {"iban": "string", "card": "string", "count": "integer", "tracking": "string"},
        {"card": "4970100000000000", "tracking": "000"},
        records=30,
    )


def single_column() -> Case:
    data = "email\n" + "".join(f"user{n}@example.org\n" for n in range(20))
    return Case(
        "one column of addresses",
        data.encode(),
        {"header_row": 1},
        {"email": "string"},
        {"email": "user0@example.org"},
        records=20,
    )


def no_header() -> Case:
    lines = [f"{n};{CITIES[n % 5]};{n * 10},50;0{n % 9 + 1}/1{n % 3}/2024" for n in range(30)]
    return Case(
        "no header",
        "\n".join(lines).encode("cp1252"),
        {"encoding": "cp1252", "delimiter": ";", "header_row": 0, "decimal": ",", "date_order": None},
        {"column_1": "integer", "column_2": "string"},
        records=30,
        doubts=("dmy or mdy",),
    )


def decimal_commas_without_header() -> Case:
    return Case(
        "two decimal commas a row: three columns by comma, two by semicolon",
        b"1,5;2,5\n3,5;4,5\n5,25;6,75\n",
        {"delimiter": ";", "header_row": 0, "decimal": ","},
        {"column_1": "decimal(12,2)", "column_2": "decimal(12,2)"},
        {"column_1": "1.5", "column_2": "2.5"},
        records=3,
    )


def undecided_dates() -> Case:
    return Case(
        "dates that fit both orders",
        b"id,day\n1,03/04/2024\n2,05/06/2024\n",
        {"date_order": None, "delimiter": ","},
        {"id": "integer", "day": "string"},
        doubts=("03/04/2024 in column 'day': dmy or mdy",),
    )


def undecided_decimal() -> Case:
    return Case(
        "1,234 may be one or a thousand",
        b"id;weight\n1;1,234\n2;3,567\n",
        {"decimal": None, "delimiter": ";"},
        {"id": "integer", "weight": "string"},
        doubts=("1,234 in column 'weight'",),
    )


def mixed_marks() -> Case:
    return Case(
        "a decimal point in one column, a comma in another",
        b"id;price;rate\n1;1.50;0,25\n2;2.75;0,5\n",
        {"decimal": None},
        {"id": "integer"},
        doubts=("declare one",),
    )


def words_only() -> Case:
    return Case(
        "words only: is the first line a header?",
        b"rouge,vert\nbleu,jaune\nnoir,blanc\n",
        {"delimiter": ",", "header_row": 1},
        {"rouge": "string", "vert": "string"},
        doubts=("names or a record",),
    )


def null_words() -> Case:
    lines = ["id,amount,day"] + [
        f"{n},{'NULL' if n % 4 == 0 else f'{n}.5'},{'N/A' if n % 5 == 0 else '2024-01-31'}" for n in range(40)
    ]
    return Case(
        "words that stand for null",
        "\n".join(lines).encode(),
        {"null_values": ["N/A", "NULL"], "decimal": ".", "date_order": "ymd"},
        {"id": "integer", "amount": "decimal(12,1)", "day": "date"},
        {"id": "0", "amount": None, "day": None},
        records=40,
    )


def few_bad_values() -> Case:
    lines = ["id,amount"] + [f"{n},{'abc' if n == 70 else f'{n}.25'}" for n in range(100)]
    return Case(
        "one value of a hundred is no number",
        "\n".join(lines).encode(),
        {"decimal": "."},
        {"id": "integer", "amount": "decimal(12,2)"},
        records=100,
        doubts=("'abc' on line 72",),
    )


def trailing_delimiters() -> Case:
    lines = ["a;b;c;"] + [f"{n};x{n};2024-01-0{n % 9 + 1};" for n in range(20)]
    return Case(
        "a delimiter at the end of each line",
        "\n".join(lines).encode(),
        {"delimiter": ";", "header_row": 1},
        {"a": "integer", "b": "string", "c": "date"},
        {"a": "0", "b": "x0", "c": "2024-01-01"},
        records=20,
    )


def single_quotes() -> Case:
    lines = ["'id','name'"] + [f"'{n}','O''Neill, {n}'" for n in range(20)]
    return Case(
        "single quotes around values",
        "\n".join(lines).encode(),
        {"delimiter": ",", "quote": "'", "header_row": 1},
        {"id": "integer", "name": "string"},
        {"id": "0", "name": "O'Neill, 0"},
        records=20,
    )


def inch_marks() -> Case:
    lines = ["size;label"] + [f'{n}" pipe;"quoted; {n}"' for n in range(20)]
    return Case(
        "inch marks in plain values beside quoted ones",
        "\n".join(lines).encode(),
        {"delimiter": ";", "quote": '"', "header_row": 1},
        {"size": "string", "label": "string"},
        {"size": '0" pipe', "label": "quoted; 0"},
        records=20,
    )


def old_mac() -> Case:
    text = "id\tville\tnote\r" + "".join(
        f"{n}\t{CITIES[n % 5]}\tdéjà vérifié à l'été, même très tôt\r" for n in range(20)
    )
    return Case(
        "an old Mac: carriage returns, Mac Roman",
        text.encode("mac-roman"),
        {"encoding": "mac-roman", "delimiter": "\t", "header_row": 1},
        {"id": "integer", "ville": "string", "note": "string"},
        {"id": "0", "ville": "Paris", "note": "déjà vérifié à l'été, même très tôt"},
        records=20,
    )


def dos() -> Case:
    text = "id;ville;note\r\n" + "".join(f"{n};{CITIES[n % 5]};déjà vérifié à l'été\r\n" for n in range(20))
    return Case(
        "DOS: code page 850",
        text.encode("cp850"),
        {"encoding": "cp850", "delimiter": ";"},
        {"id": "integer", "ville": "string", "note": "string"},
        {"ville": "Paris", "note": "déjà vérifié à l'été"},
        records=20,
    )


CASES = [
    make()
    for make in (
        french_bank, excel_unicode_text, excel_csv_utf8, quoted_newlines, pipes, long_numbers, single_column, no_header,
        decimal_commas_without_header, undecided_dates, undecided_decimal, mixed_marks, words_only, null_words, few_bad_values,
        trailing_delimiters, single_quotes, inch_marks, old_mac, dos,
    )
]  # fmt: skip
