"""MLflow's scoring protocol, which SageMaker's containers speak too: JSON in four forms, or CSV."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from adapter.dialects.scoring import json_parts
from adapter.dialects.scoring.instances import from_instances, from_records, from_table, from_tensors
from adapter.dialects.scoring.json_parts import Part
from adapter.dialects.scoring.model_inputs import ModelInputs
from adapter.errors import BadFeatures
from converter.schema.manifest import ModelEntry


def _read_split(part: Part, inputs: ModelInputs) -> tuple[Part, str]:
    members = json_parts.read_members(part, "dataframe_split")
    if "data" not in members:
        raise BadFeatures("The field dataframe_split.data is missing.")
    where = "dataframe_split.data"
    names = json_parts.read_names(members["columns"], "dataframe_split.columns") if "columns" in members else None
    return from_table(names, members["data"], inputs, where), where


_FORMS: Mapping[str, Callable[[Part, ModelInputs], tuple[Part, str]]] = {
    "dataframe_split": _read_split,
    "dataframe_records": lambda part, inputs: (
        from_records(part, inputs, "dataframe_records", by_place=True),
        "dataframe_records",
    ),
    "instances": lambda part, inputs: (from_instances(part, inputs, "instances"), "instances"),
    "inputs": lambda part, inputs: (from_tensors(part, inputs, "inputs"), "inputs"),
}


def read_invocation(body: bytes, entry: ModelEntry) -> tuple[Part, str]:
    """Return the features of a request in JSON, and the key that it has them under.

    Raises: MalformedJson if the body is not JSON; BadFeatures and SchemaMismatch if it is not what the model takes.
    """
    members = json_parts.read_body(body, _FORMS)
    found = [name for name in _FORMS if name in members]
    if len(found) != 1:
        raise BadFeatures(f"The body needs one of the fields {', '.join(_FORMS)}, and has {len(found)} of them.")
    if "params" in members and bytes(members["params"]) not in (b"null", b"{}"):
        raise BadFeatures("params: the models of this server take no parameters.")
    return _FORMS[found[0]](members[found[0]], ModelInputs(entry))
