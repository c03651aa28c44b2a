"""terraform/fargate/ in moto's account; the task it defines, as a container; the router's function, in node."""

from __future__ import annotations

import itertools
import json
import shutil
import threading
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.deployment.fargate import KEY, Root, Stack, container, node
from tests.deployment.leftovers import aws
from tests.smoke.containers import STREAM, require_image
from tests.smoke.restricted import Stream

CLIENTS = 8
# What ends an answer is forbidden, so that all of them are long enough to overlap.
LONG: dict[str, Any] = {"max_tokens": 600, "temperature": 0, "logit_bias": {str(id): -100 for id in range(10)}}


@pytest.fixture(scope="module")
def stack(fargate: Stack) -> Iterator[Stack]:
    yield fargate
    fargate.destroy()  # in the background, while other tests go on


@pytest.fixture(scope="module")
def root(stack: Stack) -> Root:
    return stack.ready()


def test_a_second_plan_changes_nothing(root: Root) -> None:
    assert root.plan() == []


def test_another_share_moves_the_routers_function_only(stack: Stack) -> None:
    router = {**stack.root.variables["router"], "fargate_percent": 100}
    assert stack.changed(router=router).plan() == [("aws_cloudfront_function.router[0]", "update")]


def test_another_image_moves_the_task_only(stack: Stack) -> None:
    image = stack.root.variables["image"].replace("0" * 64, "1" * 64)
    assert stack.changed(image=image).plan() == [
        ("aws_ecs_service.service", "update"),
        ("aws_ecs_task_definition.service", "delete+create"),
    ]


def test_the_router_may_call_the_functions_alias_and_nobody_else_may(root: Root) -> None:
    policy = aws(root.endpoint, "lambda").get_policy(FunctionName="firebrick-stream", Qualifier="live")["Policy"]
    [distribution] = aws(root.endpoint, "cloudfront").list_distributions()["DistributionList"]["Items"]
    granted = {
        (item["Action"], item["Principal"]["Service"], item["Condition"]["ArnLike"]["AWS:SourceArn"])
        for item in json.loads(policy)["Statement"]
    }
    assert granted == {
        (action, "cloudfront.amazonaws.com", distribution["ARN"])
        for action in ("lambda:InvokeFunctionUrl", "lambda:InvokeFunction")
    }


# ---------------------------------------------------------------- the task


@pytest.fixture(scope="module")
def server(root: Root) -> Iterator[Stream]:
    """The stream image with the environment, the user and the restrictions of the task definition."""
    require_image(STREAM)
    task = container(root)
    given = {entry["name"]: entry["value"] for entry in task["environment"]}
    assert [secret["name"] for secret in task["secrets"]] == ["FIREBRICK_API_KEY"]
    options = ["--user", task["user"]]
    options += ["--read-only", "--read-only-tmpfs=false"] if task["readonlyRootFilesystem"] else []
    options += [f"--cap-drop={capability}" for capability in task["linuxParameters"]["capabilities"]["drop"]]
    for name, value in {**given, "FIREBRICK_API_KEY": KEY}.items():
        options += ["--env", f"{name}={value}"]
    with Stream(STREAM, *options, *task.get("command", [])) as running:
        running.ready()
        yield running


def client(server: Stream) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEY, max_retries=0, timeout=120)


def test_eight_clients_stream_at_once_and_each_gets_what_it_would_get_alone(server: Stream) -> None:
    model = client(server).models.list().data[0].id
    prompts = [f"Tell me a story about {number} lamps." for number in range(CLIENTS)]

    def begin(prompt: str) -> openai.Stream[Any]:
        messages: Any = [{"role": "user", "content": prompt}]
        made: openai.Stream[Any] = client(server).chat.completions.create(
            model=model, messages=messages, stream=True, **LONG
        )
        return made

    alone = [_text(begin(prompt)) for prompt in prompts]
    together = threading.Barrier(CLIENTS, timeout=120)
    order = itertools.count()  # of all chunks with text, as they arrive
    arrived: list[list[int]] = [[] for _ in prompts]
    texts: list[str] = [""] * CLIENTS

    def read(number: int) -> None:
        together.wait()
        for chunk in begin(prompts[number]):
            if said := _said(chunk):
                arrived[number].append(next(order))
                texts[number] += said

    threads = [threading.Thread(target=read, args=(number,), daemon=True) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240)
    assert texts == alone
    assert len(set(texts)) > 1
    assert max(own[0] for own in arrived) < min(own[-1] for own in arrived), "all have begun before any has ended"


def test_without_the_key_nothing_opens(server: Stream) -> None:
    stranger = openai.OpenAI(base_url=f"{server.url}/v1", api_key="guessed", max_retries=0)
    with pytest.raises(openai.AuthenticationError):
        stranger.models.list()


def test_it_has_the_threads_of_the_task_not_of_the_machine(server: Stream) -> None:
    assert server.ready()["threads"] == 4


def _said(chunk: Any) -> str:
    return (chunk.choices[0].delta.content or "") if chunk.choices else ""


def _text(chunks: Any) -> str:
    return "".join(_said(chunk) for chunk in chunks)


# ---------------------------------------------------------------- the router's function


def routed(root: Root, headers: dict[str, str], random: float) -> dict[str, Any]:
    """What the deployed function does with a request, and which origins it chose."""
    if shutil.which("node") is None:
        pytest.skip("NOT TESTED: there is no node here")
    api = aws(root.endpoint, "cloudfront")
    code = api.get_function(Name="firebrick-router")["FunctionCode"].read().decode()
    assert "import cf from 'cloudfront';" in code
    request = {"request": {"headers": {name: {"value": value} for name, value in headers.items()}}}
    found = node(
        code.replace(
            "import cf from 'cloudfront';", "const chosen = [], cf = {selectRequestOriginById: id => chosen.push(id)};"
        )
        + f"\nMath.random = () => {random};\nconst answer = handler({json.dumps(request)});"
        + "\nconsole.log(JSON.stringify({answer, chosen}));"
    )
    return dict(found)


@pytest.mark.parametrize(
    ("random", "origin"), [(0.0, "fargate"), (0.24, "fargate"), (0.25, "lambda"), (0.99, "lambda")]
)
def test_a_quarter_goes_to_the_service(root: Root, random: float, origin: str) -> None:
    assert routed(root, {"authorization": f"Bearer {KEY}"}, random)["chosen"] == [origin]


def test_anthropics_header_opens_too(root: Root) -> None:
    assert routed(root, {"x-api-key": KEY}, 0.5)["chosen"] == ["lambda"]


@pytest.mark.parametrize(
    "headers", [{}, {"authorization": "Bearer guessed"}, {"authorization": KEY}, {"x-api-key": ""}]
)
def test_who_has_no_key_ends_in_the_router(root: Root, headers: dict[str, str]) -> None:
    found = routed(root, headers, 0.5)
    assert (found["answer"]["statusCode"], found["chosen"]) == (401, [])
    assert json.loads(found["answer"]["body"]["data"])["error"]["code"] == "invalid_api_key"
