"""moto's server, with what the deployment needs and moto 5.2.5 lacks: attributes that AWS reads back, a few routes.

`python -m tests.deployment.moto_server PORT LAMBDA` serves until it is killed; LAMBDA is the port of the Invoke API
that state machines call. Nothing here makes moto more lenient than
AWS, but for a policy's Deny without TLS: moto obeys it without looking at its condition, and this server has no TLS.
"""

from __future__ import annotations

import json
import sys
from typing import Any
from urllib.parse import unquote

from moto.applicationautoscaling.responses import ApplicationAutoScalingResponse
from moto.awslambda import urls as lambda_urls
from moto.awslambda.models import EventSourceMapping, FunctionUrlConfig, LambdaBackend, LambdaFunction
from moto.awslambda.policy import Policy
from moto.awslambda.responses import LambdaResponse
from moto.budgets.responses import BudgetsResponse
from moto.iam.access_control import IAMPolicyStatement, PermissionResult
from moto.sqs.models import Queue

from tests.deployment.moto_states import run_state_machines
from tests.deployment.replacing import around

KEPT = {"LoggingConfig": "logging_config", "SnapStart": "snap_start"}
UPDATED = {"TracingConfig": "tracing_config", "KMSKeyArn": "kms_key_arn"}
PROVISIONED = r"{0}/(?P<api_version>[^/]+)/functions/(?P<function_name>[\w_:%-]+)/provisioned-concurrency/?$"


