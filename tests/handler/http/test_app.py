from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from io import StringIO
from typing import Any

import httpx
import pytest

from handler.access.api_key import key_reader
from handler.access.keys import SecretKey
from handler.logs import Log
from tests.handler.doubles import BOS, ScriptedEngine, Serving, serving
from tests.handler.emf import metrics_of
from tests.handler.secrets_manager import NAME, SecretsManager

CHAT = "/v1/chat/completions"
COMPLETION = "/v1/completions"
QUESTION = {"model": "bytes", "messages": [{"role": "user", "content": "hi"}]}
PROMPT = {"model": "bytes", "prompt": "hi"}


def post(server: Serving, body: Any = QUESTION, path: str = CHAT) -> httpx.Response:
    return server.client.post(path, json=body)


def events(response: httpx.Response) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


def logged(server: Serving) -> list[dict[str, Any]]:
    return [json.loads(line) for line in server.log.getvalue().splitlines()]


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_buffered_answer_says_what_the_stream_says() -> None:
    with serving() as server:
        whole = post(server).json()
        stream = events(post(server, QUESTION | {"stream": True}))
    assert whole["choices"][0]["message"]["content"] == "hello world"
    assert "".join(event["choices"][0]["delta"].get("content", "") for event in stream[:-1]) == "hello world"
    assert stream[-1] == "[DONE]"


def test_the_engine_gets_the_rendered_template_with_one_bos() -> None:
    with serving() as server:
        post(server)
    assert server.engine.calls == [[BOS, *b"user: hi\nassistant:"]]


def test_a_raw_prompt_gets_a_bos_and_ids_are_taken_as_they_are() -> None:
    with serving() as server:
        post(server, PROMPT, COMPLETION)
        post(server, PROMPT | {"prompt": [1, 2]}, COMPLETION)
    assert server.engine.calls == [[BOS, *b"hi"], [1, 2]]


def test_max_tokens_beyond_the_context_are_cut_off() -> None:
    with serving(ScriptedEngine("x" * 500)) as server:
        answer = post(server, PROMPT | {"max_tokens": 10**9}, COMPLETION).json()
    usage = answer["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (3, 197, 200)
    assert answer["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize(("path", "body"), [(CHAT, QUESTION), (COMPLETION, PROMPT)])
def test_what_the_cache_had_is_in_usage_timings_and_log(path: str, body: dict[str, Any]) -> None:
    with serving(ScriptedEngine(cached_tokens=2)) as server:
        answer = post(server, body, path).json()
    assert answer["usage"]["prompt_tokens_details"] == {"cached_tokens": 2}
    assert answer["timings"]["cached_tokens"] == 2
    assert logged(server)[0]["cached_tokens"] == 2


@pytest.mark.parametrize("length", [199, 10_000])
def test_a_prompt_that_fills_the_context_is_refused(length: int) -> None:
    with serving() as server:
        answer = post(server, PROMPT | {"prompt": "x" * length}, COMPLETION)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "context_length_exceeded"


def test_a_stop_string_ends_the_answer() -> None:
    with serving() as server:
        choice = post(server, QUESTION | {"stop": ["o w"]}).json()["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("hell", "stop")


def test_a_base_model_has_no_chat() -> None:
    with serving(template=None) as server:
        refused, answered = post(server), post(server, PROMPT, COMPLETION)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "no_chat_template")
    assert answered.status_code == 200


def test_a_template_that_refuses_is_the_requests_fault() -> None:
    with serving(template="{{ raise_exception('no system role') }}") as server:
        answer = post(server)
    assert answer.status_code == 400
    assert "no system role" in answer.json()["error"]["message"]


def test_reserved_template_variables_are_refused() -> None:
    with serving() as server:
        answer = post(server, QUESTION | {"chat_template_kwargs": {"messages": []}})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "chat_template_kwargs")


def test_models_are_listed_and_found_by_both_names() -> None:
    with serving() as server:
        card = server.client.get("/v1/models").json()["data"][0]
        assert card["id"] == "owner/bytes"
        for name in ("owner/bytes", "bytes"):
            assert server.client.get(f"/v1/models/{name}").json() == card
        assert server.client.get("/v1/models/other").status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("POST", "/", 405),
        ("GET", "/v2/models", 404),
        ("POST", "/chat", 404),
        ("GET", CHAT, 405),
        ("PUT", COMPLETION, 405),
        ("DELETE", "/health", 405),
    ],
)
def test_other_paths_and_methods_are_refused_in_openais_form(method: str, path: str, status: int) -> None:
    with serving() as server:
        answer = server.client.request(method, path)
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert ("allow" in answer.headers) == (status == 405)


