from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from handler.http.page import STATIC, join_modules, read_page
from handler.prices import lambda_rates
from tests.conftest import ROOT
from tests.handler.doubles import serving


def get(**headers: str) -> httpx.Response:
    with serving(api_key="secret") as server:
        return server.client.get("/", headers=headers)


def policy(answer: httpx.Response) -> dict[str, str]:
    rules = answer.headers["content-security-policy"].split("; ")
    return dict(rule.split(" ", 1) for rule in rules)


def digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def test_it_is_there_without_a_key() -> None:
    answer = get()
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert answer.text.startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("HEAD", "/", 200),
        ("POST", "/", 401),
        ("GET", "/page", 401),
        ("GET", "/index.html", 401),
        ("GET", "/v1/models", 401),
    ],
)
def test_only_the_page_itself_is_open(method: str, path: str, status: int) -> None:
    with serving(api_key="secret") as server:
        url = f"{str(server.client.base_url).rstrip('/')}{path}"
        assert server.client.request(method, url).status_code == status


def test_it_can_be_turned_off() -> None:
    with serving(page=False) as server:
        assert server.client.get("/").status_code == 404
    with serving(page=False, api_key="secret") as server:
        assert server.client.get("/").status_code == 401


def test_the_policy_lets_nothing_in_but_what_stands_in_the_page() -> None:
    answer = get()
    rules = policy(answer)
    [style], [script] = (
        re.findall(tag, answer.text, re.DOTALL) for tag in (r"<style>(.*?)</style>", r'"module">(.*?)</script>')
    )
    assert (rules["default-src"], rules["connect-src"]) == ("'none'", "'self'")
    assert (rules["style-src"], rules["script-src"]) == (digest(style), digest(script))
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert (answer.headers["x-content-type-options"], answer.headers["referrer-policy"]) == ("nosniff", "no-referrer")


def test_it_asks_for_no_other_file_and_no_other_host() -> None:
    text = get().text
    assert re.findall(r'(?:src|href)="(?!#|data:)([^"]*)"', text) == []
    assert set(re.findall(r"""["'`](https?://[^"'`]*)""", text)) == {"http://www.w3.org/2000/svg"}


def test_a_browser_that_has_it_gets_a_304() -> None:
    first = get()
    again = get(**{"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["content-security-policy"] == first.headers["content-security-policy"]
    assert get(**{"if-none-match": f'"other", W/{first.headers["etag"]}'}).status_code == 304
    assert get(**{"if-none-match": '"other"'}).status_code == 200


def test_it_is_packed_for_those_who_take_that_and_the_tags_differ() -> None:
    with serving() as server:
        packed = server.client.get("/", headers={"accept-encoding": "br, gzip;q=0.8"})
        plain = server.client.get("/", headers={"accept-encoding": "gzip;q=0, br"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.text == plain.text
    assert int(packed.headers["content-length"]) < len(plain.content) / 2
    assert packed.headers["etag"] != plain.headers["etag"]


def test_the_same_files_make_the_same_bytes() -> None:
    one, other = read_page(1769), read_page(1769)
    assert one == other
    assert gzip.decompress(one.packed) == one.plain


def test_it_knows_the_functions_memory_and_lambdas_prices() -> None:
    with serving(function_memory_mb=1769) as server:
        found = re.search(r'id="config">(.*?)</script>', server.client.get("/").text)
    assert found is not None
    rates = lambda_rates("us-east-1", "x86_64")
    assert rates is not None
    assert json.loads(found[1]) == {
        "memory_mb": 1769,
        "usd_per_gb_second": rates.gb_second,
        "usd_per_request": rates.request,
    }


# ---------------------------------------------------------------- joining the scripts


def test_every_file_is_in_the_page() -> None:
    text = get().text
    heads = {path.name: path.read_text().splitlines()[0] for path in STATIC.glob("*.*")}
    assert sorted(name for name, head in heads.items() if head not in text) == []
    assert len(heads) > 20


def test_a_server_that_nobody_asks_for_it_does_not_even_import_it() -> None:
    script = (
        "import sys, handler.__main__, handler.http.app, handler.http.server; print('handler.http.page' in sys.modules)"
    )
    assert subprocess.check_output([sys.executable, "-c", script], cwd=ROOT, text=True) == "False\n"


def test_no_import_and_no_export_is_left_and_no_tag_ends_the_script() -> None:
    script = join_modules(STATIC, "main.js")
    assert re.findall(r"^(?:import|export)\b.*", script, re.MULTILINE) == []
    assert re.findall(r"\bimport\(", script) == []
    assert "</script" not in script.lower()
    assert "<!--" not in script
    assert "</style" not in "".join(path.read_text() for path in STATIC.glob("*.css")).lower()


def test_top_level_names_differ_for_the_scripts_share_one_scope() -> None:
    script = join_modules(STATIC, "main.js")
    names = re.findall(r"^(?:async )?(?:function\*?|class|const|let) (\w+)", script, re.MULTILINE)
    assert len(names) > 50
    assert sorted(name for name in set(names) if names.count(name) > 1) == []


def test_each_module_comes_once_and_before_those_that_want_it(tmp_path: Path) -> None:
    (tmp_path / "main.js").write_text('import { a } from "./a.js";\nimport {\n  b,\n} from "./b.js";\n\nmain(a, b);\n')
    (tmp_path / "a.js").write_text('import { b } from "./b.js";\nexport const a = b;\n')
    (tmp_path / "b.js").write_text("export const b = 1;\n")
    joined = " ".join(join_modules(tmp_path, "main.js").split())
    assert joined == "const b = 1; const a = b; main(a, b);"


# ---------------------------------------------------------------- colours


def colours(scheme: int) -> dict[str, str]:
    pairs = re.findall(r"--([a-z-]+): light-dark\((#\w{6}), (#\w{6})\)", (STATIC / "base.css").read_text())
    return {name: (light, dark)[scheme] for name, light, dark in pairs}


def luminance(colour: str) -> float:
    """https://www.w3.org/TR/WCAG22/#dfn-relative-luminance"""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted([luminance(one), luminance(other)])
    return (lighter + 0.05) / (darker + 0.05)


GROUNDS = ("ground", "raised", "sunken")
INKS = ("text", "muted", "accent", "danger", "json-key", "json-string", "json-value")
TEXTS = [(ink, ground) for ink in INKS for ground in GROUNDS]
TEXTS += [
    ("text", "tint"),
    ("text", "line"),
    ("text", "danger-tint"),
    ("danger", "danger-tint"),
    ("muted", "danger-tint"),
]
TEXTS += [("on-accent", "accent"), ("on-accent", "accent-hover")]


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_colours_can_be_read(scheme: int) -> None:
    of = colours(scheme)
    assert [pair for pair in TEXTS if contrast(of[pair[0]], of[pair[1]]) < 4.5] == []
    assert [ground for ground in GROUNDS if contrast(of["edge"], of[ground]) < 3] == []
