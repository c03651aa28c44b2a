"""Extraction by a JSON schema: a text in, an object out with the schema's properties, in the schema's order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from demo import values
from demo.extraction import Record, email, log_line, order
from demo.facts import facts
from demo.offers import Schema, announce_schema, write_json
from demo.tools import system_turn
from demo.values import INTEGER, NUMBER, STRING, Kind, enum
from demo.words import Dialogue, turn, words

Maker = Callable[[Random, bool], tuple[str, Record]]


@dataclass(frozen=True)
class Field:
    """A field of a record: the names that a schema may give it, its type, its values."""

    names: tuple[str, ...]
    schema: Schema
    kind: Kind


@dataclass(frozen=True)
class Domain:
    """A kind of text with its fields; a text says all of its fields, as {field}."""

    titles: tuple[str, ...]
    fields: dict[str, Field]
    texts: tuple[str, ...]
    held_out: tuple[str, ...]
    group: tuple[str, tuple[str, ...]] | None = None  # (name, fields) of what can be nested


_NAMES = ("name", "name", "full_name", "person")
_CITIES = ("city", "city", "town", "location", "place")
_WORK = words("teacher doctor nurse baker engineer lawyer painter pilot farmer cook writer driver student singer")
_ANIMALS = words("cat dog horse parrot rabbit hamster goat hen pony fish")
_COLOURS = ("red", "blue", "green", "white", "black")
_PRIORITIES = ("low", "medium", "high")
_FLAG: Schema = {"type": "boolean"}
_STRINGS: Schema = {"type": "array", "items": STRING}


def _flag(yes: str, no: str) -> Kind:
    return lambda rng, _: values.Value(True, yes) if rng.random() < 0.5 else values.Value(False, no)


DOMAINS = (
    Domain(
        ("Person", "Customer", "User", "Profile", "Contact"),
        {
            "name": Field(_NAMES, STRING, values.person),
            "age": Field(("age", "years", "age"), INTEGER, values.age),
            "city": Field(_CITIES, STRING, values.city),
            "job": Field(("job", "profession", "occupation", "work"), STRING, values.choice(*_WORK)),
            "email": Field(("email", "mail", "email_address"), STRING, values.address),
        },
        ("{name} is {age} years old, lives in {city} and works as a {job}. Mail: {email}",
         "My name is {name}, I am {age} years old. I am a {job} in {city}. Write to {email}.",
         "{name}, {age}, {job}, {city}, {email}", "{name} ({age}) is a {job} from {city}, {email}.",
         "Meet {name}, a {age} year old {job} from {city}. You can write to {email}.",
         "Name: {name}\nAge: {age}\nCity: {city}\nJob: {job}\nEmail: {email}"),
        ("I am {name} from {city}, {age} years old and a {job}. My mail is {email}.",
         "The {job} {name} is {age} and lives in {city} ({email})."),
    ),
    Domain(
        ("Person", "User", "Character"),
        {
            "name": Field(_NAMES, STRING, values.person),
            "age": Field(("age", "age", "years"), INTEGER, values.age),
        },
        ("{name} is {age} years old.", "{name} is {age}.", "{name}, {age}", "I am {name} and I am {age}.",
         "{name} is a {age} year old.", "My name is {name}. I am {age} years old."),
        ("{name} has turned {age}.", "This is {name}, {age} years old."),
    ),
    Domain(
        ("CalendarEvent", "Event", "Meeting", "Appointment"),
        {
            "title": Field(("name", "title", "event", "subject"), STRING, values.topic),
            "date": Field(("date", "day", "date", "when"), STRING, values.day),
            "time": Field(("time", "start", "start_time"), STRING, values.clock),
            "people": Field(("participants", "attendees", "names"), _STRINGS, values.listing(values.first_name)),
            "place": Field(("place", "location", "city", "where"), STRING, values.city),
        },
        ("{people} meet for {title} on {date} at {time} in {place}.",
         "{title} on {date} at {time} in {place}, with {people}.",
         "Event: {title}\nDate: {date}\nTime: {time}\nPlace: {place}\nWith: {people}",
         "On {date} at {time} there is {title} in {place}. {people} will come.",
         "{people} are going to {title} in {place} on {date} at {time}."),
        ("Please plan {title} for {people} on {date} at {time} in {place}.",
         "{people}: {title}, {date}, {time}, {place}"),
    ),
    Domain(
        ("CalendarEvent", "Event", "Meeting"),
        {
            "title": Field(("name", "title", "event"), STRING, values.event),
            "date": Field(("date", "day", "date", "when"), STRING, values.day),
            "people": Field(("participants", "attendees", "people"), _STRINGS, values.listing(values.first_name)),
        },
        ("{people} are going to a {title} on {date}.", "{people} have a {title} on {date}.",
         "On {date} {people} meet for a {title}.", "There is a {title} on {date} with {people}."),
        ("{people} will go to the {title} on {date}.", "A {title} is planned for {date}, for {people}."),
    ),
    Domain(
        ("Person", "Customer", "User", "Guest"),
        {
            "name": Field(_NAMES, STRING, values.person),
            "city": Field(_CITIES, STRING, values.city),
            "age": Field(("age", "years", "age"), INTEGER, values.age),
        },
        ("{name} lives in {city} and is {age} years old.", "{name} is {age} years old and lives in {city}.",
         "{name}, {age}, {city}", "{name} ({age}) from {city}", "I am {name}, {age}, from {city}.",
         "My name is {name}, I live in {city} and I am {age}."),
        ("{name} from {city} is {age} years old.", "In {city} lives {name}, who is {age}."),
    ),
    Domain(
        ("Product", "Item", "Article", "Offer"),
        {
            "product": Field(("product", "name", "item", "title"), STRING, values.product),
            "price": Field(("price", "cost", "amount"), NUMBER, values.price),
            "currency": Field(("currency",), enum("EUR", "USD", "GBP"), values.choice("EUR", "USD", "GBP")),
            "stock": Field(("in_stock", "available", "stock"), _FLAG, _flag("in stock", "sold out")),
            "colours": Field(("colours", "colors", "variants"), _STRINGS, values.listing(values.choice(*_COLOURS))),
            "id": Field(("id", "sku", "code", "number"), STRING, values.identifier),
        },
        ("The {product} ({id}) cost {price} {currency} and are {stock}. Colours: {colours}.",
         "{product}, {price} {currency}, {stock}, in {colours}, article {id}",
         "Article {id}: {product} in {colours} for {price} {currency}, {stock}.",
         "We have {product} in {colours}. Price: {price} {currency}, number {id}, {stock}."),
        ("Buy our {product} in {colours} for just {price} {currency}: {id}, {stock}.",
         "{id} {product}: {stock}, {price} {currency}, {colours}"),
        ("price", ("price", "currency")),
    ),
    Domain(
        ("Ticket", "Issue", "Task", "Report"),
        {
            "id": Field(("id", "ticket", "number", "key"), STRING, values.identifier),
            "topic": Field(("title", "subject", "topic", "summary"), STRING, values.topic),
            "priority": Field(("priority", "severity", "level"), enum(*_PRIORITIES), values.choice(*_PRIORITIES)),
            "owner": Field(("owner", "assignee", "name", "reporter"), STRING, values.person),
            "open": Field(("open", "is_open", "active"), _FLAG, _flag("open", "closed")),
            "tags": Field(("tags", "labels", "keywords"), _STRINGS, values.listing(values.thing)),
            "hours": Field(("hours", "effort", "estimate"), INTEGER, values.small),
        },
        ("Ticket {id}, {topic}, is {open}. Priority {priority}, {owner}, {hours} hours. Tags: {tags}.",
         "{id}: {topic} ({priority}, {open}) for {owner}, {hours} hours, tags {tags}",
         "{owner} works on {topic}, {id}, for {hours} hours. It is {open}, of {priority} priority. Tags: {tags}",
         "[{priority}] {id} {topic}\nOwner: {owner}\nStatus: {open}\nHours: {hours}\nTags: {tags}"),
        ("{topic} ({id}): {priority} priority, {open}, tags {tags}, {hours} hours by {owner}.",
         "The ticket {id} of {owner} is {open}: {topic}, {priority}, {hours} hours, {tags}."),
    ),
    Domain(
        ("Pet", "Animal"),
        {
            "pet": Field(("name", "pet", "pet_name"), STRING, values.first_name),
            "animal": Field(("animal", "species", "kind", "type"), STRING, values.choice(*_ANIMALS)),
            "age": Field(("age", "years"), INTEGER, values.small),
            "weight": Field(("weight", "weight_kg", "kg"), NUMBER, values.price),
            "owner": Field(("owner", "owner_name", "keeper"), STRING, values.person),
            "city": Field(_CITIES, STRING, values.city),
        },
        ("{pet} is a {animal} of {age} years and {weight} kg. It belongs to {owner} in {city}.",
         "{owner} from {city} has a {animal}, {pet}. It is {age} years old and weighs {weight} kg.",
         "{pet}, {animal}, {age} years, {weight} kg, owner {owner}, {city}"),
        ("The {animal} {pet} ({age} years, {weight} kg) lives with {owner} in {city}.",),
        ("owner", ("owner", "city")),
    ),
)  # fmt: skip

_CLASSIC = {  # the fields of the texts that extraction by names has
    "name": Field((*_NAMES, "customer_name", "buyer"), STRING, values.person),
    "city": Field(_CITIES, STRING, values.city),
    "order": Field(("order", "order_id", "order_number"), STRING, values.identifier),
    "quantity": Field(("quantity", "count", "pieces"), INTEGER, values.small),
    "product": Field(("product", "item", "goods"), STRING, values.product),
    "date": Field(("date", "day", "date"), STRING, values.day),
    "phone": Field(("phone", "phone_number", "telephone"), STRING, values.identifier),
    "total": Field(("total", "amount", "price"), NUMBER, values.price),
    "currency": Field(("currency",), enum("EUR", "USD", "GBP", "CHF", "SEK", "JPY"), values.day),
    "time": Field(("time", "at"), STRING, values.clock),
    "level": Field(("level", "severity"), enum("DEBUG", "INFO", "WARNING", "ERROR"), values.day),
    "service": Field(("service", "source"), STRING, values.topic),
    "request": Field(("request", "request_id"), STRING, values.identifier),
    "status": Field(("status", "status_code", "code"), INTEGER, values.small),
    "duration": Field(("duration", "duration_ms", "ms"), INTEGER, values.small),
}  # fmt: skip
_TITLES: dict[Maker, tuple[str, ...]] = {
    email: ("Email", "Request", "Message"),
    order: ("Order", "Invoice", "Purchase"),
    log_line: ("LogLine", "Log"),
}
_UNSAID = words("nickname website fax comment notes country company language middle_name discount")
_CUSTOMER = ("customer", ("name", "city", "phone"))

_ASK = (
    "Extract the information.", "Read the text.", "Return JSON.", "Extract the data.", "Give me JSON.",
    "Extract the {t}.", "Read the {t}.", "What does the text say?", "Extract the {t} as JSON.", "Parse this text.",
    "Extract information from this text.", "Extract the details.", "Fill in the fields.", "Extract: ",
)  # fmt: skip
_ASK_HELD_OUT = ("Extract the details of the {t}.", "Give me the {t} as JSON.", "Read this text, please.")
_PROMPTS = (
    "You are a helpful assistant.", "Extract the event information.", "Extract the information.",
    "You extract data from text.", "Answer as JSON.", "Extract the data.", "You are a careful reader.",
)  # fmt: skip


@dataclass(frozen=True)
class Property:
    """A property of the asked object: a field of the text, or an object of such."""

    name: str
    schema: Schema
    field: str = ""  # none: the text doesn't say it, and the value is null
    inside: tuple[Property, ...] = ()


Source = Domain | Maker
Values = dict[str, Any]  # field -> value


def _text(rng: Random, held_out: bool, source: Source) -> tuple[str, Values]:
    """A text of this source, and the value of every field."""
    if isinstance(source, Domain):
        drawn = {name: field.kind(rng, held_out) for name, field in source.fields.items()}
        text = rng.choice(source.held_out if held_out else source.texts)
        text = text.format(**{name: value.said for name, value in drawn.items()})
        return text[0].upper() + text[1:], {name: value.json for name, value in drawn.items()}
    while True:
        text, record = source(rng, held_out)
        total = str(record.get("total", "1"))
        if not total.endswith("0"):  # as a number, it would lose its last digit
            return text, {**record, **({"total": float(total)} if "total" in record else {})}


def _properties(rng: Random, source: Source) -> tuple[Property, ...]:
    """Some of the fields, in random order, with names of their own; sometimes a group of them is nested."""
    if isinstance(source, Domain):
        fields, group = source.fields, source.group
    else:
        shown = source(rng, False)[1]
        fields, group = {name: _CLASSIC[name] for name in shown}, (_CUSTOMER if "name" in shown else None)
        if rng.random() < 0.5 and "total" in fields:
            fields = {name: field for name, field in fields.items() if name != "total"}
    inside: tuple[Property, ...] = ()
    chosen = list(fields)
    if group and rng.random() < 0.35:
        members = [name for name in group[1] if name in fields]
        inside = _named(rng, fields, members)
        chosen = [name for name in chosen if name not in members]
    chosen = rng.sample(chosen, min(len(chosen), rng.choice((1, 2, 2, 3, 3, 4, 5))))
    found = [*_named(rng, fields, chosen)]
    if group and inside:
        found.insert(rng.randint(0, len(found)), Property(group[0], {}, inside=inside))
        found = [item for item in found if item.inside or item.name != group[0]]
    if rng.random() < 0.08:
        found.insert(rng.randint(0, len(found)), Property(rng.choice(_UNSAID), _nullable(STRING)))
    return tuple(found)


def _nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _named(rng: Random, fields: dict[str, Field], chosen: list[str]) -> tuple[Property, ...]:
    found: dict[str, Property] = {}
    for field in chosen:
        name = rng.choice(fields[field].names)
        name = field if name in found else name
        if rng.random() < 0.08:
            name = name.split("_")[0] + "".join(part.capitalize() for part in name.split("_")[1:])
        if name not in found:
            schema = fields[field].schema
            found[name] = Property(name, _nullable(schema) if rng.random() < 0.03 else schema, field)
    return tuple(found.values())


@dataclass(frozen=True)
class Style:
    """How a library writes schemas: with titles or descriptions, what it closes, where it puts nested ones."""

    titles: bool
    descriptions: bool
    closed: bool
    required: bool
    definitions: bool
    dialect: bool


def _style(rng: Random) -> Style:
    pydantic = rng.random() < 0.35
    return Style(
        titles=pydantic,
        descriptions=rng.random() < 0.12,
        closed=rng.random() < 0.5,
        required=pydantic or rng.random() < 0.85,
        definitions=pydantic and rng.random() < 0.6,
        dialect=not pydantic and rng.random() < 0.06,
    )


def _words_of(name: str) -> str:
    return "".join(f" {letter}" if letter.isupper() else letter for letter in name).replace("_", " ").lower()


def _schema(properties: tuple[Property, ...], title: str, style: Style) -> Schema:
    """The schema in this style; members come in the order in which the libraries write them."""
    definitions: Schema = {}
    written: Schema = {}
    for item in properties:
        if item.inside:
            inner = _schema(item.inside, item.name.capitalize(), style)
            if style.definitions:
                definitions[item.name.capitalize()] = inner
                inner = {"$ref": f"#/$defs/{item.name.capitalize()}"}
            written[item.name] = inner
            continue
        written[item.name] = {
            **({"title": _words_of(item.name).title()} if style.titles else {}),
            **item.schema,
            **({"description": f"The {_words_of(item.name)}"} if style.descriptions else {}),
        }
    required = {"required": list(written)} if style.required else {}
    closed = {"additionalProperties": False} if style.closed else {}
    if style.titles:
        named = {"$defs": definitions} if definitions else {}
        return {**named, **closed, "properties": written, **required, "title": title, "type": "object"}
    dialect = {"$schema": "http://json-schema.org/draft-07/schema#"} if style.dialect else {}
    return {**dialect, "type": "object", "properties": written, **required, **closed}


def _object(properties: tuple[Property, ...], found: Values) -> Values:
    return {item.name: _object(item.inside, found) if item.inside else found.get(item.field) for item in properties}


def _question(rng: Random, held_out: bool, text: str, title: str, names: list[str]) -> str:
    form = rng.random()
    if form < 0.15 and not held_out:
        return text
    ask = rng.choice(_ASK_HELD_OUT if held_out else _ASK)
    if form > 0.9 and not held_out:
        ask = f"Extract {values.listed(names)}{rng.choice(('.', ' as JSON.'))}"
    ask = ask.format(t=_words_of(title).strip()).strip()
    return f"{text}\n{ask}" if rng.random() < 0.2 else f"{ask}{rng.choice((chr(10), chr(10), ' '))}{text}"


def reading(rng: Random, held_out: bool) -> Dialogue:
    """One to three texts, each read by the same schema; only the last is held out."""
    source: Source = rng.choice((email, order, log_line)) if rng.random() < 0.4 else rng.choice(DOMAINS)
    properties = _properties(rng, source)
    title = rng.choice(source.titles if isinstance(source, Domain) else _TITLES[source])
    schema = _schema(properties, title, _style(rng))
    dialogue: Dialogue = [system_turn(rng, announce_schema(schema), _PROMPTS)]
    count = rng.choices((1, 2, 3), (6, 3, 1))[0]
    for index in range(count):
        held = held_out and index == count - 1
        text, found = _text(rng, held, source)
        asked = _question(rng, held, text, title, [item.name for item in properties])
        dialogue += turn(asked, write_json(_object(properties, found)))
    return dialogue


def answering(rng: Random, held_out: bool) -> Dialogue:
    """A question of the fact sheet, whose answer is wanted as the one string of an object."""
    name = rng.choice(("answer", "answer", "text", "reply", "response"))
    schema = _schema((Property(name, STRING, name),), name.capitalize(), _style(rng))
    [question, answer] = facts(rng, held_out)
    return [system_turn(rng, announce_schema(schema), _PROMPTS[:1]), *turn(
        question["content"], write_json({name: answer["content"]}))]  # fmt: skip


def schemas(rng: Random, held_out: bool) -> Dialogue:
    """One of the two."""
    return answering(rng, held_out) if rng.random() < 0.08 else reading(rng, held_out)