def test_a_request_id_is_in_the_answer_and_in_the_log() -> None:
    with serving() as server:
        ids = [post(server).headers["x-request-id"], server.client.get("/nowhere").headers["x-request-id"]]
    assert [line["request_id"] for line in logged(server)] == ids


def test_the_log_has_the_times_and_never_the_text() -> None:
    with serving() as server:
        post(server, QUESTION | {"messages": [{"role": "user", "content": "geheim"}]})
        post(server, QUESTION | {"temperature": "geheim"})
    answered, refused = logged(server)
    assert {"queue_ms", "prefill_ms", "first_token_ms", "decode_tokens_per_second"} <= answered.keys()
    assert (answered["status"], answered["finish_reason"], answered["stream"]) == (200, "stop", False)
    assert (refused["status"], refused["error"], refused["param"]) == (400, "invalid_type", "temperature")
    assert "geheim" not in server.log.getvalue()
    assert "hello" not in server.log.getvalue()


def test_the_log_has_the_text_if_asked_for() -> None:
    with serving(texts=True) as server:
        post(server)
    assert logged(server)[0]["answer"] == "hello world"
    assert logged(server)[0]["prompt"] == [{"role": "user", "content": "hi"}]


def test_healthy_probes_are_not_logged() -> None:
    with serving() as server:
        assert server.client.get("/health").status_code == 200
    assert server.log.getvalue() == ""


# ---------------------------------------------------------------- API key


@pytest.mark.parametrize("header", [None, "Bearer wrong", "Bearer", "sécret", "Basic secret"])
def test_a_wrong_key_is_refused(header: str | None) -> None:
    headers = {} if header is None else {b"authorization": header.encode()}
    with serving(api_key="secret") as server:
        answer = server.client.post(CHAT, json=QUESTION, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")


def test_the_right_key_is_taken() -> None:
    with serving(api_key="secret") as server:
        answer = server.client.post(CHAT, json=QUESTION, headers={"authorization": "bearer secret"})
    assert answer.status_code == 200


def test_anthropics_clients_send_it_otherwise() -> None:
    with serving(api_key="secret") as server:
        answers = [server.client.get("/v1/models", headers={"x-api-key": key}) for key in ("secret", "wrong")]
    assert [answer.status_code for answer in answers] == [200, 401]


def test_health_needs_no_key() -> None:
    with serving(api_key="secret") as server:
        assert server.client.get("/health").status_code == 200


def test_a_rotated_secrets_key_is_taken_at_once(secrets: SecretsManager) -> None:
    now = [1e9]
    keys = SecretKey(key_reader(NAME, secrets.environ()), 300, Log(StringIO()), lambda: now[0])
    with serving(keys=keys) as server:

        def status(key: str) -> int:
            return server.client.get("/v1/models", headers={"authorization": f"Bearer {key}"}).status_code

        assert (status("first"), status("second")) == (200, 401)
        secrets.put("second")
        now[0] += 10
        assert (status("second"), status("first")) == (200, 401)


# ---------------------------------------------------------------- bodies


def test_a_body_that_claims_to_be_large_is_refused_unread() -> None:
    with serving(max_body=1000) as server:
        answer = post(server, QUESTION | {"user": "x" * 10_000_000})
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")
        assert post(server).status_code == 200


def test_a_large_body_without_a_length_is_refused() -> None:
    with serving(max_body=1000) as server:
        answer = server.client.post(CHAT, content=(b" " * 500 for _ in range(20_000)))
    assert answer.status_code == 413


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_the_content_type_does_not_matter(content_type: str) -> None:
    with serving() as server:
        headers = {"content-type": content_type}
        assert server.client.post(CHAT, content=json.dumps(QUESTION), headers=headers).status_code == 200


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[]", b'{"a":' * 50_000, b'{"model": NaN}'])
def test_a_malformed_body_is_refused_and_the_server_lives(body: bytes) -> None:
    with serving() as server:
        assert server.client.post(CHAT, content=body).status_code == 400
        assert post(server).status_code == 200


# ---------------------------------------------------------------- queue, failures, clients that leave


def held() -> ScriptedEngine:
    engine = ScriptedEngine()
    engine.gate.clear()
    return engine


def raw_request(server: Serving, body: dict[str, Any]) -> socket.socket:
    content = json.dumps(body).encode()
    connection = socket.create_connection((server.client.base_url.host, server.client.base_url.port or 0))
    head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(content)}\r\n\r\n"
    connection.sendall(head.encode() + content)
    return connection


