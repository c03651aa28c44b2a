"""The page as a person uses it, and servers' answers for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Locator, Page, Route

# Notes each length of the answer that is seen while it is still being made.
WATCH = """
globalThis.lengths = new Set();
new MutationObserver(() => {
  const growing = document.querySelector("[aria-busy] > .prose");
  if (growing) globalThis.lengths.add(growing.textContent.length);
}).observe(document, { subtree: true, childList: true, characterData: true });
"""
# Presses a key as soon as there is a word.
PRESS = """
new MutationObserver((_, observer) => {
  if (!document.querySelector("[aria-busy] > .prose")?.textContent) return;
  observer.disconnect();
  document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "KEY", bubbles: true }));
}).observe(document, { subtree: true, childList: true, characterData: true });
"""


class Chat:
    """A page that was opened."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.message = page.get_by_role("textbox", name="Message")
        page.goto(url)

    def ask(self, text: str) -> None:
        """Write and send."""
        self.message.fill(text)
        self.message.press("Enter")

    def answers(self) -> Locator:
        """The answers that are complete."""
        return self.page.locator(".assistant:not([aria-busy])")

    def answer(self, number: int = 0) -> str:
        """Wait for a complete answer and read what the model says in it."""
        answer = self.answers().nth(number)
        answer.locator(".actions, .failure").first.wait_for()
        return answer.locator("> .prose").inner_text()

    def settings(self) -> Locator:
        """Open the settings."""
        self.page.get_by_role("button", name="Settings").click()
        return self.page.get_by_role("dialog", name="Settings")

    def slow_down(self, model_dir: Any) -> None:
        """Make the model write until its context is full, and much for each token."""
        ends = json.loads((model_dir / "firebrick.json").read_text())["tokenizer"]["eos_token_ids"]
        extra = {"logit_bias": {str(id): -100 for id in ends}, "logprobs": True, "top_logprobs": 20}
        settings = self.settings()
        settings.get_by_text("More parameters").click()
        settings.get_by_label("Members of the request, as JSON").fill(json.dumps(extra))


def delta(finish_reason: str | None = None, **members: Any) -> dict[str, Any]:
    """A chunk as OpenAI writes it."""
    return {"choices": [{"index": 0, "delta": members, "finish_reason": finish_reason}]}


def stream(*chunks: dict[str, Any], done: bool = True) -> str:
    """A stream with such chunks."""
    events = [json.dumps(chunk) for chunk in chunks] + ["[DONE]"] * done
    return "".join(f"data: {event}\n\n" for event in events)


def answering(*bodies: str, asked: list[Any] | None = None) -> Callable[[Route], None]:
    """A server that answers a stream to each request, in turn; the last one again and again."""
    requests: list[Any] = [] if asked is None else asked

    def answer(route: Route) -> None:
        requests.append(route.request.post_data_json)
        body = bodies[min(len(requests), len(bodies)) - 1]
        route.fulfill(status=200, content_type="text/event-stream", body=body)

    return answer
