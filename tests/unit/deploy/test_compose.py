"""docker-compose.yml and the Dockerfile against the code: every name, port and path."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from converter.environments import engine_wheel
from converter.schema.settings import Settings
from schwift.triton.standalone import standard_ports
from tests.images import compose
from tests.support.compose_services import DOCKERFILE, NAMES, OURS, settings_in, stage
from tests.support.servers.server import ROOT

# The build takes them, not the programs.
BUILD_ARGUMENTS = {"EXTRAS", "PIP_EXTRA_INDEX_URL", "TRITON_IMAGE"}

FILES = (compose.MAIN, compose.NVIDIA, compose.GRPC)
# Compose alone takes it: a file on this machine that the programs do not read.
COMPOSE_ONLY = {"SCHWIFT_METRICS_KEY_FILE"}


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    return compose.load()


@pytest.fixture(autouse=True)
def clear_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def test_every_environment_name_is_a_setting(services: dict[str, Any]) -> None:
    for name in OURS:
        assert set(compose.environment(services[name], {})) - set(NAMES) == set(), name
    in_images = set(re.findall(r"\b((?:SCHWIFT|MODEL|LOG)_[A-Z_]+)=", DOCKERFILE))
    assert in_images == {
        "MODEL_DIRECTORY", "LOG_DIRECTORY", "SCHWIFT_REPOSITORY", "SCHWIFT_HOST", "SCHWIFT_TRITON_KEY_FILE",
        # The build alone has the first: what it unpacks goes to the second.
        "SCHWIFT_CACHE", "SCHWIFT_ENGINE",
    }  # fmt: skip
    assert in_images <= set(NAMES)


@pytest.mark.parametrize("file", FILES)
def test_every_variable_is_a_setting_or_a_build_argument(file: Any) -> None:
    found = compose.variables(file.read_text(encoding="utf-8"))
    assert set(found) - set(NAMES) - BUILD_ARGUMENTS - COMPOSE_ONLY == set()
    arguments = set(re.findall(r"^ARG (\w+)", DOCKERFILE, re.MULTILINE))
    assert set(found) & BUILD_ARGUMENTS <= arguments
    for name in set(found) & {"PORT", "MODEL_DIRECTORY", "LOG_DIRECTORY"}:
        default = str(Settings.model_fields[NAMES[name]].default)
        assert found[name].removeprefix("./") == default


def test_a_users_dotenv_moves_what_is_outside_and_not_what_is_inside() -> None:
    dotenv = {"PORT": "9000", "MODEL_DIRECTORY": "./Models", "LOG_DIRECTORY": "/var/log/schwift"}
    dotenv |= {"MAX_BATCH_SIZE": "64", "SCHWIFT_HOST": "127.0.0.1", "SCHWIFT_TRITON_HTTP_PORT": "9001"}
    services = compose.load(dotenv=dotenv)
    assert services["adapter"]["ports"] == ["127.0.0.1:9000:8005"]
    assert services["triton"]["ports"] == ["127.0.0.1:9001:8000", "127.0.0.1:8001:8001"]
    assert compose.mounts(services["builder"])[0] == compose.Mount("./Models", "/srv/models", True)
    assert compose.Mount("/var/log/schwift", "/srv/logs", False) in compose.mounts(services["adapter"])
    for name in OURS:
        settings = settings_in(services[name], **dotenv)
        assert (settings.port, settings.host, settings.triton_http_port) == (8005, "0.0.0.0", 8000)
        assert settings.max_batch_size == 64


def test_paths_inside_are_where_the_volumes_are(services: dict[str, Any]) -> None:
    for name in ("builder", "triton", "adapter"):
        settings = settings_in(services[name])
        targets = {mount.target: mount for mount in compose.mounts(services[name])}
        # The link and the builds that it points into lie in one volume.
        assert targets[str(settings.repository.parent)].source == "repository"
        assert targets[str(settings.repository.parent)].read_only is (name != "builder")
        if name != "triton":
            assert targets[str(settings.control_path.parent)].source == "control"
    assert str(settings_in(services["builder"]).model_directory) in {
        m.target for m in compose.mounts(services["builder"])
    }
    for name in ("logs", "triton", "adapter"):
        assert str(settings_in(services[name]).log_directory) in {m.target for m in compose.mounts(services[name])}
    for line in (
        "MODEL_DIRECTORY=/srv/models",
        "LOG_DIRECTORY=/srv/logs",
        "SCHWIFT_REPOSITORY=/srv/repository/current",
    ):
        assert line in DOCKERFILE
    nvidia = (ROOT / "deploy" / "nvidia.sh").read_text(encoding="utf-8")
    assert "SCHWIFT_REPOSITORY:-/srv/repository/current" in nvidia and "LOG_DIRECTORY:-/srv/logs" in nvidia


def test_triton_is_unpacked_where_it_is_looked_for(services: dict[str, Any]) -> None:
    """A user's .env may name another folder, of this machine."""
    engine = settings_in(services["triton"], SCHWIFT_ENGINE="/opt/tritonserver").engine
    assert f"mv /build/cache/engine/{engine_wheel.VERSION[0]}.* {engine}\n" in stage("triton-packages")
    assert f"ENV SCHWIFT_ENGINE={engine}\n" in stage("triton")


