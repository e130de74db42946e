"""How many instances a model has, and which of its requests go first, as a model's config says."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidatorFunctionWrapHandler, WrapValidator, model_validator

from converter.schema.fields.field_checks import MisplacedError

MOST_INSTANCES = 64
# `instances: auto`, until the build decides.
AUTO_INSTANCES = 0


def _number_or_auto(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    return AUTO_INSTANCES if value == "auto" else check(value)


Instances = Annotated[int, Field(ge=1, le=MOST_INSTANCES), WrapValidator(_number_or_auto)]


class PrioritySpec(BaseModel):
    """The levels of the queue of Triton's batcher, 1 the first; `default` is that of requests that name none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    levels: int = Field(ge=2, le=100)
    default: int | None = Field(None, ge=1)

    @property
    def default_level(self) -> int:
        """The level of requests that name none: the last, unless the config says another."""
        return self.default or self.levels

    @model_validator(mode="after")
    def _default_is_a_level(self) -> PrioritySpec:
        if self.default_level > self.levels:
            raise MisplacedError(("default",), f"{self.default} is no level: they are 1 to {self.levels}")
        return self
