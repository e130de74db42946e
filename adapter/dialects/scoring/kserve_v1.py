"""KServe's V1 protocol: `{"instances": …}` and `{"predictions": …}`, which TensorFlow Serving has too.

The protocol is described by KServe, docs "V1 Inference Protocol".
"""

from __future__ import annotations

from adapter.dialects.scoring import json_parts
from adapter.dialects.scoring.instances import from_instances
from adapter.dialects.scoring.json_parts import Part
from adapter.dialects.scoring.model_inputs import ModelInputs
from adapter.errors import BadFeatures
from converter.schema.manifest import ModelEntry


def read_instances(body: bytes, entry: ModelEntry) -> tuple[Part, str]:
    """Return the features of a request, and the key that it has them under.

    Raises: MalformedJson if the body is not JSON; BadFeatures and SchemaMismatch if it is not what the model takes.
    """
    members = json_parts.read_body(body, ("instances",))
    if "instances" not in members:
        raise BadFeatures("The field instances is missing.")
    return from_instances(members["instances"], ModelInputs(entry), "instances"), "instances"