def test_the_adapter_asks_triton_where_it_listens(services: dict[str, Any]) -> None:
    adapter, ports = settings_in(services["adapter"]), standard_ports(settings_in(services["triton"]))
    assert (ports.http, ports.grpc, ports.metrics) == (8000, 8001, 8002)
    assert adapter.triton_http == f"triton:{ports.http}"
    assert adapter.triton_grpc == f"triton:{ports.grpc}"
    assert adapter.triton_metrics == f"http://triton:{ports.metrics}/metrics"
    published = [port.rsplit(":", 1)[1] for port in services["triton"]["ports"]]
    assert published == [str(ports.http), str(ports.grpc)]
    assert all(port.startswith("127.0.0.1:") for port in services["triton"]["ports"])
    assert services["adapter"]["ports"] == [f"127.0.0.1:8005:{adapter.port}"]


def test_services_start_in_the_order_of_their_health(services: dict[str, Any]) -> None:
    done, healthy = {"condition": "service_completed_successfully"}, {"condition": "service_healthy"}
    assert services["builder"]["depends_on"] == {"environments": done}
    assert services["triton"]["depends_on"] == {"logs": done, "builder": done}
    assert services["adapter"]["depends_on"] == {"triton": healthy}
    targets = {name: services[name]["build"]["target"] for name in OURS}
    assert len({services[name]["image"] for name in OURS}) == len(OURS)
    assert targets == {
        "logs": "adapter", "environments": "builder", "builder": "builder", "triton": "triton", "adapter": "adapter",
    }  # fmt: skip
    assert stage("triton").count("HEALTHCHECK --interval") == 1 and "'/v2/health/live'" in stage("triton")
    assert stage("adapter").count("HEALTHCHECK --interval") == 1 and "'/health/ready'" in stage("adapter")
    assert "8005" in stage("adapter") and "HEALTHCHECK NONE" in stage("builder")
    # Not /ping, which needs a key where there are any.
    assert stage("server").count("HEALTHCHECK --interval") == 1 and "'/health/ready'" in stage("server")


@pytest.mark.parametrize("name", [*OURS, "prometheus", "grafana"])
def test_every_service_is_bounded(services: dict[str, Any], name: str) -> None:
    service = services[name]
    assert service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"]
    assert int(service["pids_limit"]) > 0 and service["mem_limit"] and service["logging"]["options"]["max-size"]
    if name in OURS:
        assert service["read_only"] is True and service["tmpfs"][0].startswith("/tmp:")
        assert "USER 10001:10001" in stage("runtime")


