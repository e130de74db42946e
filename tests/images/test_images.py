"""The images serve what compose promises: sizes, hardening, the users' .env, and the contract tests in them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

import pytest
from dotenv import dotenv_values

from tests.e2e import documented, sample_models
from tests.images import compose
from tests.images.engine import Image
from tests.images.pod import Pod
from tests.observability.collector import collecting
from tests.support.servers import triton_log
from tests.support.servers.server import ROOT, environment
from tests.support.servers.users_env import USERS_ENV

# The contract tests make more requests a minute than that quota; DEBUG_MODE writes the logs.
TEST_DOTENV = USERS_ENV.replace("MAX_REQUESTS=250\n", "").replace("DEBUG_MODE=False", "DEBUG_MODE=True")
COLLECTOR = 4318
# Of images that have another name too.
OTHER_NAMES = ("schwift-logs", "schwift-environments")
TEST_DOTENV += f"SCHWIFT_OTLP_ENDPOINT=http://127.0.0.1:{COLLECTOR}\n"
_E2E_SECONDS = 300


def variables_of(dotenv: str) -> dict[str, str]:
    """As compose reads a .env."""
    return {name: value or "" for name, value in dotenv_values(stream=StringIO(dotenv)).items()}


@contextmanager
def composed(folder: Path, images: Mapping[str, Image], *files: Path, dotenv: str) -> Iterator[Pod]:
    """`docker compose up` in a folder that has the examples, the README's model and the difficult ones in ./Models."""
    models = folder / "Models"
    shutil.copytree(ROOT / "models", models, ignore=shutil.ignore_patterns("__pycache__"))
    sample_models.write_all(models)
    documented.write_readmes_model(models)
    (folder / ".env").write_text(dotenv, encoding="utf-8")
    variables = variables_of(dotenv)
    pod = Pod(folder, compose.load(*files, dotenv=variables), images)
    try:
        pod.up("adapter", variables)
        pod.wait_healthy("adapter")
        yield pod
    finally:
        pod.close()


