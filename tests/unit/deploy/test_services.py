"""How compose runs the services, and what it wires together: each line that nobody would miss before production."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from adapter.__main__ import ANSWER_SECONDS
from converter.schema.settings import Settings
from schwift.triton.standalone import EXIT_SECONDS
from tests.images import compose
from tests.support.compose_services import DOCKERFILE, OURS, settings_in, stage
from tests.support.servers.server import ROOT

SERVERS = ("triton", "adapter")
MONITORING = ("prometheus", "grafana")


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    return compose.load()


def size(text: str) -> int:
    """As compose writes it: 1gb, 2g, 512m."""
    found = re.fullmatch(r"(\d+)([mg])b?", text)
    assert found, text
    return int(found[1]) << {"m": 20, "g": 30}[found[2]]


def written(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", OURS)
def test_a_dotenv_is_read_where_there_is_one(services: dict[str, Any], name: str) -> None:
    assert services[name]["env_file"] == [{"path": ".env", "required": False}, {"path": "deploy/container.env"}]


@pytest.mark.parametrize("name", OURS)
def test_build_arguments_come_from_the_dotenv(name: str) -> None:
    given = {"EXTRAS": "torch xgboost", "PIP_EXTRA_INDEX_URL": "https://example.org/whl"}
    assert compose.load(dotenv=given)[name]["build"] == {
        "context": ".", "args": given, "target": {"logs": "adapter", "environments": "builder"}.get(name, name),
    }  # fmt: skip


def test_servers_are_started_again_and_have_the_time_to_end(services: dict[str, Any]) -> None:
    adapter_seconds = Settings.model_fields["drain_seconds"].default + ANSWER_SECONDS
    for name, seconds in zip(SERVERS, (EXIT_SECONDS, adapter_seconds), strict=True):
        assert services[name]["restart"] == "unless-stopped"
        assert int(services[name]["stop_grace_period"].removesuffix("s")) > seconds
    assert all("restart" not in services[name] for name in OURS if name not in SERVERS)
    assert all(services[name]["restart"] == "unless-stopped" for name in MONITORING)


@pytest.mark.parametrize("name", OURS)
def test_somebody_waits_for_processes_that_end(services: dict[str, Any], name: str) -> None:
    assert services[name]["init"] is True


def test_memory_is_enough_and_bounded(services: dict[str, Any]) -> None:
    """Shared memory and /tmp count too."""
    triton = services["triton"]
    assert (1 << 30) <= size(triton["shm_size"]) < size(triton["mem_limit"])
    for name in OURS:
        (temporary,) = services[name]["tmpfs"]
        path, _, options = temporary.partition(":")
        assert (path, options.split(",")) == ("/tmp", ["exec", "size=1g"] if name == "triton" else ["size=1g"])
        assert size(services[name]["mem_limit"]) >= 2 << 30
    assert all(size(services[name]["mem_limit"]) > 0 for name in MONITORING)


def test_the_folder_of_logs_is_made_writable_for_the_user_of_the_images(services: dict[str, Any]) -> None:
    """By its owner's rights, whoever that is: docker makes it root's where there is none."""
    logs = services["logs"]
    assert (logs["user"], logs["cap_add"], logs["network_mode"]) == ("0:0", ["FOWNER"], "none")
    assert logs["command"] == ["chmod", "a+rwx", str(settings_in(logs).log_directory)]


def test_every_image_of_others_is_pinned(services: dict[str, Any]) -> None:
    ours = {services[name]["image"] for name in OURS}
    theirs = {service["image"] for service in services.values()} - ours
    theirs |= set(re.findall(r"^ARG \w+=(\S+:\S+)$", DOCKERFILE, re.MULTILINE))
    assert len(theirs) == len(MONITORING) + 2
    assert {image for image in theirs if not re.search(r":v?\d+\.\d+", image)} == set()


def test_prometheus_scrapes_the_adapter_and_grafana_asks_prometheus(services: dict[str, Any]) -> None:
    assert all(services[name]["profiles"] == ["monitoring"] for name in MONITORING)
    jobs = {job["job_name"]: job for job in written("deploy/prometheus/prometheus.yml")["scrape_configs"]}
    targets = {name: job["static_configs"][0]["targets"] for name, job in jobs.items()}
    port = settings_in(services["adapter"]).port
    assert targets == {"schwift": [f"adapter:{port}"], "prometheus": ["localhost:9090"]}
    (source,) = written("deploy/grafana/provisioning/datasources/prometheus.yml")["datasources"]
    assert source["url"] == "http://prometheus:9090"
    assert services["prometheus"]["ports"] == ["127.0.0.1:9090:9090"]
    assert services["grafana"]["ports"] == ["127.0.0.1:3000:3000"]
    assert [services[name]["depends_on"] for name in MONITORING] == [
        {"adapter": {"condition": "service_started"}}, {"prometheus": {"condition": "service_started"}},
    ]  # fmt: skip


def test_grafana_finds_what_is_provisioned(services: dict[str, Any]) -> None:
    mounts = {mount.source: mount for mount in compose.mounts(services["grafana"])}
    assert mounts["./deploy/grafana/provisioning"].target == "/etc/grafana/provisioning"
    (provider,) = written("deploy/grafana/provisioning/dashboards/schwift.yml")["providers"]
    assert mounts["./deploy/grafana/dashboards"].target == provider["options"]["path"]
    assert all(mount.read_only for source, mount in mounts.items() if source.startswith("./"))


def test_a_new_volume_is_the_users_of_the_images(services: dict[str, Any]) -> None:
    """It has the owner of the folder that the image has in its place."""
    folders = re.findall(r"/srv/skeleton(/\S+)", DOCKERFILE)
    mounted = {mount.target for name in OURS for mount in compose.mounts(services[name])}
    assert {f"/srv{folder}" for folder in folders} == mounted
    assert "COPY --from=tools --chown=10001:10001 /srv/skeleton /srv" in stage("runtime")


def test_images_run_what_listens_where_compose_expects_it(services: dict[str, Any]) -> None:
    port = settings_in(services["adapter"]).port
    assert f"EXPOSE {port}\n" in stage("adapter") and f"'127.0.0.1', {port}," in stage("adapter")
    assert 'CMD ["python", "-m", "adapter"]' in stage("adapter")
    assert 'CMD ["schwift", "triton", "--host", "0.0.0.0"]' in stage("triton")
    assert 'CMD ["schwift", "build-repo", "--skip-missing"]' in stage("builder")
    for name in ("runtime", "triton-nvidia"):
        assert stage(name).count("USER 10001:10001\n") == 1
    assert "ENV SCHWIFT_HOST=0.0.0.0\n" in stage("adapter")
    assert "curl" not in DOCKERFILE


def test_the_build_is_given_what_it_copies() -> None:
    """.dockerignore leaves out everything but what it names."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    given = {line[1:] for line in lines if line.startswith("!")}
    copied = {
        source
        for arguments in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE)
        for source in arguments.split()
        if source != "."
    }
    # A name that stands for a folder lets in all below it.
    below = tuple(f"{name}/" for name in given)
    assert {source for source in copied if source not in given and not source.startswith(below)} == set()
    # What makes the package of it.
    packages = {"adapter", "converter", "schwift", "triton_repo_template"}
    assert {"pyproject.toml", "README.md", "LICENSE", *packages} <= given
