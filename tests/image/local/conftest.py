"""Real SQS and Lambda APIs: moto's server."""

from __future__ import annotations

import functools
import json
import uuid
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer
from moto.sqs.models import sqs_backends

ACCOUNT, REGION = "123456789012", "us-east-1"
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


class Aws:
    """What stands in for AWS.

    Attributes:
        environ: What a process needs to find it.
    """

    def __init__(self, url: str) -> None:
        self.environ = {**KEYS, "AWS_REGION": REGION, "AWS_ENDPOINT_URL": url, "AWS_EC2_METADATA_DISABLED": "true"}
        keys = {name.lower(): value for name, value in KEYS.items()}
        client = functools.partial(boto3.client, region_name=REGION, endpoint_url=url, **keys)
        self.sqs, self.functions, self._iam, self._ecr = map(client, ("sqs", "lambda", "iam", "ecr"))

    def make_queue(self, fifo: bool = False, **attributes: object) -> str:
        """Make a queue; return its URL."""
        kind = {"FifoQueue": "true", "ContentBasedDeduplication": "true"} if fifo else {}
        given = {key: str(value) for key, value in {**kind, **attributes}.items()}
        name = uuid.uuid4().hex + (".fifo" if fifo else "")
        return str(self.sqs.create_queue(QueueName=name, Attributes=given)["QueueUrl"])

    def arn(self, url: str) -> str:
        """Return a queue's ARN."""
        return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{url.rsplit('/', 1)[1]}"

    def send(self, url: str, *bodies: dict[str, Any], **options: Any) -> None:
        """Send messages, in their order."""
        for body in bodies:
            self.sqs.send_message(QueueUrl=url, MessageBody=json.dumps(body), **options)

    def receive(self, url: str) -> list[dict[str, Any]]:
        """Receive what is visible."""
        everything = {"MessageAttributeNames": ["All"], "MaxNumberOfMessages": 10, "WaitTimeSeconds": 1}
        return list(self.sqs.receive_message(QueueUrl=url, **everything).get("Messages", []))

    def left(self, url: str) -> int:
        """Return how many messages a queue has, hidden ones included."""
        # moto's own counts leave out a message that has become visible again until somebody asks for messages.
        return len(sqs_backends[ACCOUNT][REGION].queues[url.rsplit("/", 1)[1]]._messages)

    def deploy(self, **configuration: Any) -> str:
        """Deploy a function of an image, with version 1 and the alias `live`; return its name."""
        name = uuid.uuid4().hex[:12]
        role = self._iam.create_role(RoleName=name, AssumeRolePolicyDocument="{}")["Role"]["Arn"]
        self._ecr.create_repository(repositoryName=name)
        config = {"mediaType": "application/vnd.oci.image.config.v1+json", "size": 2, "digest": "sha256:" + "a" * 64}
        kind = "application/vnd.oci.image.manifest.v1+json"
        manifest = {"schemaVersion": 2, "mediaType": kind, "config": config, "layers": []}
        self._ecr.put_image(repositoryName=name, imageManifest=json.dumps(manifest), imageTag="latest")
        image = {"ImageUri": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/{name}:latest"}
        self.functions.create_function(FunctionName=name, PackageType="Image", Code=image, Role=role, **configuration)
        version = self.functions.publish_version(FunctionName=name)["Version"]
        self.functions.create_alias(FunctionName=name, Name="live", FunctionVersion=version)
        return name

    def map(self, queue: str, function: str, **mapping: Any) -> None:
        """Make an event source mapping that moto doesn't serve itself: it would run the function under docker."""
        self.functions.create_event_source_mapping(EventSourceArn=self.arn(queue), FunctionName=function, **mapping)
        for one in sqs_backends[ACCOUNT][REGION].queues.values():
            one.lambda_event_source_mappings.clear()


@pytest.fixture(scope="session")
def aws() -> Iterator[Aws]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    yield Aws("http://{}:{}".format(*server.get_host_and_port()))
    server.stop()