def test_beyond_the_queue_the_answer_is_429() -> None:
    with serving(held(), queue=0) as server:
        first = raw_request(server, QUESTION)
        eventually(lambda: len(server.engine.calls) == 1)
        refused = post(server)
        server.engine.gate.set()
        assert b"200 OK" in first.recv(100)
        first.close()
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.json()["error"]["type"] == "rate_limit_error"


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_frees_the_engine(stream: bool) -> None:
    with serving(held()) as server:
        connection = raw_request(server, QUESTION | {"stream": stream})
        eventually(lambda: len(server.engine.calls) == 1)
        connection.close()
        eventually(lambda: server.engine.closed == 1)
        server.engine.gate.set()
        assert post(server).status_code == 200
    assert [(line["status"], line.get("error")) for line in logged(server)] == [
        (499, "client_gone"),
        (200, None),
    ]


def test_a_client_that_leaves_the_queue_is_never_answered() -> None:
    with serving(held()) as server:
        first, second = raw_request(server, QUESTION), raw_request(server, QUESTION)
        eventually(lambda: len(server.engine.calls) == 1)
        second.close()
        eventually(lambda: "client_gone" in server.log.getvalue())
        server.engine.gate.set()
        assert b"200 OK" in first.recv(100)
        first.close()
    assert len(server.engine.calls) == 1


def test_a_reader_that_does_not_read_holds_up_nobody() -> None:
    with serving(ScriptedEngine("x" * 20_000), context_length=50_000) as server:
        connection = raw_request(server, QUESTION | {"stream": True})  # 4 MB that nobody takes
        eventually(lambda: server.engine.closed == 1)
        assert post(server, QUESTION | {"max_tokens": 1}).status_code == 200
        connection.close()
        eventually(lambda: len(logged(server)) == 2)


def test_a_failure_before_the_first_token_has_a_status() -> None:
    with serving(ScriptedEngine(fail_after=0)) as server:
        answer = post(server, QUESTION | {"stream": True})
    assert (answer.status_code, answer.json()["error"]["type"]) == (500, "server_error")
    assert "engine broke" not in answer.text
    assert [line["event"] for line in logged(server)] == ["failure", "request"]


def test_a_failure_in_mid_stream_ends_it_with_an_error_event() -> None:
    with serving(ScriptedEngine(fail_after=3)) as server:
        stream = events(post(server, QUESTION | {"stream": True}))
        server.engine.fail_after = None
        assert post(server).status_code == 200
    assert stream[-1]["error"]["code"] == "generation_failed"
    failure = logged(server)[0]
    assert (failure["event"], failure["message"]) == ("failure", "the engine broke")


def test_a_failure_of_a_buffered_answer_is_a_500() -> None:
    with serving(ScriptedEngine(fail_after=3)) as server:
        assert post(server).status_code == 500


# ---------------------------------------------------------------- limits


def test_a_stream_beyond_its_bytes_ends_with_an_error() -> None:
    with serving(ScriptedEngine("x" * 100), max_response=2048) as server:
        response = post(server, QUESTION | {"stream": True})
        eventually(lambda: server.engine.closed == 1)
    assert events(response)[-1]["error"]["code"] == "response_too_large"
    assert len(response.content) < 2048 + 300


