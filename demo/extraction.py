"""Extraction: a short generated e-mail, order or log line in, a JSON object with the asked fields out.

Every value stands in the text exactly as it is asked for, so a right answer is a right copy.
"""

from __future__ import annotations

import json
from random import Random

from demo.words import Dialogue, draw, full_name, given_name, place_name, turn, words

Record = dict[str, str | int]  # field -> value, as it stands in the text

_PRODUCTS = words(
    "lamps chairs tables mirrors clocks kettles baskets candles blankets cushions vases bowls cups plates "
    "shelves rugs curtains boxes brushes hammers ladders ropes tents boots gloves scarves hats pencils "
    "notebooks bicycles"
)
_MATERIALS = words("brass oak glass steel cotton paper silver copper leather woollen red blue green white black")
_CURRENCIES = ("EUR", "USD", "GBP", "CHF", "SEK", "JPY")
_SERVICES = words("billing search login cart gateway mail images payments users orders reports cache")
_LEVELS = ("INFO", "WARNING", "ERROR", "DEBUG")
MONTHS = words("January February March April May June July August September October November December")

_ASK = (
    "Extract {fields} as JSON.", "Give me {fields} as JSON.", "Return {fields} as JSON.",
    "JSON with {fields}, please.", "Read the text and give {fields} as JSON.",
    "Extract these fields as JSON: {fields}.",
)  # fmt: skip

_EMAILS = (
    ("Hello, my name is {name} and I live in {city}. On {date} I ordered {quantity} {product}, "
     "order number {order}. Please call me at {phone}."),
    ("Dear team, order {order} from {date} has not arrived. I paid for {quantity} {product}. "
     "You reach me at {phone}. Best regards, {name}, {city}"),
    ("Hi, I would like to return {quantity} {product} from order {order}. My number is {phone}. "
     "They came on {date}. Thanks, {name} from {city}"),
    ("From: {name}\nSubject: order {order}\nPlease send the {quantity} {product} to {city} before {date}. "
     "Questions? Call {phone}."),
    ("Subject: {quantity} {product}\nGood morning, this is {name}. I moved to {city} on {date}. "
     "Please change the address of order {order}. My phone number is {phone}."),
)  # fmt: skip
_ORDERS = (
    "Order {order}: {quantity} {product} for {name}, {city}, total {total} {currency}.",
    "{name} ({city}) bought {quantity} {product} for {total} {currency}, order {order}.",
    "Order: {order}\nCustomer: {name}\nCity: {city}\nItems: {quantity} {product}\nTotal: {total} {currency}",
    "Invoice {order}. Ship {quantity} {product} to {name} in {city}. Amount due: {total} {currency}.",
    "{quantity} {product}, {total} {currency}, to {name} in {city}, reference {order}",
)  # fmt: skip
_LOGS = (
    "{date} {time} {level} {service} request={request} status={status} duration={duration} ms",
    "[{date} {time}] {level} {service}: request {request} ended with status {status} after {duration} ms",
    "{level} {date} {time} service={service} status={status} request={request} took {duration} ms",
    "{time} {date} | {level} | {service} | {request} | {status} | {duration} ms",
)  # fmt: skip


def code(rng: Random) -> str:
    """An order's number."""
    letters = "ABCDEFGHJKLMNPQRSTUVWXYZ"
    return f"{rng.choice(letters)}{rng.choice(letters)}-{rng.randrange(1000, 100000)}"


def iso_date(rng: Random) -> str:
    """A day of the twenties, as year-month-day."""
    return f"20{rng.randrange(20, 30)}-{rng.randrange(1, 13):02}-{rng.randrange(1, 29):02}"


def goods(rng: Random) -> str:
    """What was bought, in the plural."""
    material = f"{rng.choice(_MATERIALS)} " if rng.random() < 0.6 else ""
    return material + rng.choice(_PRODUCTS)


def _buyer(rng: Random, held_out: bool) -> Record:
    return {
        "order": draw(rng, held_out, code),
        "quantity": rng.randrange(2, 100),
        "product": goods(rng),
        "name": draw(rng, held_out, full_name if rng.random() < 0.8 else given_name),
        "city": draw(rng, held_out, place_name),
    }


def email(rng: Random, held_out: bool) -> tuple[str, Record]:
    """A customer's e-mail."""
    record = _buyer(rng, held_out)
    spoken = f"{rng.randrange(1, 29)} {rng.choice(MONTHS)}"
    record["date"] = spoken if rng.random() < 0.6 else iso_date(rng)
    record["phone"] = f"{rng.randrange(200, 1000)}-{rng.randrange(10000):04}"
    return rng.choice(_EMAILS).format(**record), record


def order(rng: Random, held_out: bool) -> tuple[str, Record]:
    """A line or a form from an order book."""
    record = _buyer(rng, held_out)
    record["total"] = f"{rng.randrange(5, 1000)}.{rng.randrange(100):02}"
    record["currency"] = rng.choice(_CURRENCIES)
    return rng.choice(_ORDERS).format(**record), record


def log_line(rng: Random, held_out: bool) -> tuple[str, Record]:
    """A line of a service's log."""
    record: Record = {
        "date": iso_date(rng),
        "time": f"{rng.randrange(24):02}:{rng.randrange(60):02}:{rng.randrange(60):02}",
        "level": rng.choice(_LEVELS),
        "service": rng.choice(_SERVICES),
        "request": draw(rng, held_out, lambda r: f"{r.randrange(16**6):06x}"),
        "status": rng.choice((200, 201, 204, 301, 400, 401, 403, 404, 429, 500, 502, 503, 504)),
        "duration": rng.randrange(1, 5000),
    }
    return rng.choice(_LOGS).format(**record), record


def _listed(fields: list[str]) -> str:
    return fields[0] if len(fields) == 1 else f"{', '.join(fields[:-1])} and {fields[-1]}"


def extraction(rng: Random, held_out: bool) -> Dialogue:
    """A text and one to four fields of it; the answer is one line of JSON in the order asked for."""
    make = rng.choices((email, order, log_line), (4, 4, 3))[0]
    text, record = make(rng, held_out)
    fields = rng.sample(sorted(record), rng.choice((1, 2, 2, 3, 3, 4)))
    ask = rng.choice(_ASK).format(fields=_listed(fields))
    question = f"{ask}\n{text}" if rng.random() < 0.8 else f"{text}\n{ask}"
    return turn(question, json.dumps({field: record[field] for field in fields}))
