"""Writes AWS's event-stream encoding; botocore only reads it.

A message is its total length, its headers' length, their CRC, headers, payload, and the CRC of all that. All numbers
are big-endian. A header is its name and a value, each with a length before it; type 7 is a string.
https://docs.aws.amazon.com/lexv2/latest/dg/event-stream-encoding.html
"""

from __future__ import annotations

import json
import struct
from binascii import crc32

CONTENT_TYPE = "application/vnd.amazon.eventstream"
STRING = 7
AROUND = 16  # bytes of a message besides headers and payload


def message(headers: dict[str, str], payload: bytes) -> bytes:
    """Encode one message."""
    encoded = b"".join(_header(name, value) for name, value in headers.items())
    lengths = struct.pack(">II", AROUND + len(encoded) + len(payload), len(encoded))
    body = lengths + struct.pack(">I", crc32(lengths)) + encoded + payload
    return body + struct.pack(">I", crc32(body))


def _header(name: str, value: str) -> bytes:
    key, text = name.encode(), value.encode()
    return struct.pack(">B", len(key)) + key + struct.pack(">BH", STRING, len(text)) + text


def payload_chunk(payload: bytes) -> bytes:
    """Encode a part of the function's response."""
    kind = {":message-type": "event", ":event-type": "PayloadChunk", ":content-type": "application/octet-stream"}
    return message(kind, payload)


def invoke_complete(error_code: str | None, error_details: str | None, log_result: str | None) -> bytes:
    """Encode the last message, with the function's error if it had one."""
    members = {"ErrorCode": error_code, "ErrorDetails": error_details, "LogResult": log_result}
    kind = {":message-type": "event", ":event-type": "InvokeComplete", ":content-type": "application/json"}
    return message(kind, json.dumps({key: value for key, value in members.items() if value is not None}).encode())