def test_monitoring_is_a_profile_and_reads_deploy(services: dict[str, Any]) -> None:
    assert [name for name in services if services[name].get("profiles") == ["monitoring"]] == ["prometheus", "grafana"]
    assert list(services) == [*OURS, "prometheus", "grafana"]
    assert compose.mounts(services["prometheus"])[0] == compose.Mount("./deploy/prometheus", "/etc/prometheus", True)
    sources = [mount.source for mount in compose.mounts(services["grafana"])]
    assert sources == ["./deploy/grafana/provisioning", "./deploy/grafana/dashboards", "grafana"]
    assert all(services[name]["ports"][0].startswith("127.0.0.1:") for name in ("prometheus", "grafana"))


def test_keys_are_made_by_the_builder_and_read_by_the_adapter(services: dict[str, Any]) -> None:
    """In a volume, since what replaces a file is not seen through a mount of the file alone."""
    given = {"SCHWIFT_API_KEYS_FILE": "/srv/api-keys/keys.json"}
    for name, read_only in (("builder", False), ("adapter", True)):
        settings = settings_in(services[name], **given)
        assert compose.Mount("api-keys", str(settings.api_keys_file and settings.api_keys_file.parent), read_only) in (
            compose.mounts(services[name])
        )
    assert "/srv/skeleton/api-keys" in DOCKERFILE
    assert not [name for name in ("logs", "triton") if "api-keys" in str(services[name]["volumes"])]


def test_environments_are_made_with_a_network_and_read_without_one(services: dict[str, Any]) -> None:
    made = services["environments"]
    assert "network_mode" not in made and services["builder"]["network_mode"] == "none"
    assert made["command"] == ["env", "PIP_NO_CACHE_DIR=1", "schwift", "env", "build"]
    assert compose.Mount("./models", "/srv/models", True) in compose.mounts(made)
    folder = str(settings_in(made).cache_directory / "environments")
    mounted = {
        name: mount.read_only
        for name in services
        for mount in compose.mounts(services[name])
        if (mount.source, mount.target) == ("environments", folder)
    }
    assert mounted == {"environments": False, "builder": True, "triton": True}
    assert "/srv/skeleton/cache/environments" in DOCKERFILE
    # A folder of this machine means nothing there.
    assert compose.environment(made, {"SCHWIFT_MODEL_ENV": "/home/me/venv"})["SCHWIFT_MODEL_ENV"] == ""


def test_prometheus_shows_the_key_of_a_file(services: dict[str, Any]) -> None:
    """A file of this machine takes the place of the one that is no key."""
    target = "/etc/prometheus/metrics_key"
    mine = compose.load(dotenv={"SCHWIFT_METRICS_KEY_FILE": "./my_key"})
    for found, source in ((services, "./deploy/prometheus/metrics_key"), (mine, "./my_key")):
        assert compose.Mount(source, target, True) in compose.mounts(found["prometheus"])
    config = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    (job,) = [job for job in config["scrape_configs"] if job["job_name"] == "schwift"]
    assert job["authorization"] == {"credentials_file": "metrics_key"}
    assert (ROOT / "deploy" / "prometheus" / "metrics_key").read_text(encoding="utf-8").strip() == "no key"


def test_A28_nvidias_image_has_the_patches_of_this_year() -> None:
    base = compose.load(compose.MAIN, compose.NVIDIA)["triton"]["build"]["args"]["TRITON_IMAGE"]
    assert f"ARG TRITON_IMAGE={base}\n" in DOCKERFILE
    tag = re.fullmatch(r"nvcr\.io/nvidia/tritonserver:(\d+\.\d+)-py3", base)
    assert tag and float(tag[1]) >= 26.11


def test_nvidias_image_takes_tritons_place_and_nothing_else() -> None:
    ours, theirs = compose.load(), compose.load(compose.MAIN, compose.NVIDIA)
    assert theirs["triton"]["build"]["target"] == "triton-nvidia"
    for services in (ours, theirs):
        services["triton"].pop("build"), services["triton"].pop("image")
    assert ours == theirs