def contract(pod: Pod, folder: Path, *selection: str) -> str:
    """The e2e tests that only ask, against what runs in the pod; their last line."""
    tests = [f"tests/e2e/test_{name}.py" for name in ("examples", "requests", "readme")]
    settings = {
        "SCHWIFT_E2E_URL": "http://127.0.0.1:8005",
        "SCHWIFT_E2E_REPOSITORY": str(folder / "volumes" / "repository" / "current"),
    }
    (folder / "tmp").mkdir(exist_ok=True)
    done = subprocess.run(
        pod.in_network(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests, *selection),
        cwd=ROOT,
        env=environment(folder, settings),
        capture_output=True,
        text=True,
        timeout=_E2E_SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip().splitlines()[-1]


def report(*lines: str) -> None:
    """Shown at once, by `make images`."""
    print("", *lines, sep="\n", flush=True)


def test_sizes(images: dict[str, Image]) -> None:
    report(*(f"{name}: {image.megabytes:.0f} MB" for name, image in images.items() if name not in OTHER_NAMES))
    assert images["schwift-triton"].megabytes <= 1000
    assert images["schwift-adapter"].megabytes <= 250


def site_packages(image: Image) -> set[str]:
    return {path.name for path in image.root.glob("opt/schwift/lib/python3*/site-packages/*")}


def test_the_adapters_image_has_no_library_of_models(images: dict[str, Image]) -> None:
    packages = site_packages(images["schwift-adapter"])
    assert {"adapter", "converter", "numpy", "fastapi", "opentelemetry"} <= packages
    assert packages & {"torch", "sklearn", "onnxruntime", "scipy", "numba", "pytriton", "pip"} == set()
    assert {"sklearn", "onnxruntime", "numba", "joblib"} <= site_packages(images["schwift-triton"])


def test_the_engine_is_in_tritons_image_and_its_wheel_is_not(images: dict[str, Image]) -> None:
    triton = images["schwift-triton"]
    engine = triton.root / triton.environment["SCHWIFT_ENGINE"].lstrip("/")
    assert {path.name for path in engine.iterdir()} == {"pytriton", "nvidia_pytriton.libs"}
    assert not list(triton.root.glob("**/nvidia_pytriton*.whl")) and "pytriton" not in site_packages(triton)
    assert not (images["schwift-adapter"].root / "opt/schwift/engine").exists()


def test_the_adapters_image_has_the_byte_code_of_what_the_adapter_loads(images: dict[str, Image]) -> None:
    (packages,) = images["schwift-adapter"].root.glob("opt/schwift/lib/python3*/site-packages")
    for module in (
        "adapter/http/predict",
        "adapter/telemetry/tracing",
        "fastapi/routing",
        "numpy/core/multiarray",
        "requests/sessions",
    ):
        source = packages / f"{module}.py"
        (code,) = source.parent.glob(f"__pycache__/{source.stem}.cpython-*.pyc")
        # Where its time of change is another one, it is made anew at each start.
        assert int.from_bytes(code.read_bytes()[8:12], "little") == int(source.stat().st_mtime), module
    assert not list(packages.glob("pip*")) and not list(packages.glob("numpy/f2py"))


@pytest.mark.parametrize("name", ["schwift-builder", "schwift-triton", "schwift-adapter"])
def test_an_image_knows_nothing_of_the_machine_that_built_it(images: dict[str, Image], name: str) -> None:
    image = images[name]
    assert not (image.root / "etc/pip.conf").exists()
    assert not [variable for variable in image.environment if variable.startswith(("PIP_", "SSL_", "HTTP"))]
    assert image.config["User"] == "10001:10001"
    for path in image.root.glob("opt/schwift/lib/python3*/site-packages/*.dist-info/direct_url.json"):
        assert str(ROOT) not in path.read_text(encoding="utf-8")


def test_the_users_old_dotenv_gives_a_working_server(images: dict[str, Image], tmp_path: Path) -> None:
    with composed(tmp_path, images, dotenv=USERS_ENV) as pod:
        said = pod.output("builder")
        reason = r"left out: models/torch_mlp/\S+: the model needs torch, which is not installed"
        assert re.search(rf"{reason}: .*EXTRAS=<package> docker compose", said), said
        report(contract(pod, tmp_path, "-k", "curl_line"))
        assert pod.stop("adapter") == 0
        assert pod.stop("triton") == 0


def test_the_contract_in_the_images(images: dict[str, Image], tmp_path: Path) -> None:
    with composed(tmp_path, images, dotenv=TEST_DOTENV) as pod:
        report(contract(pod, tmp_path, "-k", "not torch_mlp and not eager"))
        for service in ("triton", "adapter"):
            assert_hardened(pod, service)
        assert_control_is_shut(pod)
        config = tmp_path / "Models" / "multiply" / "model_config.yaml"
        config.write_text(config.read_text(encoding="utf-8").replace("2.5", "4.0"), encoding="utf-8")
        pod.run("builder", variables_of(TEST_DOTENV), "schwift", "reload", "--skip-missing")
        assert '"predictions":[[4.0,8.0,12.0]]' in ask(pod)
        assert_traced(pod)
        triton_log.assert_is_rotated(tmp_path / "logs")
    assert re.search(r"multiply .*\b200\b", (tmp_path / "logs" / "schwift.log").read_text(encoding="utf-8"))


def ask(pod: Pod, traceparent: str = "") -> str:
    """One row of the model multiply, from inside the adapter's container."""
    headers = {"Content-Type": "application/json", "traceparent": traceparent}
    body = b'{"features": [[1, 2, 3]]}'
    code = f"r.Request('http://127.0.0.1:8005/predict/multiply', {body!r}, {headers!r})"
    return pod.exec("adapter", "python", "-c", f"import urllib.request as r; print(r.urlopen({code}).read())").stdout


def assert_traced(pod: Pod) -> None:
    """What .env says reaches the adapter and Triton: a request is in one trace with spans of both."""
    trace = 32 * "a"
    with collecting(pod.listen(COLLECTOR)) as collector:
        assert "predictions" in ask(pod, f"00-{trace}-{16 * 'b'}-01")
        spans = collector.wait_for(5, lambda span: span.trace == trace)
    assert sorted((span.service, span.name) for span in spans) == [
        ("schwiftserve", "POST /predict"), ("schwiftserve", "call multiply_direct"),
        ("schwiftserve-triton", "InferRequest"), ("schwiftserve-triton", "compute"),
        ("schwiftserve-triton", "multiply_direct"),
    ]  # fmt: skip


def assert_hardened(pod: Pod, service: str) -> None:
    """The root is read-only for the user that it runs as, who has no capability; /tmp is writable."""
    code = "import os; open('/tmp/x', 'w'); print(os.getuid(), os.access('/srv', os.W_OK), os.statvfs('/').f_flag & 1)"
    assert pod.exec(service, "python", "-c", code).stdout.split() == ["10001", "False", "1"]
    status = pod.exec(service, "cat", "/proc/1/status").stdout
    assert re.search(r"^CapEff:\s+0+$", status, re.MULTILINE) and re.search(r"^NoNewPrivs:\s+1$", status, re.MULTILINE)


def assert_control_is_shut(pod: Pod) -> None:
    """Triton asks for the key that the builder made, which its own user alone can read, and which it does not show."""
    file = pod.exec("triton", "stat", "-c", "%a %u", "/srv/keys/triton.key").stdout
    assert file.split() == ["600", "10001"]
    key = pod.exec("adapter", "cat", "/srv/keys/triton.key").stdout.strip()
    assert len(key) == 64
    command = pod.exec("triton", "cat", "/proc/1/cmdline").stdout
    assert "tritonserver" in command and "--http-restricted-api=sealed" in command and key not in command
    code = (
        "import http.client as h\nfor k in ('', '{key}'):\n c = h.HTTPConnection('triton', 8000); "
        "c.request('POST', '/v2/repository/index', '', {{'schwift-key': k}}); print(c.getresponse().status)"
    )
    assert pod.exec("adapter", "python", "-c", code.format(key=key)).stdout.split() == ["403", "200"]


def test_the_contract_with_torch(torch_images: dict[str, Image], tmp_path: Path) -> None:
    with composed(tmp_path, torch_images, dotenv=f"{TEST_DOTENV}SCHWIFT_TRUST_FOLDERS=/srv/models/eager\n") as pod:
        assert "left out" not in pod.output("builder")
        report(contract(pod, tmp_path))


def test_the_contract_on_nvidias_target(nvidia_images: dict[str, Image], tmp_path: Path) -> None:
    """The same repository, by the command that this target gives its base's tritonserver."""
    image = nvidia_images["schwift-triton-nvidia"]
    assert (image.config["User"], image.config["Entrypoint"]) == ("10001:10001", [])
    with composed(tmp_path, nvidia_images, compose.MAIN, compose.NVIDIA, dotenv=TEST_DOTENV) as pod:
        report(contract(pod, tmp_path, "-k", "not torch_mlp and not eager"))
        assert_control_is_shut(pod)
        assert_traced(pod)
        triton_log.assert_is_rotated(tmp_path / "logs")
        # Compose ends first what depends on others.
        assert [pod.stop("adapter"), pod.stop("triton")] == [0, 0]


def test_sagemaker_starts_a_server_with_its_argument(server_image: dict[str, Image], tmp_path: Path) -> None:
    """`docker run IMAGE serve`, the models read-only in /opt/ml/model, asked on port 8080."""
    image = server_image["schwift-server"]
    assert (image.config["Entrypoint"], image.config["User"]) == (["schwift"], "10001:10001")
    report(f"schwift-server: {image.megabytes:.0f} MB")
    for name in ("multiply", "iris_logreg"):
        shutil.copytree(ROOT / "models" / name, tmp_path / "model" / name)
    service = {
        "image": "schwift-server", "command": ["serve"], "read_only": False, "tmpfs": [],
        "volumes": ["./model:/opt/ml/model:ro"], "environment": {"SCHWIFT_DEFAULT_MODEL": "multiply"},
    }  # fmt: skip
    pod = Pod(tmp_path, {"server": service}, server_image)
    try:
        pod.up("server", {})
        pod.wait_healthy("server")
        code = (
            "import urllib.request as r\nfor path, body in (('ping', None), ('invocations', b'1,2,3')):\n"
            " q = r.Request('http://127.0.0.1:8080/' + path, body, {'Content-Type': 'text/csv; header=absent'})\n"
            " a = r.urlopen(q); print(a.status, a.read().decode().strip())"
        )
        ping, answer = pod.exec("server", "python", "-c", code).stdout.splitlines()
        assert (ping.strip(), answer) == ("200", '200 {"predictions":[[2.5,5.0,7.5]]}')
        assert pod.stop("server") == 0
    finally:
        pod.close()
