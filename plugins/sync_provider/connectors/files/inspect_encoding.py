"""Which encoding a text file is in, and how sure that is. No I/O."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WESTERN, _LATIN9 = "cp1252", "iso8859-15"
"""They differ in €, Œ, œ, Š, š, Ž, ž and Ÿ; and the bytes 0x80 to 0x9f are characters in the first alone."""
_RIVALS = ("cp850", "mac-roman", "cp437")
"""Single-byte encodings of the same languages, in which other bytes stand for the same letters."""
_USUAL = frozenset("àâäáãåçéèêëíîïìñóôöòõúùûüœæßøÀÂÄÁÅÇÉÈÊËÍÎÏÑÓÔÖÚÙÛÜŒÆØ€°«»’‘“”–—…£§µ²³½ªº·©®™ \u00a0¿¡")
_IN_WORDS = re.compile("[A-Za-zÀ-ÖØ-öø-ÿŒœ][²³½ªº°¿¡§µ©®™…“”–—«»£€\u00a0](?=[a-zß-öø-ÿœ])|[a-zß-öø-ÿœ][À-ÖØ-ÞŒ]")
"""Signs amid a word, and capitals within it: seen where another encoding's letters are read."""
_C1 = re.compile(rb"[\x80-\x9f]")
_UNLIKE = re.compile(rb"[\xa4\xa6\xa8\xb4\xb8\xbc-\xbe]")
_FEW_BYTES = 64 * 1024
_NO_START = bytes(range(0xC0))  # bytes that do not start a UTF-8 sequence


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found out about a file.

    Args:
        value: None where the file does not decide it.
        confidence: 0 (nothing speaks for it) to 1 (certain).
        why: the evidence, in words.
    """

    value: Any
    confidence: float
    why: str

    def as_dict(self) -> dict[str, Any]:
        return {"value": self.value, "confidence": round(self.confidence, 2), "why": self.why}


def find_encoding(data: bytes, rest: Iterable[bytes] = (), *, complete: bool = True) -> tuple[Finding, list[str]]:
    """The encoding and what remains ambiguous about it, in words.

    Args:
        data: the start of the file.
        rest: what follows, in pieces; looked at only to see whether it is UTF-8 too.
        complete: `data` and `rest` are the whole file: a character cut off at the end is an error.
    """
    for mark, name in _MARKS:
        if data.startswith(mark):
            return Finding(name, 1.0, "byte order mark"), []
    if (wide := _wide(data)) is not None:
        return Finding(wide, 0.9, "every other byte is zero"), []
    foreign, is_utf8, sequences = _utf8(data, rest, complete=complete)
    if not foreign:
        return Finding("utf-8", 1.0, "only ASCII characters, which most encodings share"), []
    if is_utf8:
        return Finding(
            "utf-8",
            0.99 if sequences > 1 else 0.9,
            f"characters beyond ASCII, {sequences} in all, and each is well-formed UTF-8",
        ), []
    return _single_byte(bytes(foreign))


def _wide(data: bytes) -> str | None:
    """UTF-16 without a mark: text has zero bytes at even or odd places only."""
    sample = data[:_FEW_BYTES]
    if len(sample) < 4 or b"\x00" not in sample:
        return None
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    half = len(sample) // 2
    for name, zeros, others in (("utf-16-le", odd, even), ("utf-16-be", even, odd)):
        if zeros > half * 0.3 and others == 0:
            try:
                sample[: half * 2].decode(name, "strict")
            except UnicodeDecodeError as exc:
                if exc.start < half * 2 - 2:
                    return None
            return name
    return None


def _utf8(data: bytes, rest: Iterable[bytes], *, complete: bool) -> tuple[bytearray, bool, int]:
    """Lines with bytes beyond ASCII (a sample), whether all is UTF-8, and how many sequences there are."""
    decoder = codecs.getincrementaldecoder("utf-8")("strict")
    foreign = bytearray()
    valid, sequences = True, 0
    for piece in _chain(data, rest):
        if piece.isascii():
            valid = valid and not decoder.getstate()[0]
            continue
        if len(foreign) < _FEW_BYTES:
            for line in re.finditer(rb"[^\r\n]*[\x80-\xff][^\r\n]*", piece):
                foreign += line[0][:2000] + b"\n"
                if len(foreign) >= _FEW_BYTES:
                    break
        if valid:
            try:
                decoder.decode(piece)
                sequences += len(piece.translate(None, _NO_START))
            except UnicodeDecodeError:
                valid = False
    return foreign, valid and not (complete and decoder.getstate()[0]), sequences


def _chain(data: bytes, rest: Iterable[bytes]) -> Iterable[bytes]:
    yield data
    yield from rest


def _single_byte(lines: bytes) -> tuple[Finding, list[str]]:
    scores = {name: _plausible(lines, name) for name in (_WESTERN, _LATIN9, *_RIVALS)}
    best = max(scores, key=lambda name: scores[name])
    text = lines.decode(best, "replace")
    family = (_WESTERN, _LATIN9) if best in (_WESTERN, _LATIN9) else (best,)
    # Encodings that read the very same text are no rivals.
    runner_up = max(
        (s for name, s in scores.items() if name not in family and lines.decode(name, "replace") != text), default=0.0
    )
    if scores[best] >= 0.9 and scores[best] - runner_up >= 0.2:
        if len(family) > 1 and (doubt := _western_doubt(lines)):
            return Finding(None, 0.5, doubt), [doubt]
        share = f"{scores[best]:.0%} of the characters beyond ASCII are usual ones, by the next best {runner_up:.0%}"
        return Finding(best, 0.95 if best == _WESTERN else 0.8, share), []
    return _by_statistics(lines, best, scores[best])


def _plausible(lines: bytes, encoding: str) -> float:
    """Share of the characters beyond ASCII that western texts usually hold, where they usually stand."""
    try:
        text = lines.decode(encoding)
    except UnicodeDecodeError:
        return 0.0
    beyond = [c for c in text if not c.isascii()]
    odd = len(_IN_WORDS.findall(text))
    return max(0.0, sum(c in _USUAL for c in beyond) - odd) / len(beyond)


def _western_doubt(lines: bytes) -> str | None:
    """What cp1252 and iso8859-15 read differently; None where they read the same, or only one can be meant."""
    if _C1.search(lines) or (byte := _UNLIKE.search(lines)) is None:
        return None
    start = max(0, byte.start() - 8, lines.rfind(b"\n", 0, byte.start()) + 1)
    shown = lines[start : byte.end() + 8].partition(b"\n")[0]
    return f"encoding: {_WESTERN} reads {shown.decode(_WESTERN)!r}, {_LATIN9} {shown.decode(_LATIN9)!r}; which one is right?"


def _by_statistics(lines: bytes, fallback: str, score: float) -> tuple[Finding, list[str]]:
    """Other languages: by letter frequencies, which never make certain."""
    from charset_normalizer import from_bytes

    readings: dict[str, str] = {}
    for name in (*((fallback,) if score >= 0.5 else ()), *(match.encoding for match in from_bytes(lines))):
        readings.setdefault(_excerpt(lines, name), name)
    if not readings:
        return Finding(None, 0.0, "no encoding reads every byte"), ["encoding: none that we know reads every byte"]
    shown = ", ".join(f"{name} reads {text!r}" for text, name in list(readings.items())[:4])
    doubt = f"encoding: {shown}; which one is right?"
    if len(readings) > 1:
        return Finding(None, 0.4, "several encodings fit"), [doubt]
    return Finding(next(iter(readings.values())), 0.6, "letter frequencies"), [doubt]


def _excerpt(lines: bytes, encoding: str) -> str:
    """A few characters around the first one beyond ASCII."""
    text = lines.decode(encoding, "replace")
    at = next((n for n, c in enumerate(text) if not c.isascii()), 0)
    return text[max(0, at - 8) : at + 8].replace("\n", " ").strip()
