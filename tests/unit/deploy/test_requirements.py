"""The lists that the images are installed from, without pip's resolver: complete, and each package wanted."""

from __future__ import annotations

from importlib import metadata

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from converter.environments import engine_wheel
from tests.support.servers.server import ROOT

FOLDER = ROOT / "deploy" / "requirements"
# The images' Python.
IMAGE = {"python_version": "3.11", "python_full_version": "3.11.0"}
EXTRAS = {"tritonclient": "grpc", "opentelemetry-exporter-http-transport": "requests"}
# The extras of ours that an image has besides: all but torch, or traces.
OUR_EXTRAS = {"triton": ("sklearn", "onnx", "numba"), "adapter": ("otel",)}
# What a package imports without saying so.
UNDECLARED = {"tritonclient": {"packaging"}}
# What a package asks for and what we use of it does not: its tools.
LEFT_OUT = {"onnxruntime": {"coloredlogs", "sympy"}}
LISTS = {
    "triton": ("models.txt", "triton.txt"),
    "adapter": ("adapter.txt",),
}


def listed(*names: str) -> list[str]:
    lines = [line for name in names for line in (FOLDER / name).read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if not line.startswith("#")]


def needs(package: str, extra: str | None = None) -> set[str]:
    """What a package declares for the images' Python, with an extra: by default the one that we use."""
    environment = IMAGE | {"extra": EXTRAS.get(package, "") if extra is None else extra}
    requirements = [Requirement(line) for line in metadata.requires(package) or ()]
    return UNDECLARED.get(package, set()) | {
        canonicalize_name(requirement.name)
        for requirement in requirements
        if requirement.marker is None or requirement.marker.evaluate(environment)
    }


@pytest.mark.parametrize("image", LISTS)
def test_a_list_has_all_that_its_packages_need(image: str) -> None:
    packages = listed(*LISTS[image])
    missing = {package: needs(package) - LEFT_OUT.get(package, set()) - set(packages) for package in packages}
    assert {package: names for package, names in missing.items() if names} == {}


def ours(image: str) -> set[str]:
    """What we need in an image, with its extras."""
    return {name for extra in OUR_EXTRAS[image] for name in needs("schwift", extra)}


@pytest.mark.parametrize("image", LISTS)
def test_a_list_has_nothing_that_neither_we_nor_its_packages_need(image: str) -> None:
    packages = listed(*LISTS[image])
    assert len(packages) == len(set(packages))
    theirs = {name for package in packages for name in needs(package)}
    assert set(packages) - ours(image) - theirs == set()


def test_every_dependency_is_in_an_image() -> None:
    assert ours("triton") | ours("adapter") <= {name for names in LISTS.values() for name in listed(*names)}


def test_the_extra_all_is_what_the_images_have() -> None:
    (line,) = [line for line in metadata.requires("schwift") or () if line.startswith("schwift[")]
    assert Requirement(line).extras == set(OUR_EXTRAS["triton"])


def test_we_bound_nobodys_numpy_and_need_no_library_of_models() -> None:
    base = {Requirement(line).name: Requirement(line) for line in metadata.requires("schwift") or () if ";" not in line}
    assert str(base["numpy"].specifier) == ">=1.26"
    libraries = {"scikit-learn", "joblib", "numba", "onnxruntime", "torch", "threadpoolctl", "nvidia-pytriton"}
    assert base.keys() & libraries == set()


def test_every_package_is_pinned() -> None:
    pins = {
        canonicalize_name(line.split("==")[0])
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line
    }
    assert {name for names in LISTS.values() for name in listed(*names)} - pins == set()


def test_the_images_unpack_the_wheel_that_we_do() -> None:
    assert engine_wheel.WHEEL in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
