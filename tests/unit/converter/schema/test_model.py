"""ModelSpec: its defaults, and what each key becomes."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from converter.schema import dtypes
from converter.schema.fields.class_labels import meaning_of
from converter.schema.model import ModelArgs, ModelFile, ModelSpec, QueueSpec, VerifySpec, nearest
from tests.support.models.sample_models import model_data, model_spec


def test_keys_left_out_have_their_defaults() -> None:
    spec = model_spec()
    assert (spec.version, spec.description, spec.caching) == ("1.0.0", "", False)
    assert (spec.preferred_batch_size, spec.max_batch_delay_ms, spec.rush_batch_size) == ((), 10, None)
    assert (spec.instances, spec.trusted) == (1, False)
    assert spec.queue == QueueSpec(max_size=None, timeout_ms=None)
    assert spec.endpoints == ("predict", "predict_batched")
    assert spec.non_finite == "error"
    assert spec.model_args == ModelArgs(model_file="m.joblib", device="cpu", class_=None, kwargs={}, method=None)
    assert (spec.input[0].name, spec.input[0].type) == (None, "array")


@pytest.mark.parametrize(
    ("written", "kept"),
    [([128, 16, 64, 32], (16, 32, 64, 128)), ([8, 8, 4], (4, 8)), (32, (32,)), ([1], (1,)), ([], ())],
)
def test_preferred_batch_sizes_are_sorted_and_each_stands_once(written: Any, kept: tuple[int, ...]) -> None:
    assert model_spec(preferred_batch_size=written).preferred_batch_size == kept


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("predict", ("predict",)),
        (["predict_batched"], ("predict_batched",)),
        (["predict_batched", "predict"], ("predict_batched", "predict")),
        (["predict", "predict"], ("predict",)),
    ],
)
def test_endpoints_are_a_word_or_a_list(written: Any, kept: tuple[str, ...]) -> None:
    assert model_spec(endpoints=written).endpoints == kept


def test_non_finite_null_lets_them_pass_and_absence_does_not() -> None:
    data = model_data()
    assert ModelFile.model_validate(data).model.non_finite == "error"
    data["model"]["non_finite"] = None
    assert ModelFile.model_validate(data).model.non_finite is None


def test_non_finite_has_no_other_value() -> None:
    with pytest.raises(ValidationError) as caught:
        model_spec(non_finite="ignore")
    assert [item["loc"] for item in caught.value.errors()] == [("model", "non_finite")]


def test_several_inputs_keep_their_names_and_order() -> None:
    spec = model_spec(
        input=[
            {"name": "b", "shape": [-1, 2], "dtype": "int"},
            {"name": "a", "shape": [-1, 3, -1], "dtype": "half"},
        ]
    )
    assert [(item.name, item.row_dims, item.dtype) for item in spec.input] == [
        ("b", (2,), "int64"),
        ("a", (3, -1), "float16"),
    ]


@pytest.mark.parametrize(
    ("backend", "dtype", "said"),
    [
        ("joblib", "bool", "a bool has no value for what is missing: write dtype: float32"),
        ("onnx", "int64", "a model of backend onnx has no value for a missing int64, only NaN in floats"),
        ("torch", "string", "a model of backend torch has no value for a missing string"),
    ],
)
def test_what_cannot_be_missing_is_said(backend: str, dtype: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        model_spec(backend, input={"shape": [-1, 2], "dtype": dtype, "nullable": True})


@pytest.mark.parametrize(
    ("backend", "dtype", "wire"),
    [("onnx", "float32", "float32"), ("joblib", "int8", "float64"), ("python", "string", "string")],
)
def test_what_may_be_missing_crosses_in_a_dtype_that_has_a_value_for_it(backend: str, dtype: str, wire: str) -> None:
    spec = model_spec(backend, input={"shape": [-1, 2], "dtype": dtype, "nullable": True})
    assert (spec.input[0].dtype, spec.input[0].wire_dtype) == (dtype, wire)


COLUMNS = [{"name": "age", "dtype": "int", "nullable": True}, {"name": "city of birth", "dtype": "str"}]


def test_columns_stand_in_the_place_of_shape_and_dtype() -> None:
    for more in ({}, {"shape": [-1, 2]}):
        spec = model_spec(input={"columns": COLUMNS, **more})
        assert (spec.input[0].shape, spec.input[0].dtype, spec.input[0].row_bytes) == ((-1, 2), "mixed", 8 + 64)
        assert [(c.name, c.dtype, c.wire_dtype, c.kind) for c in spec.columns] == [
            ("age", "int64", "float64", "integer"), ("city of birth", "string", "string", "string"),
        ]  # fmt: skip
        assert ModelSpec.model_validate_json(spec.model_dump_json(by_alias=True)) == spec


def test_several_inputs_of_one_value_are_columns_of_a_pickle() -> None:
    inputs = [{"name": "a", "shape": [-1, 1], "dtype": "int"}, {"name": "b", "shape": [-1], "dtype": "str"}]
    assert [(c.name, c.dtype) for c in model_spec(input=inputs).columns] == [("a", "int64"), ("b", "string")]
    assert model_spec("python", input=inputs).columns == ()
    assert model_spec(input=[inputs[0], {**inputs[1], "shape": [-1, 2]}]).columns == ()
    assert model_spec(input=inputs[0]).columns == ()


@pytest.mark.parametrize(
    ("backend", "tensor", "place", "said"),
    [
        ("joblib", {"dtype": "float32"}, ("dtype",), "each their own: remove it"),
        ("joblib", {"shape": [-1, 3]}, ("shape",), "is [-1, 2] for these columns"),
        ("joblib", {"nullable": True}, ("nullable",), "stands at each of the columns"),
        ("joblib", {"columns": [COLUMNS[0], COLUMNS[0]]}, (1, "name"), "the column age stands here twice"),
        ("joblib", {"columns": [{"name": "a", "dtype": "bool", "nullable": True}]}, ("nullable",), "a bool has no"),
        ("joblib", {"columns": [{"name": "a\n", "dtype": "bool"}]}, (), "1 to 256 characters"),
        (
            "joblib",
            {"columns": [{"name": 'a"', "dtype": "bool"}]},
            (),
            "has '\"' in it, which a name in requests",
        ),
        ("joblib", {"columns": [{"name": "a\\", "dtype": "bool"}]}, (), "fit or export the model with another"),
        ("joblib", {"columns": [{"name": "a", "dtype": "mixed"}]}, (), "'mixed' is not one of"),
        ("joblib", {"columns": [], "shape": [-1, 2], "dtype": "mixed"}, ("dtype",), "mixed is for inputs with columns"),
        ("onnx", {}, ("input", 0, "columns"), "a model of backend onnx takes tensors"),
        ("torch", {}, ("input", 0, "columns"), "a model of backend torch takes tensors"),
    ],
)
def test_what_is_wrong_with_columns_is_said_at_its_place(
    backend: str, tensor: dict[str, Any], place: tuple[str | int, ...], said: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        model_spec(backend, input={"columns": COLUMNS, **tensor})
    (error,) = caught.value.errors()
    assert said in error["msg"]
    assert getattr(error["ctx"]["error"], "place", ()) == place


def test_columns_are_of_the_only_input_and_of_no_output() -> None:
    one, two = {"name": "a", "columns": COLUMNS}, {"name": "b", "shape": [-1], "dtype": "int"}
    with pytest.raises(ValidationError, match="is for the only input: write all columns there"):
        model_spec(input=[one, two])
    with pytest.raises(ValidationError, match="is for inputs: write shape and dtype"):
        model_spec(output={"columns": COLUMNS})


FLOATS = {"shape": [-1, 3], "dtype": "float32"}


@pytest.mark.parametrize(
    ("classes", "output", "meaning"),
    [
        (["a", "b", "c"], FLOATS, "scores"),
        ([1, 2, 3], FLOATS, "scores"),
        (["a", "b"], {"shape": [-1], "dtype": "string"}, "label"),
        ([1, 2], {"shape": [-1, 1], "dtype": "int64"}, "label"),
        ([False, True], {"shape": [-1, 1], "dtype": "bool"}, "label"),
        ([0.5, 1.5], {"shape": [-1, 1], "dtype": "float64"}, "label"),
        (["a", "b"], {"shape": [-1, 1], "dtype": "int64"}, "index"),
        ([False, True], {"shape": [-1, 1], "dtype": "uint8"}, "index"),
    ],
)
def test_classes_go_with_outputs(classes: list[Any], output: dict[str, Any], meaning: str) -> None:
    spec = model_spec(output=output, classes=classes)
    assert list(spec.classes) == classes
    assert meaning_of(spec.output[0].dtype, spec.output[0].row_dims, spec.classes) == meaning


@pytest.mark.parametrize(
    ("classes", "output", "said"),
    [
        (["a", "b"], FLOATS, "there are 2, and no output has a float for each, or one label: list all"),
        ([0, 1], {"shape": [-1, 1], "dtype": "float32"}, r"write output shape: \[-1, 2\] for probabilities"),
        (["a", "b"], {"shape": [-1, -1], "dtype": "float32"}, "there are 2, and no output"),
        ([1, "1", 2], FLOATS, "the class 1 stands here twice"),
        ([True, "true", "x"], FLOATS, "the class true stands here twice"),
    ],
)
def test_classes_that_fit_nothing_are_said(classes: list[Any], output: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        model_spec(output=output, classes=classes)


def test_outputs_are_not_nullable() -> None:
    with pytest.raises(ValidationError, match="is for inputs: `non_finite: null` sends null"):
        model_spec(output={"shape": [-1, 3], "dtype": "float32", "nullable": True})


def test_list_of_one_tensor_needs_no_name() -> None:
    listed = model_spec(output=[{"shape": [-1, 3], "dtype": "float32"}])
    assert listed.output == model_spec().output


def test_empty_list_of_tensors_is_refused() -> None:
    with pytest.raises(ValidationError) as caught:
        model_spec(input=[])
    assert [item["loc"] for item in caught.value.errors()] == [("model", "input")]


@pytest.mark.parametrize(("written", "kept"), [(1, "1"), (2.1, "2.1"), ("1.0.0", "1.0.0"), ("2024-01", "2024-01")])
def test_version_is_text_however_it_is_written(written: Any, kept: str) -> None:
    assert model_spec(version=written).version == kept


@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function", "transform"])
def test_method_is_one_of_four(method: str) -> None:
    spec = model_spec(model_args={"model_file": "m.pkl", "method": method})
    assert spec.model_args.method == method


def test_other_method_is_refused() -> None:
    with pytest.raises(ValidationError) as caught:
        model_spec(model_args={"model_file": "m.pkl", "method": "fit"})
    assert [item["loc"] for item in caught.value.errors()] == [("model", "model_args", "method")]


def test_spec_is_frozen() -> None:
    spec = model_spec()
    with pytest.raises(ValidationError, match="frozen"):
        spec.name = "other"  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        spec.input[0].dtype = "int8"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("integer", "int64"), ("int", "int64"), ("float", "float64"), ("double", "float64"), ("half", "float16"),
        ("str", "string"), ("string", "string"), ("boolean", "bool"), ("uint8", "uint8"), ("uint16", "uint16"),
    ],
)  # fmt: skip
def test_dtype_aliases_mean_one_dtype(written: str, meant: str) -> None:
    assert model_spec(input={"shape": [-1], "dtype": written}).input[0].dtype == meant


@pytest.mark.parametrize(
    ("name", "numpy", "config", "onnx"),
    [
        ("float16", "float16", "TYPE_FP16", "tensor(float16)"),
        ("float32", "float32", "TYPE_FP32", "tensor(float)"),
        ("float64", "float64", "TYPE_FP64", "tensor(double)"),
        ("int64", "int64", "TYPE_INT64", "tensor(int64)"),
        ("uint16", "uint16", "TYPE_UINT16", "tensor(uint16)"),
        ("bool", "bool", "TYPE_BOOL", "tensor(bool)"),
        ("string", "object", "TYPE_STRING", "tensor(string)"),
    ],
)
def test_dtype_has_its_name_in_each_language(name: str, numpy: str, config: str, onnx: str) -> None:
    dtype = dtypes.by_name(name)
    assert (dtype.numpy, dtype.config, dtype.onnx) == (numpy, config, onnx)
    assert dtypes.by_onnx(onnx) is dtype


@pytest.mark.parametrize("name", ["seq(map(int64,tensor(float)))", "tensor(bfloat16)", ""])
def test_onnx_type_that_triton_does_not_serve_has_no_dtype(name: str) -> None:
    assert dtypes.by_onnx(name) is None


def test_name_of_no_dtype_raises() -> None:
    with pytest.raises(KeyError):
        dtypes.by_name("float33")


def test_nearest_is_silent_where_nothing_is_near() -> None:
    assert nearest("iris_forrest", ["iris_forest", "multiply"]) == " (did you mean iris_forest?)"
    assert nearest("zzz", ["iris_forest", "multiply"]) == ""


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        (None, VerifySpec()),
        (True, VerifySpec()),
        (False, False),
        ({"rtol": 0.01}, VerifySpec(rtol=0.01)),
        ({"rtol": 0, "atol": 1}, VerifySpec(rtol=0, atol=1)),
    ],
)
def test_verify_says_how_far_answers_may_be_off(written: Any, kept: Any) -> None:
    assert model_spec(verify=written).verify == kept


@pytest.mark.parametrize("written", ["no", 0, 1e-3, [1], {"rtol": -1}, {"relative": 1}])
def test_verify_takes_nothing_else(written: Any) -> None:
    with pytest.raises(ValidationError):
        model_spec(verify=written)


@pytest.mark.parametrize("backend", ["sklearn", "joblib"])
@pytest.mark.parametrize(
    "name", ["m.pickle", "m.pkl.gz", "m.joblib.bz2", "m.joblib.xz", "M.PKL.LZMA", "m.pkl.z", "m.pickle.lz4"]
)
def test_pickles_may_be_compressed(backend: str, name: str) -> None:
    assert model_spec(backend, model_args={"model_file": name}).model_args.model_file == name


@pytest.mark.parametrize("name", ["m.gz", "m.pkl.zip", "m.onnx.gz", "m.txt"])
def test_other_endings_are_refused_with_those_that_are_taken(name: str) -> None:
    message = rf"'{name}' does not end in \.joblib or \.pkl or \.pickle, which backend joblib loads"
    with pytest.raises(ValidationError, match=message):
        model_spec(model_args={"model_file": name})


@pytest.mark.parametrize(
    ("backend", "name", "right"),
    [("onnx", "m.joblib", "sklearn"), ("sklearn", "m.pt", "torch"), ("torch", "m.ONNX", "onnx")],
)
def test_an_ending_of_another_backend_names_that(backend: str, name: str, right: str) -> None:
    with pytest.raises(ValidationError, match=f"which backend {backend} loads: write backend: {right}"):
        model_spec(backend, model_args={"model_file": name})