def test_a_whole_answer_beyond_its_bytes_is_refused() -> None:
    with serving(ScriptedEngine("x" * 4000), max_response=2048, context_length=5000) as server:
        answer = post(server)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "response_too_large")


def test_a_body_that_does_not_come_is_given_up() -> None:
    with serving(idle_s=0.05) as server:
        connection = socket.create_connection((server.client.base_url.host, server.client.base_url.port or 0))
        connection.sendall(f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{{".encode())
        assert b"408 Request Timeout" in connection.recv(100)
        connection.close()


def test_a_reader_that_takes_nothing_is_given_up() -> None:
    with serving(ScriptedEngine("x" * 20_000), context_length=50_000, idle_s=0.05) as server:
        connection = raw_request(server, QUESTION | {"stream": True})  # 4 MB that nobody takes
        eventually(lambda: "client_idle" in server.log.getvalue())
        connection.close()


# ---------------------------------------------------------------- under the Web Adapter


def adapter_headers(left_s: float = 60, request: Any = None, **others: Any) -> dict[str, str]:
    context = {"request_id": "1-2-3", "deadline": int((time.time() + left_s) * 1e3), "xray_trace_id": "Root=1"}
    return {
        "x-amzn-lambda-context": json.dumps(context | others),
        "x-amzn-request-context": json.dumps(request or {"http": {}}),
    }


def test_the_invocations_id_is_in_answer_header_and_log() -> None:
    iam = {"authorizer": {"iam": {"userArn": "arn:mara"}}}
    with serving(function_name="f") as server:
        answer = server.client.post(CHAT, json=QUESTION, headers=adapter_headers(request=iam))
    line = logged(server)[0]
    assert answer.headers["x-request-id"] == "1-2-3"
    assert answer.json()["id"] == "chatcmpl-1-2-3"
    assert (line["request_id"], line["trace_id"], line["caller"]) == ("1-2-3", "Root=1", "arn:mara")


def test_outside_of_lambda_the_headers_are_a_strangers() -> None:
    with serving() as server:
        answer = server.client.post(CHAT, json=QUESTION, headers=adapter_headers(left_s=-10))
    assert answer.status_code == 200
    assert answer.headers["x-request-id"] != "1-2-3"


def test_the_deadline_ends_a_stream_in_good_order() -> None:
    engine = ScriptedEngine("x" * 100, hold_after=3)
    body = QUESTION | {"stream": True, "stream_options": {"include_usage": True}}
    with serving(engine, function_name="f", deadline_margin_ms=100) as server:
        stream = events(server.client.post(CHAT, json=body, headers=adapter_headers(left_s=0.4)))
        assert post(server, QUESTION | {"max_tokens": 2}).status_code == 200
    *_, last, usage, done = stream
    assert last["choices"][0]["finish_reason"] == "length"
    assert last["timings"]["stopped_by"] == "deadline"
    assert (usage["usage"]["completion_tokens"], done) == (3, "[DONE]")
    assert logged(server)[0]["stopped_by"] == "deadline"


def test_the_deadline_ends_a_whole_answer_in_good_order() -> None:
    with serving(ScriptedEngine("x" * 100, hold_after=3), function_name="f", deadline_margin_ms=100) as server:
        answer = server.client.post(CHAT, json=QUESTION, headers=adapter_headers(left_s=0.4)).json()
    assert (answer["choices"][0]["message"]["content"], answer["choices"][0]["finish_reason"]) == ("xxx", "length")
    assert answer["timings"]["stopped_by"] == "deadline"


@pytest.mark.parametrize("left_s", [-5.0, 0.05, 0.3])
@pytest.mark.parametrize("stream", [True, False])
def test_no_token_before_the_deadline_is_a_504(left_s: float, stream: bool) -> None:
    with serving(held(), function_name="f", deadline_margin_ms=100) as server:
        answer = server.client.post(CHAT, json=QUESTION | {"stream": stream}, headers=adapter_headers(left_s))
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "deadline_exceeded")
    assert answer.headers["x-should-retry"] == "false"
    assert server.engine.closed == len(server.engine.calls)


def test_the_deadline_holds_in_the_queue_too() -> None:
    with serving(held(), function_name="f", deadline_margin_ms=0) as server:
        first = raw_request(server, QUESTION)
        eventually(lambda: len(server.engine.calls) == 1)
        assert server.client.post(CHAT, json=QUESTION, headers=adapter_headers(left_s=0.1)).status_code == 504
        server.engine.gate.set()
        assert b"200 OK" in first.recv(100)
        first.close()
    assert len(server.engine.calls) == 1


@pytest.mark.parametrize("context", ["{", "null", '{"request_id": "1"}', '{"request_id": "1", "deadline": 1e400}'])
def test_a_malformed_context_is_ignored_and_logged(context: str) -> None:
    with serving(function_name="f") as server:
        answer = server.client.post(CHAT, json=QUESTION, headers={"x-amzn-lambda-context": context})
    assert answer.status_code == 200
    assert [line["event"] for line in logged(server)] == ["invocation_ignored", "request", "metrics"]


def test_events_is_no_entry() -> None:
    with serving(function_name="f") as server:
        answer = server.client.post("/events", json=QUESTION, headers=adapter_headers())
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize("path", ["/events", CHAT])
def test_an_event_is_refused_with_a_status_of_its_own(path: str) -> None:
    headers = adapter_headers() | {"x-amzn-request-context": "null"}
    with serving(function_name="f") as server:
        answer = server.client.post(path, json={"Records": []}, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (501, "events_not_taken")
    assert server.engine.calls == []


# ---------------------------------------------------------------- metrics


def measured(server: Serving) -> list[dict[str, Any]]:
    """The metrics' values, by line."""
    return [metrics_of(line) for line in logged(server) if line["event"] == "metrics"]


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_has_its_times_and_tokens(stream: bool) -> None:
    with serving(function_name="f") as server:
        post(server, QUESTION | {"stream": stream})
    request, metrics = logged(server)
    assert metrics_of(metrics) == {
        "Answers": 1,
        "PromptTokens": request["prompt_tokens"],
        "CompletionTokens": 11,
        "FirstTokenTime": request["first_token_ms"],
        "PrefillTime": request["prefill_ms"],
        "QueueWait": request["queue_ms"],
        "DecodeTokensPerSecond": request["decode_tokens_per_second"],
    }
    assert metrics["request_id"] == request["request_id"]


def test_what_is_not_known_is_left_out() -> None:
    with serving(function_name="f") as server:
        post(server, QUESTION | {"max_tokens": 1})
    assert "DecodeTokensPerSecond" not in measured(server)[0]


def test_refused_requests_are_refusals() -> None:
    with serving(function_name="f", api_key="secret") as server:
        post(server)
        server.client.get("/nowhere", headers={"authorization": "Bearer secret"})
    assert measured(server) == [{"Refusals": 1}, {"Refusals": 1}]


@pytest.mark.parametrize("stream", [True, False])
def test_a_broken_answer_is_a_failure(stream: bool) -> None:
    with serving(ScriptedEngine(fail_after=3), function_name="f") as server:
        post(server, QUESTION | {"stream": stream})
    assert measured(server) == [{"Failures": 1}]


def test_a_client_that_leaves_is_neither() -> None:
    with serving(held(), function_name="f") as server:
        connection = raw_request(server, QUESTION)
        eventually(lambda: len(server.engine.calls) == 1)
        connection.close()
        eventually(lambda: "client_gone" in server.log.getvalue())
    assert measured(server) == []


def test_probes_and_lists_make_no_metrics() -> None:
    with serving(function_name="f") as server:
        server.client.get("/health")
        server.client.delete("/health")
        server.client.get("/v1/models")
    assert measured(server) == []


def test_outside_of_lambda_there_are_none() -> None:
    with serving() as server:
        post(server)
    assert measured(server) == []


# ---------------------------------------------------------------- what it says of itself


def test_the_description_has_every_status_of_an_error_that_a_path_can_have() -> None:
    with serving() as server:
        paths = server.client.get("/openapi.json").json()["paths"]
    told = {path: set(next(iter(methods.values()))["responses"]) for path, methods in paths.items()}
    assert all({"431", "505"} <= statuses for statuses in told.values())
    assert all({"400", "408", "413", "415"} <= told[path] for path, methods in paths.items() if "post" in methods)
