"""Model files and folders that reach out of themselves or grow without end: build errors within bounds (A22)."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from converter.schema.manifest import read_manifest
from tests.support.attacks.configs import config
from tests.support.servers.server import environment

MIB = 1024 * 1024
ZEROS = bytes(MIB)
# In MiB: what the build's processes may ever have. The bombs take 8 GiB.
MOST_MIB = 3000


def onnx_with(location: str) -> bytes:
    """A graph that adds 16 weights which lie elsewhere."""
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4])
    weights.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", "16")):
        entry = weights.external_data.add()
        entry.key, entry.value = key, value
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 4])],
        [weights],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def pickle_bomb(path: Path) -> None:
    """A pickle of 8 GiB of zeros, of which zlib makes 8 MiB."""
    squeeze = zlib.compressobj(9)
    with open(path, "wb") as file:
        file.write(squeeze.compress(b"\x80\x04\x8e" + (8192 * MIB).to_bytes(8, "little")))
        file.write(squeeze.flush(zlib.Z_FULL_FLUSH))
        # After a full flush a block does not depend on those before: one is enough, as often as it takes.
        file.write((squeeze.compress(ZEROS) + squeeze.flush(zlib.Z_FULL_FLUSH)) * 8192)
        file.write(squeeze.compress(b".") + squeeze.flush())


def torch_bomb(path: Path) -> None:
    """A zip with 8 GiB of zeros in it."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("m/data.pkl", b"\x80\x02N.")
        with archive.open("m/data/0", "w", force_zip64=True) as file:
            for _ in range(8192):
                file.write(ZEROS)


def put(models: Path, name: str, file: str = "m.joblib", content: bytes = b"\x80\x04N.") -> Path:
    """A model's folder, with its config and file."""
    folder = models / name
    folder.mkdir(parents=True)
    backend = {"onnx": "onnx", "pt": "torch"}.get(file.rpartition(".")[2], "joblib")
    output = "[-1, 4]" if backend == "onnx" else "[-1, 1]"
    text = config(backend=backend, file=file, output=output).replace("name: m\n", f"name: {name}\n")
    (folder / "model_config.yaml").write_text(text)
    (folder / file).write_bytes(content)
    return folder


def build(folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    (folder / "tmp").mkdir(exist_ok=True)
    code = f'ulimit -v {MOST_MIB * 1024}; umask 022; exec "$0" -m schwift build-repo --models models'
    return subprocess.run(
        ["sh", "-c", code, sys.executable], cwd=folder, env=environment(folder, settings),
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip


LOCATIONS = {
    "up": "../../../../../../../../../etc/passwd",
    "absolute": "/etc/passwd",
    "inside_and_up": "data/../../../etc/passwd",
    "memory": "*/_ORT_MEM_ADDR_/*",
    "gone": "not_there.bin",
    "other_model": "../fine/m.onnx",
    "empty": "",
}
Errors = Callable[[str], str]


@pytest.fixture(scope="module")
def errors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Errors]:
    """What one build says of the graphs, bombs and odd files of a folder each."""
    folder = tmp_path_factory.mktemp("artefacts")
    models = folder / "models"
    for name, location in LOCATIONS.items():
        put(models, f"onnx_{name}", "m.onnx", onnx_with(location))
    pickle_bomb(put(models, "pickle_bomb") / "m.joblib")
    torch_bomb(put(models, "torch_bomb", "m.pt") / "m.pt")
    claim = b"\x80\x05\x96" + (1 << 40).to_bytes(8, "little") + b"x."
    put(models, "claims", content=claim)
    put(models, "squeezed_claim", content=zlib.compress(b"\x80\x04\x8e" + (1 << 40).to_bytes(8, "little") + b"x."))
    done = build(folder)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
    assert sorted(os.listdir(folder)) == ["models", "tmp"]
    yield lambda name: "\n".join(line for line in done.stderr.splitlines() if f"models/{name}/" in line)


@pytest.mark.parametrize("name", LOCATIONS)
def test_A22_external_data_out_of_the_models_folder_is_a_build_error(errors: Errors, name: str) -> None:
    assert errors(f"onnx_{name}") == (
        f"error: models/onnx_{name}/model_config.yaml: m.onnx takes weights from {LOCATIONS[name]!r}, which is no file "
        "of the model's folder: save the model with its data beside it, under a plain name, or without external data"
    )


@pytest.mark.parametrize("name", ["pickle_bomb", "torch_bomb"])
def test_A22_four_megabytes_that_inflate_to_eight_gigabytes_are_a_build_error(errors: Errors, name: str) -> None:
    assert "inflates to " in errors(name)
    assert "the most for a file of its size: save the model uncompressed" in errors(name)


@pytest.mark.parametrize("name", ["claims", "squeezed_claim"])
def test_A22_pickle_that_claims_a_terabyte_is_a_build_error(errors: Errors, name: str) -> None:
    assert "is damaged" in errors(name) or "MiB of memory" in errors(name)


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Errors]:
    """What one build says of files that are no files, and of links."""
    folder = tmp_path_factory.mktemp("odd")
    models = folder / "models"
    os.mkfifo(put(models, "pipe") / "data")
    os.mknod(put(models, "device") / "data", 0o20600, os.makedev(1, 5))
    listening = socket.socket(socket.AF_UNIX)
    here = os.getcwd()
    os.chdir(put(models, "socket"))
    listening.bind("data")
    os.chdir(here)
    looped = put(models, "loop")
    (looped / "data").symlink_to(looped)
    (put(models, "circle") / "data").symlink_to("data")
    with open(put(models, "holes") / "data", "wb") as file:
        file.truncate(100 * 1024**3)
    (put(models, "passwd") / "data").symlink_to("/etc/passwd")
    (put(models, "model_file") / "linked.onnx").symlink_to("/etc/passwd")
    deep = put(models, "deep")
    (deep / "/".join(["d"] * 70)).mkdir(parents=True)
    done = build(folder)
    listening.close()
    assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
    yield lambda name: "\n".join(line for line in done.stderr.splitlines() if f"models/{name}" in line)


