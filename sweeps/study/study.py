"""The study: an immutable description of everything that is going to be trained."""

import re
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sweeps.errors import SpecError, StoreError
from sweeps.study.objectives import facts_of
from sweeps.study.sampling import Sampler
from sweeps.study.space import Hyperparameter, Value
from sweeps.study.trial import digest
from sweeps.study.units import Unit
from sweeps.system.files import atomic_write, parse_toml, read_text

STUDY_DIGITS = 6
MAX_MODELS_CHARACTERS = 60  # characters; a file's name has at most 255


class Estimand(BaseModel):
    """What decides between models, declared before anything runs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    within: float = Field(default=4.0, gt=0)
    """Points above the reference; 4 is the paper's own number (section 5.3)."""
    reference: Literal["sample-min"] = "sample-min"
    policy: Literal["chance", "last", "best", "drop", "beyond"] = "chance"
    """`beyond`: of a loss, which has no chance; failures lie beyond every distance."""


class Configuration(BaseModel):
    """One configuration that is listed, not drawn."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    optim: str
    epochs: int
    hyperparameters: dict[str, Value]
    """As applied."""


class Study(BaseModel):
    """What is trained: resolved, so that nothing in it depends on a default of this program."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    models: tuple[str, ...] = Field(min_length=1)
    """Full names."""
    optims: tuple[str, ...] = Field(min_length=1)
    epochs: tuple[int, ...] = Field(min_length=1)
    """Schedule lengths; each draw is trained at each."""
    draws: int = Field(ge=1)
    """Points of the unit cube; a trial for each model, optimizer and length. Where the
    configurations are listed: seeds that each is trained with."""
    sampler: Literal[Sampler, "listed"]
    seed: int = Field(ge=0)
    """Of the design and, with the number of the draw, of each training."""
    data: str
    """Its short name, in tables, titles and the name of the folder."""
    data_source: str = ""
    """By which the objective loads the data, `folder:/home/me/flowers`; empty where `data` is
    enough. A place is no content: the hash leaves it out."""
    left_out: dict[str, tuple[str, ...]] = {}
    """By class, unreadable images that the data are without. The fingerprint is of the others."""
    fingerprint: str
    """Of the data's content."""
    precision: Literal["float32", "bfloat16"] = "float32"
    objective: str = Field(pattern=r"^[\w.]+:\w+$")
    """`module:function`"""
    recipe: dict[str, dict[str, Any]]
    """For each optimizer, the settings that are not drawn."""
    model_settings: dict[str, dict[str, Any]] = {}
    """Further settings by model, for trials of this model alone. They replace the recipe's, and
    drawn values replace them."""
    space: tuple[Hyperparameter, ...] = Field(min_length=1)
    configurations: tuple[Configuration, ...] = ()
    """What is trained where nothing is drawn: the sampler is `listed`."""
    primary: Estimand = Estimand()
    unit: Unit = ""
    """Of the errors that the objective returns; empty where none was named. It may be named when
    trials are trained already, so the hash leaves it out, and with `raw` the `primary` in its unit.
    """
    origin: str = ""
    """Where recipe and space come from, in words. Decides nothing."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        for name in ("models", "optims", "epochs"):
            values = getattr(self, name)
            if len(set(values)) != len(values):
                raise ValueError(f"{name} holds {values}: the same twice")
        if missing := [optim for optim in self.optims if optim not in self.recipe]:
            raise ValueError(f"no recipe for {', '.join(missing)}")
        if (self.unit == "raw") != (self.primary.policy == "beyond"):
            raise ValueError("the policy is 'beyond' where the unit is 'raw', only there")
        if unknown := [model for model in self.model_settings if model not in self.models]:
            raise ValueError(f"model_settings names {', '.join(unknown)}, not a model of the study")
        if (self.sampler == "listed") != bool(self.configurations):
            raise ValueError("configurations are listed where the sampler is 'listed', only there")
        return self

    def constants(self, model: str, optim: str) -> dict[str, Any]:
        """Settings of this model's trials with this optimizer that are not drawn."""
        return {**self.recipe[optim], **self.model_settings.get(model, {})}

    @property
    def hash(self) -> str:
        """6 hexadecimal digits of its content.

        Fields at their default are left out: a field that is added later, with what was done
        before as its default, renames no old study. So a default may never change. The place of
        the data is left out: the same data elsewhere are the same study; so is the unit.
        """
        silent = {"origin", "data_source", "left_out", "unit"} | self._in_unit
        content = self.model_dump(mode="json", exclude_defaults=True, exclude=silent)
        return digest(content, STUDY_DIGITS)

    @property
    def read_by(self) -> str:
        """Unit by which results are read: the one that was named, or that of the objective."""
        return self.unit or facts_of(self.objective).unit

    @property
    def _in_unit(self) -> set[str]:
        """Fields that change when a unit is named."""
        return {"primary"} if self.unit == "raw" else set()

    def in_unit(self, unit: Unit, within: float | None = None) -> "Study":
        """The same study with the unit of its objective named; `raw` needs its own `within`."""
        is_raw = unit == "raw"
        primary = {"within": within, "policy": "beyond"} if is_raw else {}
        changes = (
            {"unit": unit, "primary": primary} if is_raw or self.unit == "raw" else {"unit": unit}
        )
        return type(self).model_validate({**self.model_dump(), **changes})

    @property
    def name(self) -> str:
        """Readable part and hash: the name of its run directory.

        What is plural is joined by `+`; too many models for a file's name are counted.
        """
        epochs = "+".join(map(str, self.epochs))
        models, optims = "+".join(self.models), "+".join(self.optims)
        if len(models) > MAX_MODELS_CHARACTERS:
            models = f"{len(self.models)}-models"
        readable = f"{models}-{optims}-{self.data}-e{epochs}-n{self.draws}"
        return re.sub(r"[^\w.+-]", ".", readable) + f"-{self.hash}"

    @property
    def trials(self) -> int:
        """How many trials it has."""
        if self.configurations:
            return self.draws * len(self.configurations)
        return self.draws * len(self.models) * len(self.optims) * len(self.epochs)

    def write(self, path: Path) -> None:
        """As TOML, whole or not at all."""
        import tomli_w

        optional = ("origin", "model_settings", "left_out", "unit")
        silent = {name for name in optional if not getattr(self, name)}
        content = self.model_dump(mode="json", exclude_none=True, exclude=silent)
        with atomic_write(path) as temporary:
            header = (
                f"# Study {self.hash}: {self.trials} trials. Only its unit may be named later.\n"
            )
            temporary.write_text(header + tomli_w.dumps(content), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> "Study":
        """From TOML. Raises StoreError where it cannot be read, SpecError with every fault."""
        try:
            content = parse_toml(read_text(path))
        except (OSError, ValueError) as error:
            raise StoreError(f"{path} cannot be read: {error}") from error
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            faults = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
            raise SpecError([f"{path}: {fault}" for fault in faults]) from error

    def differences(self, other: "Study") -> list[str]:
        """One sentence for each field but the unit in which `other` differs from this study."""
        silent = {"origin", "left_out", "unit"} | (self._in_unit ^ other._in_unit)
        mine, theirs = (s.model_dump(mode="json", exclude=silent) for s in (self, other))
        return [
            f"{name}: {theirs[name]!r} there, {mine[name]!r} asked for"
            for name in mine
            if mine[name] != theirs[name]
        ]
