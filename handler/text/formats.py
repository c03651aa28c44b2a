"""JSON Schema's formats, as keywords that llguidance enforces.

A format may be narrower here than its specification: what it gives is always valid. "format" itself means llguidance's
own expression for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_LEAP_YEAR = r"(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)"
_YEAR = r"(?:[1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])"
_DATE = (
    rf"(?:{_YEAR}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    rf"|02-(?:0[1-9]|1[0-9]|2[0-8]))|{_LEAP_YEAR}-02-29)"
)
# Without leap seconds: few of those that could be written have been.
_TIME = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
# No "--" but in the middle, and at most 253 characters: anything else would have to be Punycode.
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9]|-[a-zA-Z0-9]){0,30}"
_HOST = rf"{_LABEL}(?:\.{_LABEL}){{0,3}}"
_POINTER = r"(?:/(?:[^~/]|~[01])*)*"


def _text(pattern: str) -> Mapping[str, Any]:
    return {"pattern": f"^(?:{pattern})$"}


# JSON Schema's that can't be enforced; others that aren't below are names that some library has made up.
STANDARD = ("regex", "uri-template")

_URI = {"format": "uri"}
_BASE64 = _text(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
FORMATS: Mapping[str, Mapping[str, Any]] = {
    "date": _text(_DATE),
    "time": _text(_TIME),
    "date-time": _text(f"{_DATE}T{_TIME}"),
    "duration": {"format": "duration"},
    "email": {"format": "email"},
    "idn-email": {"format": "email"},
    "hostname": _text(_HOST),
    "idn-hostname": _text(_HOST),
    "ipv4": {"format": "ipv4"},
    "ipv6": {"format": "ipv6"},
    "uuid": {"format": "uuid"},
    "uri": _URI,
    "uri-reference": _URI,
    "iri": _URI,
    "iri-reference": _URI,
    "json-pointer": _text(_POINTER),
    "relative-json-pointer": _text(rf"(?:0|[1-9][0-9]*)(?:#|{_POINTER})"),
    # OpenAPI's: of numbers, and hints for texts.
    "int32": {"minimum": -(2**31), "maximum": 2**31 - 1},
    "int64": {"minimum": -(2**53), "maximum": 2**53},
    "float": {},
    "double": {},
    "byte": _BASE64,
    "base64": _BASE64,
    "binary": {},
    "password": {},
    # Pydantic's names, of texts that only a disk can tell more about.
    "path": {},
    "file-path": {},
    "directory-path": {},
}

# What zod writes beside its formats looks around; these say the same or less, and don't.
_DAYS = r"(?:[0-9]+Y(?:[0-9]+M)?(?:[0-9]+D)?|[0-9]+M(?:[0-9]+D)?|[0-9]+D)"
_SECONDS = r"[0-9]+(?:[.,][0-9]+)?S"
_HOURS = rf"T(?:[0-9]+H(?:[0-9]+M)?(?:{_SECONDS})?|[0-9]+M(?:{_SECONDS})?|{_SECONDS})"
PATTERNS: Mapping[str, str] = {
    r"^P(?:(\d+W)|(?!.*W)(?=\d|T\d)(\d+Y)?(\d+M)?(\d+D)?(T(?=\d)(\d+H)?(\d+M)?(\d+([.,]\d+)?S)?)?)$": (
        rf"^P(?:[0-9]+W|{_DAYS}(?:{_HOURS})?|{_HOURS})$"
    ),
    r"^(?=.{1,253}\.?$)[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
    r"(?:\.[a-zA-Z0-9](?:[-0-9a-zA-Z]{0,61}[0-9a-zA-Z])?)*\.?$": rf"^(?:{_HOST})$",
}
