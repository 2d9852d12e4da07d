"""Facts about built-in objectives, which are needed before an objective is imported.

The package that has the objectives registers them when it is imported. A worker gets the table of
its driver with its `WorkerSpec`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sweeps.errors import SpecError

PROGRAM_PACKAGES = ("stability", "sweeps", "analysis")
"""Packages of this program: a module of theirs is not the user's code."""


@dataclass(frozen=True, kw_only=True)
class ObjectiveFacts:
    """What has to be known of an objective. The defaults hold for a user's own objective."""

    old_defaults: Mapping[str, Any] = field(default_factory=dict)
    """Settings added after the first release, with the value that all trials had until then. A
    setting with this value is left out of a trial's id, so that old trials keep their ids."""
    unit: str = ""
    """Unit of its errors; empty where it has to be named."""


_registered: dict[str, ObjectiveFacts] = {}


def register_objectives(facts: Mapping[str, ObjectiveFacts]) -> None:
    """Add objectives by name, `module:function`. A later registration replaces an earlier one."""
    _registered.update(facts)


def registered_objectives() -> dict[str, ObjectiveFacts]:
    """All that were registered, by name: data that can be sent to another process."""
    return dict(_registered)


def facts_of(objective: str) -> ObjectiveFacts:
    """The facts about an objective.

    Raises:
        SpecError: it is an objective of this program that was not registered. Without its facts,
            its trials would get other ids.
    """
    package = objective.partition(":")[0].partition(".")[0]
    if objective not in _registered and package in PROGRAM_PACKAGES:
        raise SpecError(
            [
                f"objective {objective} is not registered, so the ids of its trials are not known: "
                f"import {package} first"
            ]
        )
    return _registered.get(objective, ObjectiveFacts())