def mend_lambda() -> None:
    """What moto drops of a function, its URL and its mapping; provisioned concurrency."""

    @around(LambdaFunction, "__init__")
    def init(original: Any, self: Any, account_id: str, spec: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        for key, name in KEPT.items():
            setattr(self, name, spec.get(key))
        original(self, account_id, spec, *args, **kwargs)

    @around(LambdaFunction, "get_configuration")
    def get_configuration(original: Any, self: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        configuration: dict[str, Any] = original(self, *args, **kwargs)
        if self.logging_config:
            configuration["LoggingConfig"] = self.logging_config
        if self.snap_start and self.snap_start.get("ApplyOn") != "None":
            configuration["SnapStart"] = {"ApplyOn": self.snap_start["ApplyOn"], "OptimizationStatus": "On"}
        if not any(configuration.get("ImageConfigResponse", {}).get("ImageConfig", {}).values()):
            configuration.pop("ImageConfigResponse", None)
        return configuration

    @around(LambdaFunction, "update_configuration")
    def update_configuration(original: Any, self: Any, updates: dict[str, Any]) -> dict[str, Any]:
        for key, name in {**KEPT, **UPDATED}.items():
            if key in updates:
                setattr(self, name, updates[key])
        if "EphemeralStorage" in updates:
            self.ephemeral_storage = updates["EphemeralStorage"]["Size"]
        configuration: dict[str, Any] = original(self, updates)
        return configuration

    @around(FunctionUrlConfig, "to_dict")
    def url_to_dict(original: Any, self: Any) -> dict[str, Any]:
        return {**original(self), "FunctionUrl": f"{self.url.rstrip('/')}/"}

    @around(EventSourceMapping, "get_configuration")
    def mapping(original: Any, self: Any) -> dict[str, Any]:
        configuration: dict[str, Any] = original(self)
        if self.function_name.startswith("arn:"):  # moto tells the version that an alias meant at the time
            configuration["FunctionArn"] = self.function_name
        return configuration

    lambda_urls.url_paths[PROVISIONED] = LambdaResponse.dispatch
    for method in (
        put_provisioned_concurrency_config,
        get_provisioned_concurrency_config,
        delete_provisioned_concurrency_config,
    ):
        setattr(LambdaResponse, method.__name__, method)


def put_provisioned_concurrency_config(self: Any) -> tuple[int, dict[str, str], str]:
    """https://docs.aws.amazon.com/lambda/latest/api/API_PutProvisionedConcurrencyConfig.html"""
    wanted = json.loads(self.body)["ProvisionedConcurrentExecutions"]
    _provisioned(self)[_qualified(self)] = wanted
    return 202, {}, json.dumps(_provisioned_answer(wanted))


def get_provisioned_concurrency_config(self: Any) -> tuple[int, dict[str, str], str]:
    """https://docs.aws.amazon.com/lambda/latest/api/API_GetProvisionedConcurrencyConfig.html"""
    wanted = _provisioned(self).get(_qualified(self))
    if wanted is None:
        headers = {"x-amzn-errortype": "ProvisionedConcurrencyConfigNotFoundException"}
        return 404, headers, json.dumps({"Type": "User", "message": "No Provisioned Concurrency Config found"})
    return 200, {}, json.dumps(_provisioned_answer(wanted))


def delete_provisioned_concurrency_config(self: Any) -> tuple[int, dict[str, str], str]:
    """https://docs.aws.amazon.com/lambda/latest/api/API_DeleteProvisionedConcurrencyConfig.html"""
    _provisioned(self).pop(_qualified(self), None)
    return 204, {}, ""


def _provisioned(response: Any) -> dict[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = response.backend.__dict__.setdefault("provisioned", {})
    return found


def _qualified(response: Any) -> tuple[str, str]:
    return unquote(response.path.split("/")[-2]), response.querystring["Qualifier"][0]


def _provisioned_answer(wanted: int) -> dict[str, Any]:
    return {
        "RequestedProvisionedConcurrentExecutions": wanted,
        "AvailableProvisionedConcurrentExecutions": wanted,
        "AllocatedProvisionedConcurrentExecutions": wanted,
        "Status": "READY",
        "LastModified": "2026-01-01T00:00:00+0000",
    }


def mend_permissions() -> None:
    """Conditions of a function's policy, as AWS writes them, and what AWS refuses."""

    @around(LambdaBackend, "add_permission")
    def add_permission(original: Any, self: Any, name: str, qualifier: str, raw: str) -> Any:
        asked = json.loads(raw)
        if asked.get("FunctionUrlAuthType") and asked["Action"] != "lambda:InvokeFunctionUrl":
            raise ValueError("FunctionUrlAuthType is only supported for lambda:InvokeFunctionUrl action")
        return original(self, name, qualifier, raw)

    @around(Policy, "decode_policy")
    def decode_policy(original: Any, self: Any, obj: dict[str, Any]) -> Any:
        if "FunctionName" in obj:  # by CloudFormation: the alias is in the ARN
            obj["Resource"] = obj.pop("FunctionName")
        conditions: dict[str, Any] = {}
        if obj.pop("InvokedViaFunctionUrl", False):
            conditions["Bool"] = {"lambda:InvokedViaFunctionUrl": "true"}
        if "FunctionUrlAuthType" in obj:
            conditions["StringEquals"] = {"lambda:FunctionUrlAuthType": obj.pop("FunctionUrlAuthType")}
        policy = original(self, obj)
        if conditions:
            policy.statements[0]["Condition"] = {**policy.statements[0].get("Condition", {}), **conditions}
        return policy

    @around(IAMPolicyStatement, "is_action_permitted")
    def is_action_permitted(original: Any, self: Any, *args: Any, **kwargs: Any) -> PermissionResult:
        if self._statement.get("Condition") == {"Bool": {"aws:SecureTransport": "false"}}:
            return PermissionResult.NEUTRAL
        result: PermissionResult = original(self, *args, **kwargs)
        return result


def mend_queues() -> None:
    """Redrive policies, as they were given; and it is the local Lambda that polls, not moto at each message."""
    setattr(Queue, "lambda_event_source_mappings", property(lambda self: {}, lambda self, value: None))  # noqa: B010
    Queue.BASE_ATTRIBUTES.append("RedriveAllowPolicy")
    setattr(Queue, "redrive_allow_policy", None)  # noqa: B010  # moto's class doesn't know it

    @around(Queue, "_set_attributes")
    def set_attributes(original: Any, self: Any, attributes: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        policy = self.__dict__.get("policy")
        original(self, attributes, *args, **kwargs)
        if "Policy" not in attributes:
            self.policy = policy

    @around(Queue, "_setup_dlq")
    def setup_dlq(original: Any, self: Any, policy: Any) -> None:
        original(self, policy)
        self.redrive_text = policy

    attributes = vars(Queue)["attributes"].fget

    def with_texts(self: Any) -> dict[str, Any]:
        found = {key: value for key, value in attributes(self).items() if value is not None}
        if "RedrivePolicy" in found and isinstance(self.__dict__.get("redrive_text"), str):
            found["RedrivePolicy"] = self.redrive_text
        return found

    setattr(Queue, "attributes", property(with_texts))  # noqa: B010


def mend_the_rest() -> None:
    """Operations that the provider calls and moto doesn't have."""

    tags: dict[str, Any] = {}

    @around(ApplicationAutoScalingResponse, "register_scalable_target")
    def register_scalable_target(original: Any, self: Any) -> str:
        answer: str = original(self)
        tags.setdefault(json.loads(answer)["ScalableTargetARN"], self._get_param("Tags") or {})
        return answer

    @around(BudgetsResponse, "create_budget")
    def create_budget(original: Any, self: Any) -> str:
        answer: str = original(self)
        name = self._get_param("Budget")["BudgetName"]
        tags[f"arn:aws:budgets::{self.current_account}:budget/{name}"] = self._get_param("ResourceTags") or []
        return answer

    def tags_of_a_target(self: Any) -> str:
        return json.dumps({"Tags": tags.get(self._get_param("ResourceARN"), {})})

    def tags_of_a_budget(self: Any) -> str:
        return json.dumps({"ResourceTags": tags.get(self._get_param("ResourceARN"), [])})

    def subscribers(self: Any) -> str:
        budget = self.backend.budgets[self.current_account][self._get_param("BudgetName")]
        wanted = self._get_param("Notification")
        found = next(item for item in budget.notifications if wanted.items() <= item.details.items())
        return json.dumps({"Subscribers": found.subscribers})

    for owner, name, method in (
        (ApplicationAutoScalingResponse, "list_tags_for_resource", tags_of_a_target),
        (BudgetsResponse, "list_tags_for_resource", tags_of_a_budget),
        (BudgetsResponse, "describe_subscribers_for_notification", subscribers),
    ):
        setattr(owner, name, method)


def main(port: int, lambda_port: int) -> None:
    """Serve until killed."""
    mend_lambda()
    mend_permissions()
    mend_queues()
    mend_the_rest()
    run_state_machines(port, lambda_port)
    from moto.server import main as serve

    serve(["-H", "127.0.0.1", "-p", str(port)])


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
