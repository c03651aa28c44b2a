"""The configurations of every family, by name: whichever test file has them."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from tests import families
from tests.families.checks import Checks

for _module in pkgutil.iter_modules(families.__path__):
    if _module.name.startswith("test_") and _module.name != "test_every":
        import_module(f"{families.__name__}.{_module.name}")

CONFIGS: Mapping[str, Mapping[str, Any]] = {
    name: config for family in Checks.__subclasses__() for name, config in family.CONFIGS.items()
}
