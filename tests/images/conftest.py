"""Every image, built once from a stand-in for its public base."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.images import engine as engine_module
from tests.images.engine import Buildah, Image, debian

_PYTHON = ("ca-certificates", "libpython3.11", "python3", "python3-venv")
_BASE = "localhost/python"
_NVIDIA = Path(__file__).with_name("nvidia.Dockerfile")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "images" in Path(item.path).parts:
            item.add_marker(pytest.mark.images)


@pytest.fixture(scope="session")
def workshop() -> Iterator[Path]:
    with engine_module.workshop() as folder:
        yield folder


@pytest.fixture(scope="session")
def engine(workshop: Path) -> Buildah:
    buildah = Buildah(workshop)
    buildah.base_from(debian(workshop / "debian", *_PYTHON), _BASE)
    return buildah


def build_all(engine: Buildah) -> dict[str, Image]:
    """By the name that compose gives them."""
    names = ("builder", "triton", "adapter")
    built = {f"schwift-{name}": engine.build(f"localhost/schwift-{name}", name, BASE=_BASE) for name in names}
    # The same targets under other names.
    return built | {"schwift-logs": built["schwift-adapter"], "schwift-environments": built["schwift-builder"]}


def build_server(engine: Buildah) -> dict[str, Image]:
    return {"schwift-server": engine.build("localhost/schwift-server", "server", BASE=_BASE)}


def build_with_torch(engine: Buildah) -> dict[str, Image]:
    return {
        f"schwift-{name}": engine.build(f"localhost/schwift-{name}-torch", name, BASE=_BASE, EXTRAS="torch")
        for name in ("builder", "triton")
    }


def build_for_nvidia(engine: Buildah) -> dict[str, Image]:
    """triton-nvidia on a stand-in for NVIDIA's image, which is made from our own."""
    engine.build("localhost/nvidia", file=_NVIDIA, BASE=_BASE, TRITON="localhost/schwift-triton")
    image = engine.build("localhost/schwift-triton-nvidia", "triton-nvidia", TRITON_IMAGE="localhost/nvidia")
    return {"schwift-triton-nvidia": image}


@pytest.fixture(scope="session")
def builds(engine: Buildah) -> Iterator[list[Future[dict[str, Image]]]]:
    """One after the other in the background: tests of the first images run while the others are built."""
    pool = ThreadPoolExecutor(1)
    try:
        yield [pool.submit(build, engine) for build in (build_all, build_with_torch, build_for_nvidia, build_server)]
    finally:
        pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="session")
def images(builds: list[Future[dict[str, Image]]]) -> dict[str, Image]:
    return builds[0].result()


@pytest.fixture(scope="session")
def torch_images(builds: list[Future[dict[str, Image]]], images: dict[str, Image]) -> dict[str, Image]:
    """The same with EXTRAS=torch."""
    return images | builds[1].result()


@pytest.fixture(scope="session")
def nvidia_images(builds: list[Future[dict[str, Image]]], images: dict[str, Image]) -> dict[str, Image]:
    """The same, and triton-nvidia."""
    return images | builds[2].result()


@pytest.fixture(scope="session")
def server_image(builds: list[Future[dict[str, Image]]]) -> dict[str, Image]:
    """The image that has everything."""
    return builds[3].result()
