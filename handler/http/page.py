"""The page at `/`: a chat in one document, put together from static files at its first request.

Behind a function URL every request takes an environment of its own while it runs, and may find none. So the page must
come in one: style and scripts stand in the document, and the Content-Security-Policy names them by their hashes.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from handler.prices import FALLBACK, lambda_rates

STATIC = Path(__file__).parent / "static"
DOCUMENT, SCRIPT = "index.html", "main.js"
DEPLOYED_MB = 10_240  # what `make deploy` gives the function: taken where none runs
_STYLES = re.compile(r'(?: *<link rel="stylesheet" href="[a-z]+\.css">\n)+')
_STYLE = re.compile(r'href="([a-z]+\.css)"')
_SCRIPT_TAG = '<script type="module" src="main.js"></script>'
_CONFIG = re.compile(r'(<script type="application/json" id="config">).*?(</script>)')
_IMPORT = re.compile(r'^import \{[^}]*\} from "\./([a-z]+\.js)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export ", re.MULTILINE)


@dataclass(frozen=True)
class Page:
    """The document as it is sent.

    Attributes:
        plain: Its bytes.
        packed: The same by gzip.
        headers: What goes with both.
        tag: Begins the entity tag of both.
    """

    plain: bytes
    packed: bytes
    headers: dict[str, str]
    tag: str

    def answer(self, request: Request) -> Response:
        """Answer a GET or HEAD, with a 304 if the browser has the page already."""
        packed = _takes_gzip(request.headers.get("accept-encoding", ""))
        tag = f'"{self.tag}{"-gzip" if packed else ""}"'
        headers = self.headers | {"etag": tag}
        if _matches(request.headers.get("if-none-match", ""), tag):
            return Response(status_code=304, headers=headers)
        if packed:
            headers["content-encoding"] = "gzip"
        return Response(self.packed if packed else self.plain, headers=headers, media_type="text/html")


def read_page(memory_mb: int | None, region: str | None = None, folder: Path = STATIC) -> Page:
    """Put the page together.

    Args:
        memory_mb: Of the Lambda function; None where there is none.
        region: Whose prices it reckons with; us-east-1's if they aren't known.
        folder: Where the files are.
    """
    document, script = _read(folder, DOCUMENT), join_modules(folder, SCRIPT)
    style = "\n".join(_read(folder, name) for name in _STYLE.findall(document))
    rates = lambda_rates(region) or lambda_rates(FALLBACK, "x86_64")
    assert rates is not None
    config = {
        "memory_mb": memory_mb or DEPLOYED_MB,
        "usd_per_gb_second": rates.gb_second,
        "usd_per_request": rates.request,
    }
    document = _CONFIG.sub(rf"\g<1>{json.dumps(config)}\g<2>", document, count=1)
    document = _STYLES.sub(lambda match: f"<style>{style}</style>\n", document, count=1)
    plain = document.replace(_SCRIPT_TAG, f'<script type="module">{script}</script>').encode()
    headers = {
        "content-security-policy": _policy(style, script),
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
        "cache-control": "no-cache",  # may be kept, is asked for each time: a 304 if nothing has changed
        "vary": "accept-encoding",
    }
    return Page(plain, gzip.compress(plain, mtime=0), headers, hashlib.sha256(plain).hexdigest()[:32])


def join_modules(folder: Path, name: str) -> str:
    """Join a module with all that it imports into one, each file once and before those that want it.

    It only leaves out imports and `export`, so all top-level names must differ; a browser refuses the script otherwise.

    Args:
        folder: Where the modules are.
        name: The file to begin with.
    """
    texts: dict[str, str] = {}

    def add(name: str) -> None:
        if name not in texts:
            source = _read(folder, name)
            texts[name] = ""  # A circle of imports ends here.
            for imported in _IMPORT.findall(source):
                add(imported)
            del texts[name]
            texts[name] = _EXPORT.sub("", _IMPORT.sub("", source))

    add(name)
    return "\n".join(texts.values())


def _policy(style: str, script: str) -> str:
    rules = {
        "default-src": "'none'",
        "script-src": _hash(script),
        "style-src": _hash(style),
        "img-src": "data:",  # the icon
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _read(folder: Path, name: str) -> str:
    return (folder / name).read_text(encoding="utf-8")


def _takes_gzip(accepted: str) -> bool:
    codings = [coding.replace(" ", "").lower() for coding in accepted.split(",")]
    return any(coding.partition(";")[0] == "gzip" and not re.search(r";q=0(\.0*)?$", coding) for coding in codings)


def _matches(given: str, tag: str) -> bool:
    tags = [other.strip().removeprefix("W/") for other in given.split(",")]
    return given.strip() == "*" or tag in tags
