"""What a model says, or a person pastes, is text."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from handler.http.page import STATIC
from tests.page.chat import Chat, answering, delta, stream

PROBES = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[click](javascript:alert(1))",
    "[click](data:text/html,<script>alert(1)</script>)",
    '[click](https://example.com"onmouseover=alert(1))',
    "```html\n<script>alert(1)</script>\n```",
    "| <img src=x onerror=alert(1)> |\n|---|\n| <svg onload=alert(1)> |",
    "**<b onclick=alert(1)>bold</b>**",
    "`<script>alert(1)</script>`",
    "> - # <iframe src=javascript:alert(1)>",
    "![x](https://tracker.example/pixel.png)",
]
TEXT = "a, blockquote, code, em, h3, h4, h5, h6, hr, li, ol, p, pre, strong, table, tbody, td, th, thead, tr, ul"
PARTS = "article, button, details, div, span, summary, svg, use"


@pytest.mark.parametrize("where", ["content", "reasoning_content"])
def test_probes_are_inert(chat: Chat, where: str) -> None:
    alerts: list[str] = []
    foreign: list[str] = []
    chat.page.on("dialog", lambda dialog: alerts.append(dialog.message))
    chat.page.on("request", lambda request: foreign.append(request.url) if "127.0.0.1" not in request.url else None)
    text = "\n\n".join(PROBES)
    chat.page.route("**/v1/chat/completions", answering(stream(delta(**{where: text}), delta("stop"))))
    chat.ask(text)
    chat.answers().first.locator(".actions").wait_for()
    transcript = chat.page.locator("#transcript")
    expect(transcript.locator(".user .bubble")).to_have_text(text, use_inner_text=True)
    assert transcript.locator(f":not({TEXT}, {PARTS})").count() == 0
    links = [link.get_attribute("href") or "" for link in transcript.locator("a").all()]
    assert [link for link in links if not link.startswith("https://")] == []
    every = "[...document.querySelectorAll('#transcript *')].flatMap((e) => e.getAttributeNames())"
    inline = f"{every}.filter((name) => /^on|^style$/.test(name))"
    assert chat.page.evaluate(inline) == []
    assert (alerts, foreign) == ([], [])


def test_a_tools_name_arguments_and_result_are_text(chat: Chat) -> None:
    call = {"index": 0, "id": "c", "function": {"name": PROBES[1], "arguments": json.dumps({PROBES[0]: PROBES[1]})}}
    chat.page.route("**/v1/chat/completions", answering(stream(delta(tool_calls=[call]), delta("tool_calls"))))
    chat.ask("Call.")
    expect(chat.page.locator(".call-name")).to_have_text(PROBES[1])
    assert chat.page.locator("#transcript :is(script, img)").count() == 0


# ---------------------------------------------------------------- modules by themselves


@pytest.fixture
def run(browser: Browser) -> Iterator[Callable[[str, Any], Any]]:
    """Runs a function over one of the modules in an empty page."""
    page: Page = browser.new_page()
    page.route("http://unit.example/", lambda route: route.fulfill(content_type="text/html", body="<!doctype html>"))
    page.route(
        "http://unit.example/*.js", lambda route: route.fulfill(path=STATIC / route.request.url.rsplit("/", 1)[1])
    )
    page.goto("http://unit.example/")
    yield lambda function, argument: page.evaluate(function, argument)
    page.close()


SHOW = """async (text) => {
  const { showMarkdown } = await import("/markdown.js");
  const parent = document.createElement("div");
  for (let end = 0; end <= text.length; end += 7) showMarkdown(parent, text.slice(0, end));
  showMarkdown(parent, text);
  for (const extra of parent.querySelectorAll(".code-head")) extra.remove();
  return parent.innerHTML;
}"""


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("one\ntwo\n\nthree", "<p>one\ntwo</p><p>three</p>"),
        ("# Title #\ntext", "<h3>Title</h3><p>text</p>"),
        (
            "a **b** *c* `d` _e_ f_g_h 2*3*4",
            "<p>a <strong>b</strong> <em>c</em> <code>d</code> <em>e</em> f_g_h 2<em>3</em>4</p>",
        ),
        (
            "- a\n- b\n  - c\n\n- d",
            "<ul><li><p>a</p></li><li><p>b</p><ul><li><p>c</p></li></ul></li><li><p>d</p></li></ul>",
        ),
        ("3. a\n4. b\n\nend", '<ol start="3"><li><p>a</p></li><li><p>b</p></li></ol><p>end</p>'),
        ("> a\n> b", "<blockquote><p>a\nb</p></blockquote>"),
        (
            "```js\nlet a = '<b>';\n```\nend",
            "<div class=\"code\"><pre><code>let a = '&lt;b&gt;';</code></pre></div><p>end</p>",
        ),
        ("~~~\nnever closed **x**", '<div class="code"><pre><code>never closed **x**</code></pre></div>'),
        (
            "a | b\n--|--\n1 | 2",
            '<div class="table"><table><thead><tr><th>a</th><th>b</th></tr></thead>'
            "<tbody><tr><td>1</td><td>2</td></tr></tbody></table></div>",
        ),
        ("***", "<hr>"),
        ("1 < 2 && 3 > 2", "<p>1 &lt; 2 &amp;&amp; 3 &gt; 2</p>"),
    ],
)
def test_markdown_is_shown_the_same_however_it_arrives(run: Callable[[str, Any], Any], text: str, html: str) -> None:
    assert run(SHOW, text) == html


@pytest.mark.parametrize("unit", ["> ", "- ", "1. ", "*", "`", "[", "**a", "_", "|", "# ", "```\n", "  - a\n"])
def test_markdown_of_any_depth_comes_to_an_end(run: Callable[[str, Any], Any], unit: str) -> None:
    assert run(
        'async (text) => { const { showMarkdown } = await import("/markdown.js");'
        ' showMarkdown(document.createElement("div"), text); return true; }',
        unit * 3000,
    )


READ = """async (pieces) => {
  const { readEvents } = await import("/sse.js");
  const bytes = pieces.map((piece) => Uint8Array.from(piece));
  const stream = new ReadableStream({ start(to) { bytes.forEach((piece) => to.enqueue(piece)); to.close(); } });
  const found = [];
  for await (const data of readEvents(stream)) found.push(data);
  return found;
}"""


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_events_are_read_wherever_they_are_cut(run: Callable[[str, Any], Any], end: str, size: int) -> None:
    lines = [": ping", "", "data: é€😀", "", "event: x", "data:a", "data: b", "", "data: [DONE]", "", "data: cut off"]
    whole = end.join(lines).encode()
    pieces = [list(whole[at : at + size]) for at in range(0, len(whole), size)]
    assert run(READ, pieces) == ["é€😀", "a\nb", "[DONE]"]
