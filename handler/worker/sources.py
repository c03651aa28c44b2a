"""Events that aren't for this function: what they are, by what the services document of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from handler.errors import shown


def source_of(event: object) -> str:
    """Say what an event is that is neither a request, nor messages, nor from a function URL."""
    if not isinstance(event, dict):
        return f"the event is {shown(event)}"
    if not event:
        return "the event is empty"
    known = _http(event) or _record(event.get("Records")) or _others(event)
    members = ", ".join(map(shown, list(event)[:10]))
    return f"the event comes from {known}" if known else f"the event has the members {members}"


def _http(event: Mapping[str, Any]) -> str | None:
    # https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
    context = event.get("requestContext")
    context = context if isinstance(context, dict) else {}
    if "elb" in context:
        return "a load balancer, whose requests the stream function can take"
    if "connectionId" in context:
        return "a WebSocket of API Gateway"
    if "httpMethod" in event:
        return "API Gateway with payload format 1.0; only 2.0, an HTTP API's or a function URL's, is answered"
    return None


def _record(records: object) -> str | None:
    if not isinstance(records, list):
        return None
    if not records:
        return "a queue or a bucket, without a record"
    first = records[0] if isinstance(records[0], dict) else {}
    source = first.get("EventSource") or first.get("eventSource")  # SNS has a large E.
    if source == "aws:sns":
        return "SNS: subscribe a queue to the topic, with raw message delivery, and let its messages come here"
    return shown(source) if isinstance(source, str) and source != "aws:sqs" else None


def _others(event: Mapping[str, Any]) -> str | None:
    # https://docs.aws.amazon.com/eventbridge/latest/ref/overiew-event-structure.html
    if "detail-type" in event:
        return f"EventBridge ({shown(event.get('source'))}): give its rule or schedule a constant or transformed input"
    return None
