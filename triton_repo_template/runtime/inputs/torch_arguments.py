"""Which argument of a TorchScript module's forward each input is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ..config import TensorConfig
from ..errors import LoadError

# What a trace calls the arguments of a forward that takes `*inputs`.
_NAMELESS = re.compile(r"argument_\d+")


def takes_by_name(module: Any, inputs: Sequence[TensorConfig]) -> bool:
    """Return whether a module is to be called with its inputs by name; else they are in the config's order.

    A single input goes by its place, and so do several of a forward whose arguments have no names.

    Raises: LoadError if several inputs are not called as the arguments are.
    """
    if len(inputs) == 1:
        return False
    # The first is the module itself.
    arguments = module.forward.schema.arguments[1:]
    if arguments and all(_NAMELESS.fullmatch(item.name) for item in arguments):
        return False
    taken = [item.name for item in arguments]
    needed = {item.name for item in arguments if not item.has_default_value()}
    given = {item.name for item in inputs}
    if not needed <= given <= set(taken):
        raise LoadError(
            f"forward takes {', '.join(taken) or 'nothing'}, and the inputs of the config are "
            f"{', '.join(item.name for item in inputs)}: give each input the name of its argument"
        )
    return True
