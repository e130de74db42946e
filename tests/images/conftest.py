"""Every image, built once from a stand-in for its public base."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.images import engine as engine_module
from tests.images.engine import Buildah, Image, debian

_PYTHON = ("ca-certificates", "libpython3.11", "python3", "python3-venv")
_BASE = "localhost/python"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "images" in Path(item.path).parts:
            item.add_marker(pytest.mark.images)


@pytest.fixture(scope="session")
def workshop() -> Iterator[Path]:
    with engine_module.workshop() as folder:
        yield folder


@pytest.fixture(scope="session")
def engine(workshop: Path) -> Iterator[Buildah]:
    buildah = Buildah(workshop)
    buildah.base_from(debian(workshop / "debian", *_PYTHON), _BASE)
    try:
        yield buildah
    finally:
        buildah.close()


@pytest.fixture(scope="session")
def images(engine: Buildah, workshop: Path) -> dict[str, Image]:
    """By the name that compose gives them."""
    return {
        f"schwift-{target}": engine.build(f"schwift-{target}", target, workshop / f"{target}.log", BASE=_BASE)
        for target in ("builder", "triton", "adapter")
    }


@pytest.fixture(scope="session")
def torch_images(engine: Buildah, images: dict[str, Image], workshop: Path) -> dict[str, Image]:
    """The same with EXTRAS=torch."""
    return images | {
        f"schwift-{target}": engine.build(
            f"schwift-{target}-torch", target, workshop / f"{target}-torch.log", BASE=_BASE, EXTRAS="torch"
        )
        for target in ("builder", "triton")
    }
