"""What a spreadsheet's locale decides: separators, the order of dates, names, the currency."""

from __future__ import annotations

from dataclasses import dataclass

_EN_MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
_FR_MONTHS = [
    "janvier",
    "février",
    "mars",
    "avril",
    "mai",
    "juin",
    "juillet",
    "août",
    "septembre",
    "octobre",
    "novembre",
    "décembre",
]
_DE_MONTHS = [
    "Januar",
    "Februar",
    "März",
    "April",
    "Mai",
    "Juni",
    "Juli",
    "August",
    "September",
    "Oktober",
    "November",
    "Dezember",
]
_EN_DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
_FR_DAYS = ["lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche"]
_DE_DAYS = ["Montag", "Dienstag", "Mittwoch", "Donnerstag", "Freitag", "Samstag", "Sonntag"]


@dataclass(frozen=True)
class Locale:
    """One locale.

    Args:
        order: order of a date written in digits, of the letters d, m and y.
        date, time, date_time: patterns that a typed date, time or both get.
        currency: symbol that is read; `currency_pattern` has one place for the digits.
        months, months_short, days, days_short: names, Monday first.
    """

    decimal: str
    groups: str
    group: str
    order: str
    date: str
    time: str
    currency: str
    currency_pattern: str
    true: str
    false: str
    months: tuple[str, ...]
    months_short: tuple[str, ...]
    days: tuple[str, ...]
    days_short: tuple[str, ...]

    @property
    def date_time(self) -> str:
        return f"{self.date} {'h:mm:ss' if self.time.startswith('h:') else 'hh:mm:ss'}"

    @property
    def separator(self) -> str:
        """What stands between the arguments of a function."""
        return ";" if self.decimal == "," else ","


_ENGLISH = (
    tuple(_EN_MONTHS),
    tuple(name[:3] for name in _EN_MONTHS),
    tuple(_EN_DAYS),
    tuple(name[:3] for name in _EN_DAYS),
)
_FRENCH = (
    tuple(_FR_MONTHS),
    ("janv.", "févr.", "mars", "avr.", "mai", "juin", "juil.", "août", "sept.", "oct.", "nov.", "déc."),
    tuple(_FR_DAYS),
    tuple(f"{name[:3]}." for name in _FR_DAYS),
)
_GERMAN = (
    tuple(_DE_MONTHS),
    tuple(name[:3] for name in _DE_MONTHS),
    tuple(_DE_DAYS),
    tuple(name[:2] for name in _DE_DAYS),
)
_LOCALES = {
    "en_US": Locale(".", ",", ",", "mdy", "M/d/yyyy", "h:mm:ss am/pm", "$", '"$"{}', "TRUE", "FALSE", *_ENGLISH),
    "en_GB": Locale(".", ",", ",", "dmy", "dd/MM/yyyy", "HH:mm:ss", "£", '"£"{}', "TRUE", "FALSE", *_ENGLISH),
    "fr_FR": Locale(
        ",", " \u00a0\u202f", "\u202f", "dmy", "dd/MM/yyyy", "HH:mm:ss", "€", "{}\u00a0[$€-1]", "VRAI", "FAUX", *_FRENCH
    ),
    "de_DE": Locale(",", ".", ".", "dmy", "dd.MM.yyyy", "HH:mm:ss", "€", "{}\u00a0[$€-1]", "WAHR", "FALSCH", *_GERMAN),
}


def find_locale(name: str) -> Locale:
    """The locale of that name, else one of the same language, else that of the United States."""
    language = name.partition("_")[0]
    if name in _LOCALES:
        return _LOCALES[name]
    return next((locale for key, locale in _LOCALES.items() if key.startswith(f"{language}_")), _LOCALES["en_US"])


def known_locale(name: str) -> bool:
    """Whether a spreadsheet may have it: ``fr``, ``fr_FR``."""
    language, _, region = name.partition("_")
    return language.islower() and len(language) in {2, 3} and (not region or region.isupper())
