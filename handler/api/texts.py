"""Texts that requests give whole or in typed parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from handler.api.members import check_text, members_of
from handler.errors import MissingParameter


def parse_text(value: object, path: str, kinds: Mapping[str, str]) -> str:
    """Check a text, or parts of it.

    Args:
        value: What the request has at that place.
        path: The place, for errors.
        kinds: The types that parts may have, and which of their members has the text.

    Returns:
        The text; parts are paragraphs.

    Raises:
        ApiError: It is refused; the error names the member and the bad value.
    """
    if value is None:
        raise MissingParameter(path)
    if not isinstance(value, list):
        return check_text(value, path, "a string or an array of parts")
    return "\n".join(parse_parts(value, path, kinds))


def parse_parts(values: Sequence[object], path: str, kinds: Mapping[str, str]) -> Iterator[str]:
    """Check parts of a text, as `parse_text` does; give the text of each."""
    for index, value in enumerate(values):
        part = members_of(value, f"{path}[{index}]")
        yield part.required(kinds[part.kind(kinds, "parts")])
