"""What stands in the account after an apply, and what a second one would do."""

from __future__ import annotations

import json
import re

import pytest

from tests.deployment.leftovers import aws, leftovers
from tests.deployment.workspace import Workspace


def test_a_second_plan_changes_nothing(deployed: Workspace) -> None:
    assert deployed.plan() == []


def test_all_of_it_is_there(deployed: Workspace) -> None:
    kinds = {what.split(" ")[0] for what in leftovers(deployed.endpoint, deployed.name)}
    assert kinds >= {"function", "mapping", "repository", "log", "role", "policy", "queue", "bucket", "alarm"}
    assert kinds >= {"dashboard", "target", "budget", "machine"}


@pytest.mark.parametrize("function", ["stream", "worker"])
def test_the_alias_is_a_published_version_of_the_image_that_was_pushed(deployed: Workspace, function: str) -> None:
    api = aws(deployed.endpoint, "lambda")
    version = api.get_alias(FunctionName=f"firebrick-{function}", Name="live")["FunctionVersion"]
    image = api.get_function(FunctionName=f"firebrick-{function}", Qualifier=version)["Code"]["ImageUri"]
    assert version.isdigit()
    assert image == deployed.outputs()["images"][function]
    assert re.search(r"@sha256:[0-9a-f]{64}$", image)


def test_with_iam_nobody_has_a_right_by_the_functions_own_policy(deployed: Workspace) -> None:
    api = aws(deployed.endpoint, "lambda")
    with pytest.raises(api.exceptions.ResourceNotFoundException):
        api.get_policy(FunctionName="firebrick-stream", Qualifier="live")


def test_without_iam_anybody_may_call_the_url_and_nobody_may_invoke_past_it(with_key: Workspace) -> None:
    policy = aws(with_key.endpoint, "lambda").get_policy(FunctionName="fb-key-stream", Qualifier="live")["Policy"]
    granted = {item["Action"]: (item["Principal"], item["Condition"]) for item in json.loads(policy)["Statement"]}
    assert granted == {
        "lambda:InvokeFunctionUrl": ("*", {"StringEquals": {"lambda:FunctionUrlAuthType": "NONE"}}),
        "lambda:InvokeFunction": ("*", {"Bool": {"lambda:InvokedViaFunctionUrl": "true"}}),
    }


def test_no_password_and_no_key_is_in_the_state(with_key: Workspace) -> None:
    key = aws(with_key.endpoint, "secretsmanager").get_secret_value(SecretId="fb-key/api-key")["SecretString"]
    state = (with_key.directory / "terraform.tfstate").read_text()
    assert len(key) == 40
    assert key not in state
    assert "auth-token" not in state


def test_a_larger_version_makes_another_key(with_key: Workspace) -> None:
    secrets = aws(with_key.endpoint, "secretsmanager")
    before = secrets.get_secret_value(SecretId="fb-key/api-key")["SecretString"]
    Workspace(with_key.root, with_key.endpoint, with_key.registry, {**with_key.variables, "api_key_version": 2}).apply()
    assert secrets.get_secret_value(SecretId="fb-key/api-key")["SecretString"] != before


def test_a_changed_line_moves_images_versions_and_aliases_only(deployed: Workspace) -> None:
    with (deployed.root / "handler" / "logs.py").open("a") as file:
        file.write("# a changed line\n")
    planned = {address.split(".")[0] + "." + actions for address, actions in deployed.plan()}
    assert planned == {"aws_lambda_function.update", "aws_lambda_alias.update", "terraform_data.delete+create"}
    before = deployed.outputs()["images"]
    deployed.apply()
    after = deployed.outputs()["images"]
    api = aws(deployed.endpoint, "lambda")
    assert all(before[target] != after[target] for target in ("stream", "worker"))
    for target in ("stream", "worker"):
        version = api.get_alias(FunctionName=f"firebrick-{target}", Name="live")["FunctionVersion"]
        assert (
            api.get_function(FunctionName=f"firebrick-{target}", Qualifier=version)["Code"]["ImageUri"] == after[target]
        )
    assert deployed.plan() == []
