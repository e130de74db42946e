"""How many instances a model has, and which of its requests go first, as a model's config says."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from converter.schema.fields.field_checks import MisplacedError

MOST_INSTANCES = 64
# `instances: auto`, until the build decides.
AUTO_INSTANCES = 0
# The pack of `pack: true`, and of models that name none.
DEFAULT_PACK = "default"
# As a model's name, and short enough for what follows it in the names of folders.
PACK_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}"
DURATION = r"([0-9]{1,6})([smh])"
_SECONDS = {"s": 1, "m": 60, "h": 3600}


def _number_or_auto(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    return AUTO_INSTANCES if value == "auto" else check(value)


def _name_of_pack(value: Any) -> Any:
    if value is True:
        return DEFAULT_PACK
    if value is not False and not (isinstance(value, str) and re.fullmatch(PACK_NAME, value)):
        raise ValueError(
            f"{value!r} is no pack: write false, or a name of up to 100 letters, digits, dots, dashes and underscores"
        )
    return value


def _seconds_of(value: Any) -> Any:
    """Take `10m` as seconds; a number is seconds already."""
    found = re.fullmatch(DURATION, value) if isinstance(value, str) else None
    if found is None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise ValueError(f"{value!r} is no duration: write it as in 30s, 10m or 2h")
    return int(found[1]) * _SECONDS[found[2]] if found else value


Pack = Annotated[str | Literal[False], BeforeValidator(_name_of_pack)]
Duration = Annotated[float, Field(ge=1, le=30 * 24 * 3600), BeforeValidator(_seconds_of)]
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
