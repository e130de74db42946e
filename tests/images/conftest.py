"""Every image, built once from a stand-in for its public base."""

from __future__ import annotations

from collections.abc import Iterator
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


@pytest.fixture(scope="session")
def images(engine: Buildah) -> dict[str, Image]:
    """By the name that compose gives them."""
    names = ("builder", "triton", "adapter")
    built = {f"schwift-{name}": engine.build(f"localhost/schwift-{name}", name, BASE=_BASE) for name in names}
    # The same target under another name.
    return built | {"schwift-logs": built["schwift-adapter"]}


@pytest.fixture(scope="session")
def torch_images(engine: Buildah, images: dict[str, Image]) -> dict[str, Image]:
    """The same with EXTRAS=torch."""
    return images | {
        f"schwift-{name}": engine.build(f"localhost/schwift-{name}-torch", name, BASE=_BASE, EXTRAS="torch")
        for name in ("builder", "triton")
    }


@pytest.fixture(scope="session")
def nvidia_images(engine: Buildah, images: dict[str, Image]) -> dict[str, Image]:
    """The same, and triton-nvidia on a stand-in for NVIDIA's image."""
    engine.build("localhost/nvidia", file=_NVIDIA, BASE=_BASE, TRITON="localhost/schwift-triton")
    image = engine.build("localhost/schwift-triton-nvidia", "triton-nvidia", TRITON_IMAGE="localhost/nvidia")
    return images | {"schwift-triton-nvidia": image}
