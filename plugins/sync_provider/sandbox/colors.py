"""Colours as recordings show them: 256 steps a channel, each under its name and under its style's name."""

from __future__ import annotations

import copy
import struct
from typing import Any

from sync_provider.sandbox.model import Json

_STEPS = 255
_THEME = {
    "TEXT": "000000",
    "BACKGROUND": "ffffff",
    "ACCENT1": "4285f4",
    "ACCENT2": "ea4335",
    "ACCENT3": "fbbc04",
    "ACCENT4": "34a853",
    "ACCENT5": "ff6d01",
    "ACCENT6": "46bdc6",
    "LINK": "1155cc",
}


def is_color(name: str) -> bool:
    """Whether a member of that name holds a Color, which is set as a whole."""
    return name.endswith(("Color", "color"))


def twin(name: str) -> str | None:
    """The other name of a colour: ``tabColor`` of ``tabColorStyle`` and the reverse; None if it is no colour."""
    if is_color(name):
        return f"{name}Style"
    plain = name.removesuffix("Style")
    return plain if plain != name and is_color(plain) else None


def shown_colors(message: Json) -> Json:
    """A copy of a format or of properties, with each colour rounded and under both names.

    A style wins over the plain colour beside it, as Google's reference says.
    """
    shown: Json = {}
    for name, value in message.items():
        if is_color(name):
            shown.setdefault(name, _rounded(value))
            shown.setdefault(f"{name}Style", {"rgbColor": _rounded(value)})
        elif is_color(name.removesuffix("Style")):
            style = {"rgbColor": _rounded(value["rgbColor"])} if "rgbColor" in value else copy.deepcopy(value)
            shown[name] = style
            if "rgbColor" in style:
                shown[name.removesuffix("Style")] = dict(style["rgbColor"])
        else:
            shown[name] = shown_colors(value) if isinstance(value, dict) else copy.deepcopy(value)
    return shown


def _rounded(color: Json) -> Json:
    """Channels in steps of 1/255 and of a float's precision; those that are 0 are left out."""
    channels = {name: _channel(value) for name, value in color.items() if name != "alpha"}
    return {name: value for name, value in channels.items() if value}


def _channel(value: float) -> float | int:
    # A channel that was read back is a float a little off its step: the margin keeps it there.
    step = int(min(max(value, 0), 1) * _STEPS + 1e-4)
    return 1 if step == _STEPS else _short_float(step / _STEPS)


def _short_float(value: float) -> float:
    """As Google prints 32-bit floats: six digits if they read back the same, else as many more as that takes.

    >>> _short_float(66 / 255)
    0.25882354
    """
    packed = struct.pack("f", value)
    (single,) = struct.unpack("f", packed)
    texts = (f"{single:.{digits}g}" for digits in range(6, 10))
    return float(next(text for text in texts if struct.pack("f", float(text)) == packed))


def default_theme() -> Json:
    """The SpreadsheetTheme of a new spreadsheet."""
    colors: list[Any] = []
    for kind, digits in _THEME.items():
        red, green, blue = bytes.fromhex(digits)
        rgb = _rounded({"red": red / _STEPS, "green": green / _STEPS, "blue": blue / _STEPS})
        colors.append({"colorType": kind, "color": {"rgbColor": rgb}})
    return {"primaryFontFamily": "Arial", "themeColors": colors}
