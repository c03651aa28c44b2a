"""The tools that a dialogue offers: well-known ones, and others put together from verbs and nouns."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from demo import values
from demo.offers import Call, Schema, Tool
from demo.values import INTEGER, NUMBER, STRING, Kind, Value, enum
from demo.words import draw, pseudo_word, words


@dataclass(frozen=True)
class Parameter:
    """A parameter of a well-known tool: its usual names, its type and what its values are."""

    names: tuple[str, ...]
    schema: Schema
    kind: Kind
    about: tuple[str, ...] = ()


@dataclass(frozen=True)
class Known:
    """A tool that many clients' examples have.

    A frame names the values that it says as {0}, {1}, …: a parameter that it doesn't name is optional and left out.
    """

    names: tuple[str, ...]
    about: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    ask: tuple[str, ...]
    held_out: tuple[str, ...]
    subject: str  # how the answer to its result begins
    results: Callable[[Random], object]
    clash: str = "^$"  # questions that belong to it, as a pattern


@dataclass(frozen=True)
class Request:
    """A tool with a question that needs it, and what follows."""

    tool: Tool
    question: str
    call: Call
    subject: str
    results: Callable[[Random], object]
    shared: str = ""  # the value that another one can stand beside, as in "the weather in Oslo and Rome"
    clash: str = "^$"
    parts: tuple[str, str] | None = None  # verb and noun of a tool that no client has


def _weather(rng: Random) -> object:
    degrees, sky = rng.randint(-20, 40), rng.choice(words("sunny cloudy rainy windy clear foggy snowy stormy"))
    key = rng.choice(("temperature", "temp", "degrees", "temperature_c"))
    return rng.choice((
        f"{degrees} degrees", sky, f"{degrees}°C", f"{sky}, {degrees} degrees", {key: degrees},
        {key: degrees, rng.choice(("condition", "conditions", "weather", "sky")): sky},
        {key: str(degrees), "unit": rng.choice(("celsius", "C", "F"))}, f"It is {sky}.", f"{degrees}",
    ))  # fmt: skip


def _sum(rng: Random) -> object:
    result = values.number(rng, False).json
    return rng.choice((str(result), {"result": result}, result))


def _found(rng: Random) -> object:
    what = values.thing(rng, False).said
    return rng.choice((
        f"{rng.randint(2, 50)} results", {"title": what}, {"title": what, "price": values.price(rng, False).json},
        {"results": rng.randint(1, 99)}, f"{what.capitalize()} is a {values.thing(rng, False).said}.", what,
    ))  # fmt: skip


def _done(rng: Random) -> object:
    number = values.identifier(rng, False).json
    status = rng.choice(words("ok done sent success created confirmed accepted"))
    return rng.choice((
        status, {"status": status}, {"id": number}, {"status": status, "id": number}, {"ok": True},
        {"reference": number}, number,
    ))  # fmt: skip


def _clock(rng: Random) -> object:
    time = values.clock(rng, False).json
    return rng.choice((time, {"time": time}, f"It is {time}."))


def _price(rng: Random) -> object:
    amount = values.price(rng, False).json
    return rng.choice((
        str(amount), {"price": amount}, {"price": amount, "currency": rng.choice(("USD", "EUR"))}, f"{amount} USD",
    ))  # fmt: skip


_CITY = Parameter(
    ("city", "location", "city", "location", "place", "town"), STRING, values.city,
    ("The city", "Name of the city", "The city, e.g. Oslo", "The city and state, e.g. San Francisco, CA", "City name"),
)  # fmt: skip
_UNIT = Parameter(
    ("unit", "units"), enum("celsius", "fahrenheit"), values.choice("celsius", "fahrenheit"),
    ("Unit of the temperature", "The temperature unit"),
)  # fmt: skip
_A = Parameter(("a", "x", "first", "a"), NUMBER, values.number, ("The first number", "First operand"))
_B = Parameter(("b", "y", "second", "b"), NUMBER, values.number, ("The second number", "Second operand"))

KNOWN = (
    Known(
        ("get_weather", "get_current_weather", "getWeather", "weather", "get_weather", "fetch_weather"),
        ("Get the weather in a city", "Get the current weather", "Get the current weather in a given location",
         "Get the weather.", "Returns the current weather of a city", "Weather in a city"),
        (_CITY, _UNIT),
        ("What is the weather in {0}?", "What's the weather in {0}?", "How is the weather in {0}?",
         "Weather in {0}?", "What's the weather like in {0}?", "Is it raining in {0}?", "How warm is it in {0}?",
         "Tell me the weather in {0}.", "What is the weather in {0} in {1}?", "Weather in {0} in {1}, please.",
         "How warm is it in {0}, in {1}?", "What is the weather like in {0} today?", "Will I need a coat in {0}?",
         "what is the weather in {0}", "What's the weather in {0} right now?", "How's the weather in {0}?",
         "What's the temperature in {0}?"),
        ("How is the weather today in {0}?", "Can you tell me the weather in {0}?", "How cold is it in {0}?",
         "What's the temperature in {0} in {1}?"),
        "The weather in {0}", _weather, "weather|temperature|warm|rain",
    ),
    Known(
        ("add", "add_numbers", "sum", "add", "plus"),
        ("Add two numbers", "Adds two numbers", "Add two integers.", "The sum of two numbers"), (_A, _B),
        ("What is {0} + {1}?", "Add {0} and {1}.", "What is {0} plus {1}?", "What's {0} + {1}?", "{0} + {1}",
         "How much is {0} + {1}?", "Please add {0} and {1}.", "Use the tool to add {0} and {1}.",
         "What is the sum of {0} and {1}?", "Calculate {0} + {1}."),
        ("Add {0} to {1}, please.", "How much is {0} plus {1}?", "Compute {0} + {1}."),
        "The result", _sum, r"\+|plus|[Aa]dd|sum|\d [-/] \d",
    ),
    Known(
        ("multiply", "multiply_numbers", "times", "multiply", "product"),
        ("Multiply two numbers", "Multiplies two integers.", "The product of two numbers", "Multiply a and b"),
        (_A, _B),
        ("What is {0} * {1}?", "Multiply {0} by {1}.", "What is {0} times {1}?", "What's {0} x {1}?",
         "{0} * {1}", "Multiply {0} and {1}.", "What is the product of {0} and {1}?", "Calculate {0} * {1}.",
         "How much is {0} times {1}?"),
        ("Please multiply {0} by {1}.", "Compute {0} * {1}.", "What's {0} times {1}?"),
        "The result", _sum, r"\*| times | x |[Mm]ultipl|product| by \d|\d [-/] \d",
    ),
    Known(
        ("calculate", "calculator", "evaluate", "calc"),
        ("Evaluate an expression", "A calculator", "Calculate an arithmetic expression", "Does arithmetic"),
        (Parameter(("expression", "formula", "expr"), STRING,
                   lambda rng, _: (lambda text: Value(text, text))(
                       f"{rng.randrange(1000)} {rng.choice('+-*/')} {rng.randrange(1000)}"),
                   ("The expression, e.g. 2 + 2", "An arithmetic expression")),),
        ("What is {0}?", "Calculate {0}.", "What's {0}?", "How much is {0}?", "Compute {0}", "{0}", "{0} = ?"),
        ("Please calculate {0}.", "Work out {0}.", "Can you compute {0}?"),
        "The result", _sum, r"\d ?[-+*/x] ?\d|plus| times |\d and \d|\d by \d|\d to \d|[Cc]alc",
    ),
    Known(
        ("search", "web_search", "search_web", "searchWeb", "lookup", "find", "search_documents"),
        ("Search the web", "Search for documents", "Looks something up", "Search.", "Search the internet"),
        (Parameter(("query", "q", "query", "search"), STRING, values.thing, ("The search query", "The query")),
         Parameter(("limit", "count", "max_results"), INTEGER, values.small, ("How many results", "Most results"))),
        ("Search for {0}.", "Search the web for {0}.", "Look up {0}.", "Find {0}.", "Search {0}", "Google {0}.",
         "Please search for {0}.", "Find {1} results for {0}.", "Search for {0}, at most {1} results."),
        ("Could you look up {0}?", "Search the internet for {0}.", "Please find {0}."),
        "I found", _found, "[Ss]earch|[Ll]ook|[Ff]ind|[Ff]ound",
    ),
    Known(
        ("send_email", "sendEmail", "send_mail", "email", "send_message"),
        ("Send an email", "Send an e-mail to somebody", "Sends a mail.", "Send a message"),
        (Parameter(("to", "recipient", "to", "address"), STRING, values.address, ("The recipient", "E-mail address")),
         Parameter(("subject", "title", "subject"), STRING, values.topic, ("The subject", "Subject line")),
         Parameter(("body", "text", "message", "content"), STRING, values.thing, ("The text", "The mail's text"))),
        ("Send an email to {0} about {1}.", "Email {0} with the subject {1}.", "Send {0} a mail with subject {1}.",
         "Write to {0}, subject {1}.", "Send an email to {0} with subject {1} and text {2}.",
         "Mail {0}, subject {1}, saying {2}.", "Send an email to {0} with subject \"{1}\".",
         "Send a mail to {0}, subject {1}."),
        ("Please send an email to {0} about {1}.", "Can you mail {0}, subject {1}?"),
        "Done", _done,
    ),
    Known(
        ("get_time", "get_current_time", "getTime", "current_time", "time"),
        ("Get the time in a city", "Get the current time", "Current time of a place"),
        (Parameter((*_CITY.names, "timezone"), STRING, values.city, _CITY.about),),
        ("What time is it in {0}?", "What's the time in {0}?", "Time in {0}?", "Tell me the time in {0}.",
         "How late is it in {0}?", "What is the time in {0}?", "What is the current time in {0}?"),
        ("Can you tell me the time in {0}?", "What is the local time in {0}?"),
        "The time in {0}", _clock, "time|late",
    ),
    Known(
        ("get_stock_price", "getStockPrice", "stock_price", "get_price", "quote"),
        ("Get the price of a stock", "Current stock price", "Get the stock price of a symbol"),
        (Parameter(("symbol", "ticker", "symbol", "stock"), STRING, values.symbol,
                   ("The ticker symbol", "Stock symbol", "Symbol, e.g. AAPL")),),
        ("What is the price of {0}?", "What's the stock price of {0}?", "How much is {0}?", "Price of {0}?",
         "What does {0} cost?", "What is {0} trading at?", "Get the price of {0}.", "Stock price of {0}, please."),
        ("How much does one share of {0} cost?", "Tell me the price of {0}."),
        "The price of {0}", _price, "price|cost|[Hh]ow much|stock",
    ),
    Known(
        ("book_table", "reserve_table", "bookTable", "make_reservation", "book_restaurant"),
        ("Book a table", "Book a table at a restaurant", "Reserve a table."),
        (Parameter(("name", "restaurant", "name", "guest"), STRING, values.person, ("Name of the guest", "The name")),
         Parameter(("time", "at", "time"), STRING, values.clock, ("The time", "When, e.g. 19:00")),
         Parameter(("people", "guests", "party_size", "seats"), INTEGER, values.small, ("How many people", "Guests"))),
        ("Book a table for {2} at {1} for {0}.", "Book a table for {0} at {1}, {2} people.",
         "Reserve a table at {1} for {2} people, name {0}.", "A table for {2} at {1}, please, for {0}.",
         "Book a table for {2} people at {1} under the name {0}.", "I need a table for {2} at {1}. My name is {0}."),
        ("Please book a table for {2} people at {1}, name {0}.", "Can I have a table for {2} at {1} for {0}?"),
        "Done", _done,
    ),
    Known(
        ("create_event", "add_event", "createEvent", "schedule_meeting", "add_to_calendar"),
        ("Create an event in the calendar", "Add a meeting", "Schedule a meeting."),
        (Parameter(("title", "name", "summary"), STRING, values.topic, ("The title", "What it is")),
         Parameter(("date", "day", "when"), STRING, values.day, ("The day", "Date of the event")),
         Parameter(("participants", "attendees", "people"), {"type": "array", "items": STRING},
                   values.listing(values.first_name), ("Who comes", "Names"))),
        ("Create an event {0} on {1} with {2}.", "Schedule {0} on {1} with {2}.", "Add {0} on {1}.",
         "Put {0} on {1} into my calendar.", "Plan {0} with {2} on {1}."),
        ("Please schedule {0} on {1} with {2}.", "Add an event {0} on {1}."),
        "Done", _done,
    ),
    Known(
        ("translate", "translate_text", "translateText"),
        ("Translate a text", "Translates into another language."),
        (Parameter(("text", "word", "text"), STRING, values.thing, ("The text", "What to translate")),
         Parameter(("language", "target", "to"), STRING,
                   values.choice(*words("French German Spanish Italian Polish Chinese Japanese English")),
                   ("The language", "Target language"))),
        ("Translate {0} into {1}.", "Translate {0} to {1}.", "How do you say {0} in {1}?", "What is {0} in {1}?"),
        ("Please translate {0} into {1}.", "Say {0} in {1}."),
        "It is", _found, "[Tt]ranslate| in |say",
    ),
    Known(
        ("set_timer", "start_timer", "setTimer", "set_alarm"),
        ("Set a timer", "Starts a timer.", "Set a timer in minutes"),
        (Parameter(("minutes", "duration", "minutes"), INTEGER, values.small, ("Minutes", "How long")),
         Parameter(("label", "name"), STRING, values.thing, ("The label", "What it is for"))),
        ("Set a timer for {0} minutes.", "Wake me in {0} minutes.", "Timer, {0} minutes.",
         "Set a timer for {0} minutes for {1}.", "Start a timer of {0} minutes, label {1}."),
        ("Please set a timer for {0} minutes.", "Remind me of {1} in {0} minutes."),
        "Done", _done,
    ),
)  # fmt: skip

_CLOSED = {"additionalProperties": False}


def _name(rng: Random, parts: list[str]) -> str:
    style = rng.random()
    if style < 0.75:
        return "_".join(parts)
    if style < 0.93:
        return parts[0] + "".join(part.capitalize() for part in parts[1:])
    return "-".join(parts)


def parameters_schema(rng: Random, properties: Schema, required: list[str]) -> Schema:
    """The schema of a tool's parameters, with or without what's optional in it; one in six as pydantic writes it."""
    needed = {"required": required} if required and rng.random() < 0.9 else {}
    if rng.random() < 0.16:
        titled = {name: {"title": name.replace("_", " ").title(), **schema} for name, schema in properties.items()}
        return {"properties": titled, **needed, "type": "object"}
    schema: Schema = {"type": "object", "properties": properties, **needed}
    closed = schema | _CLOSED if rng.random() < 0.3 else schema
    return closed | {"$schema": "http://json-schema.org/draft-07/schema#"} if rng.random() < 0.05 else closed


def known(rng: Random, held_out: bool, tool: Known | None = None) -> Request:
    """A request for a well-known tool."""
    tool = tool or rng.choice(KNOWN)
    frame = rng.choice(tool.held_out if held_out else tool.ask)
    drawn = [parameter.kind(rng, held_out) for parameter in tool.parameters]
    properties, required, arguments = {}, [], {}
    share = rng.random()
    for index, parameter in enumerate(tool.parameters):
        named = f"{{{index}}}" in frame
        if not named and rng.random() < 0.5:
            continue
        name = rng.choice([name for name in parameter.names if name not in properties])
        schema = dict(parameter.schema)
        value = drawn[index]
        if schema == NUMBER and isinstance(value.json, int) and share < 0.5:
            schema["type"] = "integer" if all(isinstance(v.json, int) for v in drawn) else "number"
        if parameter.about and rng.random() < 0.4:
            schema["description"] = rng.choice(parameter.about)
        properties[name] = schema
        if named:
            arguments[name] = value.json
        if all(f"{{{index}}}" in ask for ask in tool.ask):
            required.append(name)
    offer: Tool = {"name": rng.choice(tool.names)}
    if rng.random() < 0.93:
        offer["description"] = rng.choice(tool.about)
    offer["parameters"] = parameters_schema(rng, properties, required)
    said = [value.said for value in drawn]
    subject = tool.subject.format(*said)
    shared = said[0] if "{0}" in tool.subject and frame.count("{") == 1 else ""
    call = {"name": offer["name"], "arguments": arguments}
    return Request(offer, frame.format(*said), call, subject, tool.results, shared, tool.clash)


_READING = words("get find list fetch show read check count load query lookup")
_ACTING = words(
    "create delete update send open close start stop cancel move copy rename print order buy pay lock unlock "
    "play pause share save upload download install restart assign approve archive add remove set enable disable"
)
_NOUNS = words(
    "invoice order user ticket file folder note task account customer product room door light lamp printer server "
    "song playlist photo report event meeting message contact flight hotel car ticket parcel payment refund page "
    "database table job queue function device sensor alarm camera window garage shop article comment review recipe"
)
_SAYINGS: dict[str, tuple[Kind, Schema]] = {
    "id": (values.identifier, STRING),
    "name": (values.person, STRING),
    "city": (values.city, STRING),
    "date": (values.day, STRING),
    "email": (values.address, STRING),
    "count": (values.integer, INTEGER),
    "size": (values.integer, INTEGER),
    "level": (values.small, INTEGER),
    "limit": (values.small, INTEGER),
    "price": (values.price, NUMBER),
    "amount": (values.price, NUMBER),
    "weight": (values.number, NUMBER),
    "title": (values.topic, STRING),
    "owner": (values.person, STRING),
    "label": (values.thing, STRING),
    "product": (values.product, STRING),
    "time": (values.clock, STRING),
    "colour": (values.choice(*words("red blue green white black")), enum(*words("red blue green white black"))),
    "priority": (values.choice(*words("low medium high")), enum(*words("low medium high"))),
    "mode": (values.choice(*words("fast slow auto")), enum(*words("fast slow auto"))),
    "format": (values.choice(*words("pdf csv json text")), enum(*words("pdf csv json text"))),
    "tags": (values.listing(values.thing), {"type": "array", "items": STRING}),
    "names": (values.listing(values.first_name), {"type": "array", "items": STRING}),
    "cities": (values.listing(values.city), {"type": "array", "items": STRING}),
}
_PREFIXES = words("max min new old start end first last main target")
_FLAGS = words("urgent public private quiet force notify paid active dry backup")
_JOINS = ("{k} {v}", "{k}: {v}", "{k} = {v}", "with {k} {v}", "the {k} is {v}", "with the {k} {v}", "{k} is {v}")
_JOINS_HELD_OUT = ("{k} being {v}", "a {k} of {v}")


def _invented_parameter(rng: Random, held_out: bool, taken: Schema) -> tuple[str, Schema, Value]:
    """(its name, its schema, a value)."""
    while True:
        base = rng.choice(list(_SAYINGS))
        kind, schema = _SAYINGS[base]
        form = rng.random()
        name = base
        if form < 0.25:
            name = f"{rng.choice(_PREFIXES)}_{base}"
        elif form < 0.45:
            name = (
                f"{draw(rng, held_out, pseudo_word)}_{base}" if rng.random() < 0.5 else draw(rng, held_out, pseudo_word)
            )
        if name not in taken:
            return name, dict(schema), kind(rng, held_out)


def _command(rng: Random, verb: str, noun: str, reading: bool) -> str:
    if reading and rng.random() < 0.4:
        return rng.choice((f"I need the {noun}", f"What about the {noun}", f"Give me the {noun}"))
    article = rng.choice(("the", "a", "the", "my", "this"))
    politeness = rng.choice(("", "", "", "Please ", "Can you ", "I want to "))
    command = f"{politeness}{verb} {article} {noun}"
    return command[0].upper() + command[1:]


def invented(rng: Random, held_out: bool, verb: str = "", noun: str = "") -> Request:
    """A request for a tool that no client has, named by a verb and a noun."""
    verb = verb or rng.choice(_READING if rng.random() < 0.35 else _ACTING)
    reading = verb in _READING
    familiar = not held_out and rng.random() < 0.6
    noun = noun or draw(rng, held_out, lambda r: r.choice(_NOUNS) if familiar else pseudo_word(r))
    command = _command(rng, verb, noun, reading)
    properties: Schema = {}
    required, arguments, phrases = [], {}, []
    for _ in range(rng.choices((0, 1, 2, 3, 4), (1, 5, 6, 3, 1))[0]):
        if rng.random() < 0.15:
            name = rng.choice(_FLAGS)
            if name in properties:
                continue
            properties[name], flag = {"type": "boolean"}, rng.random() < 0.6
            phrase = rng.choice((f"{name}: {'yes' if flag else 'no'}", f"{name} {'on' if flag else 'off'}",
                                 name if flag else f"not {name}"))  # fmt: skip
            value = Value(flag, "")
        else:
            name, properties[name], value = _invented_parameter(rng, held_out, properties)
            if rng.random() < 0.25:
                properties[name]["description"] = f"The {name.replace('_', ' ')}"
            joins = _JOINS_HELD_OUT if held_out and rng.random() < 0.3 else _JOINS
            phrase = rng.choice(joins).format(k=name.replace("_", " "), v=value.said)
        if rng.random() < 0.2:
            continue  # it's optional, and not said
        phrases.append((name, phrase))
        arguments[name] = value.json
        if rng.random() < 0.8:
            required.append(name)
    if rng.random() < 0.3:
        rng.shuffle(phrases)
    question = _question(rng, command, [phrase for _, phrase in phrases])
    offer: Tool = {"name": _name(rng, [verb, noun] if rng.random() < 0.85 else [noun, verb])}
    if rng.random() < 0.85:
        about = f"{verb.capitalize()} {rng.choice(('a', 'the', 'one'))} {noun}"
        offer["description"] = about + rng.choice(("", ".", " by its data", " of the shop"))
    offer["parameters"] = parameters_schema(rng, properties, required)
    subject, results = ("I found", _found) if reading else ("Done", _done)
    return Request(
        offer, question, {"name": offer["name"], "arguments": arguments}, subject, results, parts=(verb, noun)
    )


def _question(rng: Random, command: str, phrases: list[str]) -> str:
    if not phrases:
        return command + "."
    if rng.random() < 0.25 and not phrases[0].startswith("the"):
        return f"{command} ({', '.join(phrases)})."
    return f"{command}{rng.choice((', ', ', ', ' ', ': '))}{rng.choice((', ', ', ', ' and ')).join(phrases)}."


def request(rng: Random, held_out: bool) -> Request:
    """A request for one of the two kinds of tools."""
    return (known if rng.random() < 0.5 else invented)(rng, held_out)


def distractors(rng: Random, count: int, question: str, taken: set[str], near: Request | None = None) -> list[Tool]:
    """Tools that a question doesn't need; some share the verb or the noun with the one that it needs."""
    found: list[Tool] = []
    while len(found) < count:
        other = request(rng, False)
        if near and near.parts and rng.random() < 0.4:
            verb, noun = near.parts
            other = invented(rng, False, verb=verb) if rng.random() < 0.5 else invented(rng, False, noun=noun)
        same = other.parts is not None and near is not None and other.parts == near.parts
        if same or other.tool["name"] in taken or re.search(other.clash, question):
            continue
        found.append(other.tool)
        taken = taken | {other.tool["name"]}
    return found


def said_result(result: Any, subject: str) -> str:
    """The answer in words: the result copied, an object's members one after another."""
    if isinstance(result, dict):
        told = ", ".join(f"{key.replace('_', ' ')} {_said(value)}" for key, value in result.items())
        return f"{subject}: {told}."
    text = _said(result)
    return text if text.endswith(".") else f"{subject}: {text}."


def _said(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
