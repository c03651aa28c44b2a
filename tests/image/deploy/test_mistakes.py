"""A newcomer's mistakes: what Terraform wrote → one line that says what to do."""

from __future__ import annotations

import pytest

from image.deploy.mistakes import explain

# As Terraform 1.11 and provider 5.100 write them, with their frames and line breaks.
WRITTEN = {
    "aws configure": """
╷
│ Error: No valid credential sources found
│
│   with provider["registry.terraform.io/hashicorp/aws"],
""",
    "AWS_REGION": "Error: invalid AWS Region: eu-centrl-1",
    "choose another `name`": """
│ Error: creating ECR Repository (firebrick): operation error ECR: CreateRepository, https response error
│ StatusCode: 400, RequestID: 1, RepositoryAlreadyExistsException: The repository with name 'firebrick' already
│ exists in the registry with id '123456789012'
""",
    "memory_mb = 3008": """
│ Error: creating Lambda Function (firebrick-stream): operation error Lambda: CreateFunction, https response error
│ StatusCode: 400, RequestID: 1, ValidationException: 'MemorySize' value failed to satisfy
│ constraint: Member must have value less than or equal to 3008
""",
    "Service Quotas": """
│ InvalidParameterValueException: Specified ReservedConcurrentExecutions for function decreases account's
│ UnreservedConcurrentExecution below its minimum value of [10].
""",
    "make image-size": "InvalidParameterValueException: The image size 11000000000 exceeds the maximum allowed size",
    "lower timeout_s": "'timeout' failed to satisfy constraint: Member must have value less than or equal to 900",
    "force_destroy": "api error BucketNotEmpty: The bucket you tried to delete is not empty",
    "unpacked provider": "Error: Failed to query available provider packages",
    "docs/deploy.md": "AccessDeniedException: User: x is not authorized to perform: ecr:CreateRepository",
}


@pytest.mark.parametrize("remedy", WRITTEN)
def test_a_known_mistake_is_one_line_that_says_what_to_do(remedy: str) -> None:
    advice = list(explain(WRITTEN[remedy]))
    assert len(advice) == 1
    assert remedy in advice[0]
    assert "\n" not in advice[0]


def test_what_our_own_commands_said_is_dug_out_of_terraforms_frame() -> None:
    written = """
│ Error: local-exec provisioner error
│
│   with terraform_data.builder[0],
│
│ Error running command ''python3' -m image.publish 'build/demo' --check': exit status 2. Output: firebrick:
│ nothing here can build an image (docker: not installed); on Debian: apt-get install buildah podman runc
"""
    said = "nothing here can build an image (docker: not installed); on Debian: apt-get install buildah podman runc"
    assert list(explain(written)) == [said]


def test_a_variable_that_was_refused_is_told_in_its_own_words() -> None:
    written = """
╷
│ Error: Invalid value for variable
│
│   on variables.tf line 266:
│  266: variable "snap_start" {
│     ├────────────────
│     │ var.tmp_mb is 1024
│
│ snap_start allows 512 MB of /tmp at most: lower
│ tmp_mb.
│
│ This was checked by the validation rule at variables.tf:279,3-13.
╵
"""
    assert list(explain(written)) == ["snap_start allows 512 MB of /tmp at most: lower tmp_mb."]


def test_what_is_not_known_is_left_to_terraforms_own_words() -> None:
    assert list(explain("Error: something new")) == []
