"""The JSON Schema of model_config.yaml: pydantic's, in the forms that the config takes, with what each key means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from converter.reference.key_texts import TEXTS, KeyText
from converter.schema import dtypes
from converter.schema.fields.column_spec import ColumnSpec
from converter.schema.fields.scheduling import DURATION, MOST_INSTANCES, PACK_NAME
from converter.schema.model import PYTHONS, ModelArgs, ModelFile, ModelSpec, TensorSpec

Schema = dict[str, Any]

_NULL: Schema = {"type": "null"}
# What validators take that come before the types, which pydantic does not see.
_FORMS: Mapping[type[BaseModel], Mapping[str, Schema]] = {
    ModelSpec: {
        "name": {"type": "string", "pattern": r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$"},
        "version": {"type": ["string", "number"]},
        "python": {"enum": list(PYTHONS)},
        "instances": {"anyOf": [{"type": "integer", "minimum": 1, "maximum": MOST_INSTANCES}, {"const": "auto"}]},
        "pack": {"anyOf": [{"type": "string", "pattern": f"^{PACK_NAME}$"}, {"type": "boolean"}]},
        "idle_unload": {"anyOf": [{"type": "string", "pattern": f"^{DURATION}$"}, {"type": "number", "minimum": 1}]},
    },
    TensorSpec: {
        "shape": {
            "type": "array",
            "minItems": 1,
            "maxItems": 32,
            "prefixItems": [{"const": -1}],
            "items": {"type": "integer", "anyOf": [{"const": -1}, {"minimum": 1}]},
        },
        "dtype": {"enum": list(dtypes.NAMES)},
    },
    ColumnSpec: {"dtype": {"enum": list(dtypes.NAMES)}},
    ModelArgs: {
        "device": {"type": "string", "pattern": "^[cC][pP][uU]$"},
        "class": {"type": ["string", "null"], "pattern": r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$"},
        "model_file": {"type": ["string", "null"], "not": {"pattern": r"^/|://|\\|(^|/)\.\.(/|$)"}},
    },
}
# Keys that take one value in the place of a list of them.
_ONE_OR_MANY = ("input", "output", "preferred_batch_size", "endpoints")
# And those that must not be an empty list.
_FILLED = ("input", "output", "endpoints", "requirements")


class _Untitled(GenerateJsonSchema):
    """Leaves out the titles of keys, which only repeat them."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def make_schema() -> Schema:
    """Make the JSON Schema of a whole model_config.yaml."""
    schema = ModelFile.model_json_schema(schema_generator=_Untitled)
    schema["$schema"] = GenerateJsonSchema.schema_dialect
    parts = {kind: schema["$defs"].get(kind.__name__, schema) for kind in TEXTS}
    for kind, part in parts.items():
        part["properties"] = {
            key: _describe(_FORMS.get(kind, {}).get(key, found), found, find_text(kind, key))
            for key, found in part["properties"].items()
        }
    tensor = parts[TensorSpec]
    tensor["anyOf"] = [{"required": tensor.pop("required")}, {"required": ["columns"], "properties": {"dtype": False}}]
    _widen(parts[ModelSpec])
    return schema


def find_text(kind: type[BaseModel], key: str) -> KeyText:
    """Find what a key means: here, or in its field's own description."""
    if key in TEXTS[kind]:
        return TEXTS[kind][key]
    fields = {field.alias or name: field for name, field in kind.model_fields.items()}
    return KeyText(fields[key].description or "")


def _describe(form: Schema, found: Schema, text: KeyText) -> Schema:
    """Add what a key means, and its default if it is a plain value."""
    default = found.get("default")
    plain = {"default": default} if default is not None and not isinstance(default, dict) and not text.default else {}
    required = (text.default or "").startswith("required")
    words = f" ({'' if required else 'default: '}{text.default})" if text.default else ""
    described = {key: value for key, value in form.items() if key not in ("default", "description")}
    return {"description": text.means + words, **described, **plain}


def _widen(model: Schema) -> None:
    """Take what a model's validators take: one for many, no value for the default, and what each backend needs."""
    model["required"].append("model_args")
    for key, part in model["properties"].items():
        many: Schema = next((item for item in (part, *part.get("anyOf", ())) if item.get("type") == "array"), {})
        if key in _FILLED:
            many.pop("minLength", None)
            many["minItems"] = 1
        about = {name: part.pop(name) for name in ("description", "default") if name in part}
        forms = list(part["anyOf"]) if "anyOf" in part else [dict(part)]
        if key in _ONE_OR_MANY:
            forms.insert(0, many["items"])
        if key == "verify":
            forms = [item if "$ref" in item else {"type": "boolean"} for item in forms]
        if key not in model["required"] and _NULL not in forms:
            forms.append(_NULL)
        model["properties"][key] = {**about, **(forms[0] if len(forms) == 1 else {"anyOf": forms})}
    model["if"] = {"properties": {"backend": {"const": "python"}}}
    model["then"], model["else"] = _needs("class", "model_file"), _needs("model_file", "class")


def _needs(key: str, other: str) -> Schema:
    """Require one key of model_args, and no value of the other."""
    args = {"required": [key], "properties": {key: {"type": "string"}, other: _NULL}}
    return {"properties": {"model_args": args}}
