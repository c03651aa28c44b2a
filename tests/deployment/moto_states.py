"""moto's interpreter of state machines, switched on, with what it lacks: JSON lines, thresholds, some calls."""

from __future__ import annotations

import json
from threading import Lock
from types import SimpleNamespace
from typing import Any

import boto3
from botocore.response import StreamingBody
from moto.core.config import default_user_config
from moto.core.responses import ActionResult
from moto.stepfunctions.parser.api import HistoryEventType
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import FailureEvent, FailureEventException
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name import StatesErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name_type import StatesErrorNameType
from moto.stepfunctions.parser.asl.component.state.exec.state_map.item_reader import item_reader_decl
from moto.stepfunctions.parser.asl.component.state.exec.state_map.item_reader.eval.resource_output_transformer.transformer_factory import (  # noqa: E501
    resource_output_transformer_for,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_map.item_reader.eval.resource_output_transformer.transformer_json import (  # noqa: E501
    ResourceOutputTransformerJson,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_map.item_reader.reader_config.input_type import (
    InputType,
    InputTypeValue,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_map.iteration.distributed_iteration_component import (
    DistributedIterationComponent,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_aws_sdk import (
    StateTaskServiceAwsSdk,
)
from moto.stepfunctions.parser.asl.utils import boto_client
from moto.stepfunctions.responses import StepFunctionResponse

from tests.deployment.replacing import around


def run_state_machines(port: int, lambda_port: int) -> None:
    """Execute what is started.

    Args:
        port: of this server, which has all other services.
        lambda_port: of the Invoke API that tasks call; moto's own would need docker.
    """
    default_user_config["stepfunctions"] = {"execute_state_machine": True}
    _call_services_at(port, lambda_port)
    _read_bodies()
    _read_json_lines()
    _end_above_the_threshold()
    _answer_the_provider()


def _call_services_at(port: int, lambda_port: int) -> None:
    making, made = Lock(), dict[tuple[str, str], Any]()

    def client(service_name: str, region_name: str, **given: Any) -> Any:
        chosen = lambda_port if service_name == "lambda" else port
        with making:  # moto makes one for each task, which takes longer than many a task
            if (service_name, region_name) not in made:
                given["endpoint_url"] = f"http://127.0.0.1:{chosen}"
                made[service_name, region_name] = boto3.client(service_name, region_name, **given)
            return made[service_name, region_name]

    setattr(boto_client, "boto3", SimpleNamespace(client=client))  # noqa: B010  # to mypy it is a module


def _read_bodies() -> None:
    """What an SDK's call streams is a text, as in AWS: moto tries to copy the socket."""

    @around(StateTaskServiceAwsSdk, "_eval_service_task")
    def eval_service_task(original: Any, self: Any, env: Any, *args: Any, **kwargs: Any) -> None:
        original(self, env, *args, **kwargs)
        answer = env.stack.pop()
        env.stack.append({k: v.read().decode() if isinstance(v, StreamingBody) else v for k, v in answer.items()})


class Lines(ResourceOutputTransformerJson):
    """https://docs.aws.amazon.com/step-functions/latest/dg/input-output-itemreader.html: JSONL"""

    def _eval_body(self, env: Any) -> None:
        config, text = env.stack.pop(), env.stack.pop()
        env.stack.append(json.dumps([json.loads(line) for line in text.splitlines() if line.strip()]))
        env.stack.append(config)
        super()._eval_body(env)


def _read_json_lines() -> None:
    @around(InputType, "__init__")
    def init(original: Any, self: Any, input_type: str) -> None:
        self.lines = input_type == "JSONL"
        original(self, InputTypeValue.JSON.value if self.lines else input_type)

    def transformer_for(input_type: Any) -> Any:
        return Lines() if input_type.lines else resource_output_transformer_for(input_type)

    setattr(item_reader_decl, "resource_output_transformer_for", transformer_for)  # noqa: B010  # to mypy it is private


def _end_above_the_threshold() -> None:
    # AWS looks while items run; here it is at the end.
    @around(DistributedIterationComponent, "_map_run")
    def map_run(original: Any, self: Any, env: Any, eval_input: Any) -> None:
        original(self, env, eval_input)
        run = eval_input.map_run_record
        failed, total = run.item_counter.failed.get(), run.item_counter.total.get()
        if (
            failed > 0
            and failed > run.tolerated_failure_count
            and failed * 100 > eval_input.tolerated_failure_percentage * total
        ):
            name = StatesErrorName(StatesErrorNameType.StatesExceedToleratedFailureThreshold)
            told = {"error": name.error_name, "cause": "The specified tolerated failure threshold was exceeded"}
            details: Any = {"mapRunFailedEventDetails": told}
            raise FailureEventException(FailureEvent(env, name, HistoryEventType.MapRunFailed, details))


def _answer_the_provider() -> None:
    def validate_state_machine_definition(self: Any) -> ActionResult:
        self.stepfunction_backend._validate_definition(self._get_param("definition"))
        return ActionResult({"result": "OK", "diagnostics": [], "truncated": False})

    def list_state_machine_versions(self: Any) -> ActionResult:
        return ActionResult({"stateMachineVersions": []})

    for method in (validate_state_machine_definition, list_state_machine_versions):
        setattr(StepFunctionResponse, method.__name__, method)