@pytest.mark.parametrize(
    "name, said",
    [
        ("pipe", "models/pipe/data: not a regular file, or a link to nothing: remove it"),
        ("device", "models/device/data: not a regular file, or a link to nothing: remove it"),
        ("socket", "models/socket/data: not a regular file, or a link to nothing: remove it"),
        ("loop", "models/loop/data: a link to a folder is not copied: put the folder itself here"),
        ("circle", "models/circle/data: cannot be read: Too many levels of symbolic links"),
        ("holes", "models/holes/data: with it the model's files are 1073741"),
        ("passwd", "models/passwd/data: a link to /etc/passwd, outside of "),
        ("model_file", "models/model_file/linked.onnx: a link to /etc/passwd, outside of "),
        ("deep", "models/deep: folders in folders, over 64 deep: remove them"),
    ],
)
def test_A22_what_is_no_file_of_the_model_is_a_build_error(odd: Errors, name: str, said: str) -> None:
    assert said in odd(name)


def test_A22_links_within_the_models_are_copied_with_the_mode_of_their_target(tmp_path: Path) -> None:
    models = tmp_path / "models"
    folder = put(models, "m")
    for path, mode in ((models / "shared.bin", 0o640), (tmp_path / "named" / "large.bin", 0o600)):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"weights")
        path.chmod(mode)
    (folder / "shared.bin").symlink_to("../shared.bin")
    (folder / "large.bin").symlink_to(tmp_path / "named" / "large.bin")
    refused = build(tmp_path)
    assert refused.returncode == 2
    assert "let SCHWIFT_MODEL_LINKS name the folder that such links may point into" in refused.stderr
    # What is in the file is no model.
    done = build(tmp_path, SCHWIFT_MODEL_LINKS="named", SCHWIFT_CHECK="off")
    assert done.returncode == 0, done.stderr
    repository = tmp_path / "model_repository"
    (entry,) = read_manifest(repository).models
    modes = {
        path.name: (path.stat().st_mode & 0o777, path.is_symlink())
        for path in (repository / entry.direct / "1" / "source" / "models" / "m").iterdir()
    }
    assert modes == {
        "shared.bin": (0o600, False), "large.bin": (0o600, False),
        "m.joblib": (0o600, False), "model_config.yaml": (0o600, False),
    }  # fmt: skip


def test_A22_external_data_beside_the_graph_is_taken(tmp_path: Path) -> None:
    folder = put(tmp_path / "models", "m", "m.onnx", onnx_with("weights.bin"))
    (folder / "weights.bin").write_bytes(bytes(16))
    done = build(tmp_path)
    assert done.returncode == 0, done.stderr
    assert onnx.load(str(folder / "m.onnx")).graph.initializer[0].name == "w"


def test_A22_file_that_the_builds_user_cannot_read_is_a_build_error(tmp_path: Path) -> None:
    folder = put(tmp_path / "models", "m")
    (folder / "secret.bin").write_bytes(b"s")
    (folder / "secret.bin").chmod(0)
    code = "import os, sys; from converter.inspect.model_folder import list_files; from pathlib import Path\n"
    # Root reads all files; who else builds does not read one of mode 0.
    code += "if os.geteuid() == 0: os.seteuid(65534)\n"
    code += "try: list_files(Path(sys.argv[1]), [])\nexcept Exception as error: print(error)"
    for part in (folder, *folder.parents):
        part.chmod(part.stat().st_mode | 0o755)
        if part.name.startswith("pytest-of-"):
            break
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, timeout=60)
    assert done.stdout == (
        f"{folder}/secret.bin: cannot be read: Permission denied: let the build's user read it, or remove it\n"
    )
