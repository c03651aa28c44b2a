"""Dialogues with tools: which one a question needs, its arguments, its result in words, and when to call none."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from demo.arithmetic import arithmetic
from demo.dialogue import memory, outside, small_talk, unknown
from demo.facts import facts
from demo.offers import Tool, announce_tools, tool_result, write_calls, write_json
from demo.stories import stories
from demo.toolbox import Request, distractors, known, request, said_result
from demo.words import Dialogue, Message, assistant, user

SYSTEM_PROMPTS = (
    "You are a helpful assistant.", "Use the tools.", "You can call tools.", "Answer briefly.",
    "You are an assistant with tools.", "Be concise and precise.",
)  # fmt: skip
_RESULT_SHARE = 0.65  # of the calls that are followed by the result and an answer


def system_turn(rng: Random, announcement: str, prompts: tuple[str, ...] = SYSTEM_PROMPTS) -> Message:
    """The system message that announces something, one in three after a prompt."""
    prompt = f"{rng.choice(prompts)}\n" if rng.random() < 0.33 else ""
    return {"role": "system", "content": prompt + announcement}


def _offer(rng: Random, tools: list[Tool], question: str, near: Request) -> list[Tool]:
    """These tools among up to four altogether, in random order."""
    count = max(0, rng.randint(1, 4) - len(tools))
    offered = tools + distractors(rng, count, question, {tool["name"] for tool in tools}, near)
    rng.shuffle(offered)
    return offered


def _pair(rng: Random, held_out: bool) -> tuple[list[Request], str]:
    """Two requests in one question: of one tool, or of two."""
    first = request(rng, held_out) if rng.random() < 0.4 else known(rng, held_out)
    if first.shared:
        while True:
            second = known(rng, held_out)
            if second.shared and second.subject.split(" in ")[0] == first.subject.split(" in ")[0]:
                break
            if second.shared and first.subject.startswith("The price") and second.subject.startswith("The price"):
                break
        other = second.shared
        if other != first.shared:
            [key] = first.call["arguments"]
            call = {"name": first.tool["name"], "arguments": {key: other}}
            question = first.question.replace(first.shared, f"{first.shared} and {other}")
            subject = first.subject.replace(first.shared, other)
            return [first, replace(first, call=call, subject=subject)], question
    while True:
        second = request(rng, held_out)
        if second.tool["name"] != first.tool["name"] and second.results is not first.results:
            return [first, second], f"{first.question} {second.question}"


def _results(rng: Random, requests: list[Request]) -> Dialogue:
    """The tools' results, and the answer that tells them."""
    messages, told = [], []
    for item in requests:
        result = item.results(rng)
        messages.append(tool_result(result if isinstance(result, str) else write_json(result)))
        told.append(said_result(result, item.subject))
    return [*messages, assistant(" ".join(told))]


def calling(rng: Random, held_out: bool) -> Dialogue:
    """One to three questions about the same offer; the last answer is a call, or a result in words."""
    requests, question = _pair(rng, held_out) if rng.random() < 0.15 else ([request(rng, held_out)], "")
    question = question or requests[0].question
    tools = [item.tool for item in requests]
    if len(requests) == 2 and tools[0]["name"] == tools[1]["name"]:
        tools = tools[:1]
    offered = _offer(rng, tools, question, requests[0])
    dialogue: Dialogue = [system_turn(rng, announce_tools(offered))]
    if rng.random() < 0.25:
        dialogue += no_need(rng, False, offered)
    dialogue += [user(question), assistant(write_calls([item.call for item in requests]))]
    if rng.random() < _RESULT_SHARE:
        dialogue += _results(rng, requests)
    return dialogue


def no_need(rng: Random, held_out: bool, offered: list[Tool]) -> Dialogue:
    """A question that no tool is needed for, and its answer."""
    names = " ".join(tool["name"] + str(tool.get("description")) for tool in offered).lower()
    skills = [facts, facts, small_talk, unknown, outside]
    if not any(word in names for word in _MATHS):
        skills += [arithmetic, arithmetic]
    while True:
        dialogue = rng.choice(skills)(rng, held_out)
        if not _touches(dialogue[0]["content"], names):
            return dialogue


_MATHS = ("add", "sum", "plus", "multipl", "times", "calc", "eval", "arithm", "numbers")
_TOPICS = {  # what the question may say -> what a tool for it is called
    "weather": ("weather",), "time": ("time",), "late": ("time",), "price": ("price", "quote", "stock"),
    "cost": ("price", "quote", "stock"), "how much": ("price", "quote", "stock"), "translate": ("translat",),
    "say": ("translat",), "stock": ("stock", "price"), "buy": ("search", "buy"), "find": ("search", "find"),
    "who": ("search", "look"), "where": ("search", "look"), "tell me about": ("search", "look"),
    "recipe": ("recipe",), "cook": ("recipe", "search"), "recommend": ("search", "look"),
}  # fmt: skip


def _touches(question: str, names: str) -> bool:
    question = question.lower()
    return any(said in question and any(name in names for name in tools) for said, tools in _TOPICS.items())


def abstaining(rng: Random, held_out: bool) -> Dialogue:
    """Tools are offered, but none is needed: the answer is the same as without them."""
    offered = [item.tool for item in (request(rng, False) for _ in range(rng.randint(1, 3)))]
    offered = list({tool["name"]: tool for tool in offered}.values())
    dialogue: Dialogue = [system_turn(rng, announce_tools(offered))]
    talks = rng.choices((1, 2, 3), (5, 3, 2))[0]
    for _ in range(talks - 1):
        dialogue += no_need(rng, False, offered)
    if rng.random() < 0.12:
        return dialogue + rng.choice((memory, stories))(rng, held_out)
    return dialogue + no_need(rng, held_out, offered)


def tools(rng: Random, held_out: bool) -> Dialogue:
    """One of the two; a training example goes on to other questions about the same offer."""
    if rng.random() < 0.2:
        return abstaining(rng, held_out)
    return calling(rng, held_out)