@pytest.mark.parametrize("file", FILES)
def test_docker_compose_itself_takes_the_file(file: Path, tmp_path: Path) -> None:
    """The real command, which needs no engine to read."""
    files = [option for each in dict.fromkeys((compose.MAIN, file)) for option in ("-f", str(each))]
    command = [str(Path(sys.executable).with_name("docker-compose")), *files, "config", "--format", "json"]
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, env=environment, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr
    adapter = json.loads(done.stdout)["services"]["adapter"]
    port, *more = adapter["ports"]
    assert (port["host_ip"], port["published"], port["target"]) == ("127.0.0.1", "8005", 8005)
    assert (adapter["stop_grace_period"], adapter["platform"]) == ("45s", "linux/amd64")
    assert adapter["environment"]["PORT"] == "8005"
    wanted = [("127.0.0.1", "8006", 8006)] if file == compose.GRPC else []
    assert [(port["host_ip"], port["published"], port["target"]) for port in more] == wanted
    assert adapter["environment"].get("SCHWIFT_GRPC_PORT") == ("8006" if wanted else None)


def test_A27_the_adapter_is_published_to_this_machine_alone_unless_asked(services: dict[str, Any]) -> None:
    assert services["adapter"]["ports"] == ["127.0.0.1:8005:8005"]
    settings = settings_in(services["adapter"])
    assert (settings.host, settings.publish) == ("0.0.0.0", "127.0.0.1")
    opened = compose.load(dotenv={"SCHWIFT_PUBLISH": "0.0.0.0"})["adapter"]
    assert opened["ports"] == ["0.0.0.0:8005:8005"]
    # What it listens on in the container says nothing; this does.
    assert settings_in(opened, SCHWIFT_PUBLISH="0.0.0.0").publish == "0.0.0.0"


def test_A27_grpc_is_published_with_its_file_alone_and_where_the_other_port_is() -> None:
    """Without the file the setting opens a port in the container, which nobody outside reaches."""
    dotenv = {"SCHWIFT_GRPC_PORT": "9006", "SCHWIFT_PUBLISH": "10.0.0.7"}
    (port,) = compose.load(dotenv=dotenv)["adapter"]["ports"]
    assert port == "10.0.0.7:8005:8005"
    with_grpc = compose.load(compose.MAIN, compose.GRPC, dotenv=dotenv)["adapter"]
    assert with_grpc["ports"][-1] == "10.0.0.7:9006:9006"
    settings = settings_in(with_grpc, **dotenv)
    assert (settings.grpc_port, settings.publish) == (9006, "10.0.0.7")


def test_A26_the_key_of_tritons_control_is_with_those_who_need_it(services: dict[str, Any]) -> None:
    """The builder writes it, Triton and the adapter read it, and nobody else has the volume."""
    mounted = {
        name: mount.read_only
        for name in services
        for mount in compose.mounts(services[name])
        if mount.source == "keys" and mount.target == "/srv/keys"
    }
    assert mounted == {"builder": False, "triton": True, "adapter": True}
    for name in ("builder", "triton", "adapter"):
        assert str(settings_in(services[name]).triton_key_path) == "/srv/keys/triton.key"


def test_podman_compose_can_read_the_file() -> None:
    """It takes integers in mappings for texts, and what a service sets for what is filled in elsewhere in it."""
    for file in FILES:
        text = file.read_text(encoding="utf-8")
        for name, service in yaml.safe_load(text)["services"].items():
            assert [value for value in scalars(service) if type(value) is int] == [], name
            own = service.get("environment", {})
            for variable in compose.variables(yaml.safe_dump(service)):
                # Set to what it stands for anyway, it does no harm.
                assert str(own.get(variable, f"${{{variable}")).startswith(f"${{{variable}"), (name, variable)


def scalars(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from scalars(item)
    else:
        yield value
