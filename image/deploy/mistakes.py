"""What Terraform's and AWS's errors mean for someone who deploys, and what to do about them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from image.errors import NoCredentials, NoRegion

TAKEN = (
    "EntityAlreadyExists|RepositoryAlreadyExistsException|BucketAlreadyExists|BucketAlreadyOwnedByYou|QueueAlreadyExists|"
    "ResourceExistsException|ResourceAlreadyExistsException|Function already exist|AlreadyExistsException"
)
# What stands in an error → what to do. AWS's own words, as its API references and the provider have them.
MISTAKES = (
    (
        "No valid credential sources found|ExpiredToken|InvalidClientTokenId|UnrecognizedClientException",
        str(NoCredentials("AWS says so")),
    ),
    ("Missing region|invalid AWS Region|Invalid region|no such host", str(NoRegion())),
    (
        TAKEN,
        "a name is taken, by something that this Terraform state doesn't know: choose another `name`, use the state "
        "that made it, or delete what is left of an earlier deployment",
    ),
    (
        "(?i)memory_?size.{0,80}(less than or equal to|failed to satisfy)",
        "this account's functions may not have so much memory: new accounts have 3,008 MB. Set memory_mb = 3008 (and "
        "worker.memory_mb), or ask AWS Support for 10,240 MB",
    ),
    (
        "UnreservedConcurrentExecution below its minimum",
        "this account has too few concurrent executions for that reserved_concurrency: lower it, or ask for more under "
        "Service Quotas (Lambda, Concurrent executions)",
    ),
    (
        "(?i)image.{0,40}(size|too large).{0,80}(exceed|maximum|10737418240)",
        "the image is beyond Lambda's 10 GB: `make image-size` shows its layers; export a smaller model",
    ),
    (
        "(?i)timeout.{0,60}less than or equal to 900",
        "Lambda takes 900 s at most here: lower timeout_s (and worker.timeout_s)",
    ),
    ("BucketNotEmpty", "a bucket still has objects: empty it, or apply with force_destroy = true first"),
    (
        "Failed to query available provider packages|could not connect to registry",
        "Terraform's registry can't be reached for the AWS provider: check the network, or put the unpacked provider "
        "below ~/.terraform.d/plugins",
    ),
    ("Error acquiring the state lock", "another run is going on with this state: wait for it"),
    (
        "AccessDenied|not authorized to perform|UnauthorizedOperation",
        "these credentials may not do that: docs/deploy.md lists what deploying takes",
    ),
)
REFUSED = re.compile(r"Error: (?:Resource precondition failed|Invalid value for variable)")
CHECKED = "This was checked by the validation rule"
OURS = re.compile(r"firebrick: (.+?)(?= firebrick: | with terraform_data|$)")


def explain(errors: str) -> Iterator[str]:
    """What to do about what Terraform wrote.

    Args:
        errors: its stderr.

    Yields:
        a line for each known mistake; first what our own conditions and commands said, which Terraform frames.
    """
    plain = re.sub("[│╷╵├─]", " ", re.sub(r"\x1b\[[0-9;]*m", "", errors))
    text = " ".join(plain.split())
    yield from dict.fromkeys((*_refusals(plain), *OURS.findall(text)))
    for pattern, advice in MISTAKES:
        if re.search(pattern, text):
            yield advice


def _refusals(errors: str) -> Iterator[str]:
    """What variables.tf and the preconditions say: the last paragraph of such an error."""
    for error in REFUSED.split(errors)[1:]:
        paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", error.split("Error:")[0])]
        yield [part for part in paragraphs if part and not part.startswith(CHECKED)][-1]
