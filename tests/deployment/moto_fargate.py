"""moto's server with what terraform/fargate/ needs beside: CloudFront's functions, VPC origins, dropped members.

`python -m tests.deployment.moto_fargate PORT` serves until it is killed. As in `moto_server`, nothing here is more
lenient than AWS.
"""

from __future__ import annotations

import sys
from typing import Any

from moto.cloudfront import models, urls
from moto.cloudfront.responses import CloudFrontResponse
from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult, EmptyResult
from moto.ec2.models.security_groups import SecurityGroupRule
from moto.ecs.responses import EC2ContainerServiceResponse
from moto.moto_api._internal import mock_random

from tests.deployment.moto_server import mend_lambda, mend_permissions, mend_the_rest
from tests.deployment.replacing import around

FUNCTION = "{0}/2020-05-31/function/(?P<function_name>[^/]+)/publish$"
VPC_ORIGINS = ("{0}/2020-05-31/vpc-origin$", "{0}/2020-05-31/vpc-origin/(?P<origin_id>[^/]+)$")
SERVICE = ("availabilityZoneRebalancing", "healthCheckGracePeriodSeconds", "enableECSManagedTags")
PREFIX_LIST = 7  # its place among the arguments of a rule
vpc_origins: dict[str, dict[str, Any]] = {}


class Missing(ServiceException):
    """There is no such origin."""

    code = "EntityNotFound"


class Conflict(ServiceException):
    """An origin that is in use can't go."""

    code = "CannotDeleteEntityWhileInUse"


def mend_distributions() -> None:
    """What moto drops of origins and behaviours."""

    @around(models.Origin, "__init__")
    def origin(original: Any, self: Any, given: dict[str, Any]) -> None:
        original(self, given)
        self.origin_access_control_id = given.get("OriginAccessControlId") or ""
        if "VpcOriginConfig" in given:
            self.vpc_origin_config = given["VpcOriginConfig"]

    @around(models.DefaultCacheBehaviour, "__init__")
    def behaviour(original: Any, self: Any, given: dict[str, Any]) -> None:
        original(self, given)
        associations = given.get("FunctionAssociations") or {}
        items = associations.get("Items") or []
        self.function_associations = {"Quantity": len(items), "Items": items}
        if self.cache_policy_id:  # A policy takes the place of all of these.
            del self.forwarded_values, self.min_ttl, self.default_ttl, self.max_ttl

    @around(models.ViewerCertificate, "__init__")
    def certificate(original: Any, self: Any, given: dict[str, Any]) -> None:
        original(self, given)
        if self.cloud_front_default_certificate:
            del self.iam_certificate_id, self.acm_certificate_arn
            self.ssl_support_method = "vip"


def mend_functions() -> None:
    """Publishing, without which a distribution takes no function."""

    def publish_function(self: Any) -> ActionResult:
        function = self.backend.describe_function(name=self._get_param("Name"))
        function.stage, function.status = "LIVE", "DEPLOYED"
        return ActionResult({"FunctionSummary": function.function_summary})

    def update_function(self: Any) -> ActionResult:
        function = self.backend.describe_function(name=self._get_param("Name"))
        function.config, function.code = self._get_param("FunctionConfig"), self._get_param("FunctionCode")
        return ActionResult({"FunctionSummary": function.function_summary, "ETag": function.etag})

    CloudFrontResponse.publish_function = publish_function  # type: ignore[attr-defined]
    CloudFrontResponse.update_function = update_function  # type: ignore[attr-defined]
    urls.url_paths[FUNCTION] = CloudFrontResponse.dispatch


def mend_vpc_origins() -> None:
    """CloudFront's origins within a VPC."""

    def create_vpc_origin(self: Any) -> ActionResult:
        id = f"vo_{mock_random.get_random_string(22)}"
        config = self._get_param("VpcOriginEndpointConfig")
        arn = f"arn:aws:cloudfront::{self.current_account}:vpcorigin/{id}"
        made = {"Id": id, "Arn": arn, "Status": "Deployed", "VpcOriginEndpointConfig": config}
        vpc_origins[id] = made
        self.backend.tagger.tag_resource(arn, self._get_param("Tags.Items", []) or [])
        return ActionResult({"VpcOrigin": made, "ETag": "E1", "Location": f"/2020-05-31/vpc-origin/{id}"})

    def get_vpc_origin(self: Any) -> ActionResult:
        found = vpc_origins.get(self._get_param("Id"))
        if found is None:
            raise Missing(f"no VPC origin {self._get_param('Id')}")
        return ActionResult({"VpcOrigin": found, "ETag": "E1"})

    def delete_vpc_origin(self: Any) -> ActionResult:
        id = self._get_param("Id")
        for distribution in self.backend.distributions.values():
            for origin in distribution.distribution_config.Origins["Items"]:
                if getattr(origin, "vpc_origin_config", {}).get("VpcOriginId") == id:
                    raise Conflict(f"{id} is used by {distribution.distribution_id}")
        vpc_origins.pop(id, None)
        return EmptyResult()

    for method in (create_vpc_origin, get_vpc_origin, delete_vpc_origin):
        setattr(CloudFrontResponse, method.__name__, method)
    for path in VPC_ORIGINS:
        urls.url_paths[path] = CloudFrontResponse.dispatch


def mend_services() -> None:
    """What moto drops of a service."""

    @around(EC2ContainerServiceResponse, "create_service")
    def create_service(original: Any, self: Any) -> ActionResult:
        answer: ActionResult = original(self)
        made: Any = answer.result
        for name in SERVICE:
            setattr(made["service"], name, self._get_param(name))
        return answer


def mend_rules() -> None:
    """Descriptions of rules that name a group or a list of prefixes."""

    @around(SecurityGroupRule, "__init__")
    def init(original: Any, self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        prefixes = args[PREFIX_LIST] if len(args) > PREFIX_LIST else None
        self.described = (prefixes or {}).get("Description") or self.source_group.pop("Description", None)

    def description(self: Any) -> str | None:
        found: str | None = self.ip_range.get("Description") or self.described
        return found

    SecurityGroupRule.description = property(description)  # type: ignore[assignment,method-assign]


def main(port: int) -> None:
    """Serve until killed."""
    mend_lambda()
    mend_permissions()
    mend_the_rest()
    mend_distributions()
    mend_functions()
    mend_vpc_origins()
    mend_services()
    mend_rules()
    from moto.server import main as serve

    serve(["-H", "127.0.0.1", "-p", str(port)])


if __name__ == "__main__":
    main(int(sys.argv[1]))
