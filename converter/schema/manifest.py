"""`schwift.json`, at the root of a repository: what was built, for the adapter and for the next build."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from converter.errors import RepositoryError
from converter.schema.fields.column_spec import ColumnSpec
from converter.schema.model import Endpoint, ModelSpec
from converter.schema.wire import BYTES_SUFFIX, LENGTHS_SUFFIX

FILENAME = "schwift.json"
# Every source model `m` has its backend under this name; `m` itself is the front.
DIRECT_SUFFIX = "_direct"
# A packed model's files are under this name, and the front of a pack's host is the pack's own name with that suffix.
ALONE_SUFFIX = "_alone"
PACK_SUFFIX = "_pack"
# What a model is called while it is tried beside the served one: no model's name has this character.
TRIAL_MARK = "~"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Tensor(_Frozen):
    """An input or output as Triton names it; `dims` is the shape of one row, -1 for any size."""

    name: str
    dtype: str
    dims: tuple[int, ...]

    def pack(self) -> tuple[Tensor, ...]:
        """Return the tensors that cross in its place where strings are packed: itself, if it is none of strings."""
        if self.dtype != "string":
            return (self,)
        return (
            Tensor(name=self.name + BYTES_SUFFIX, dtype="uint8", dims=(-1,)),
            Tensor(name=self.name + LENGTHS_SUFFIX, dtype="int32", dims=self.dims),
        )


class ModelEntry(_Frozen):
    """One source model and the Triton models made of it.

    `front` is None where the model serves `/predict` alone. `version` is the number of its folder, which the build
    counts; `spec.version` is the user's own. Sizes are in rows, `queue_size` in requests. `packs_strings` says that
    the direct model takes and gives packed strings; those of older releases, and all fronts, have Triton's own.
    `columns` are those that clients send, if the model takes some: `inputs` has one tensor for each of their dtypes
    then, with the columns of this dtype in order.
    `sample` is where the model's sample is in the version folder of its files.

    A packed model is in the process of a `host`, a Triton model, with others: `front` and `direct` are ensembles of one
    step then, for native clients, and `alone` is the Triton model that has its files, which is loaded only if the model
    is moved out into a process of its own. Without `native` nobody reaches the ensembles, and they are not loaded.
    """

    spec: ModelSpec
    front: str | None
    direct: str
    version: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    direct_max_rows: int
    queue_size: int
    packs_strings: bool = False
    columns: tuple[ColumnSpec, ...] = ()
    sample: str | None = None
    host: str | None = None
    alone: str | None = None
    native: bool = True

    @property
    def name(self) -> str:
        """The name that clients use."""
        return self.spec.name

    @property
    def triton_models(self) -> tuple[str, ...]:
        """The Triton models, in the order in which they must load: the front calls the model."""
        if self.host is not None and not self.native:
            return ()
        return (self.direct,) if self.front is None else (self.direct, self.front)

    @property
    def folders(self) -> tuple[str, ...]:
        """The folders in the repository that are this model's, those of Triton models that are not loaded too."""
        front = () if self.front is None else (self.front,)
        return (*(() if self.alone is None else (self.alone,)), self.direct, *front)

    @property
    def files(self) -> str:
        """The Triton model whose version folder has the model's files."""
        return self.alone or self.direct

    @property
    def member(self) -> str:
        """What a host knows a packed model by: the folder with its files, relative to the repository."""
        return f"{self.alone}/{self.version}"

    def instances_of(self, triton_model: str) -> int:
        """Return how many instances, and so processes, a Triton model of this entry has."""
        return self.spec.front_instances if triton_model == self.front else self.spec.instances

    def on_trial(self, suffix: str) -> ModelEntry:
        """Return the entry with trial names, which end with `suffix`, for its Triton models."""
        names = {"front": self.front, "direct": self.direct, "alone": self.alone}
        if self.host is not None:
            # No ensemble leads to it.
            names["front"] = None
        changed = {key: name and name + suffix for key, name in names.items()}
        return self.model_copy(update={**changed, "native": self.host is None})

    def moved_out(self) -> ModelEntry:
        """Return the entry of a packed model that is served by a process of its own from now on."""
        changed = {"host": None, "alone": None, "direct": self.alone, "front": None, "native": True}
        return self.model_copy(update=changed)

    @property
    def is_moved_out(self) -> bool:
        """Whether it is the entry of a model that was moved out of its pack."""
        return self.host is None and self.direct.endswith(ALONE_SUFFIX)

    def without_ensembles(self) -> ModelEntry:
        """Return the entry with what a packed model's host alone serves; of any other model it is all."""
        return self.model_copy(update={"native": False})

    def triton_model(self, endpoint: Endpoint) -> str:
        """Return which Triton model serves an endpoint."""
        return self.front if endpoint == "predict_batched" and self.front else self.direct


class OlderVersion(_Frozen):
    """A version beside the served one, above it if it was gone back from, with its Triton models' config.pbtxt."""

    entry: ModelEntry
    configs: dict[str, str]

    @property
    def name(self) -> str:
        """The name of the model."""
        return self.entry.name

    @property
    def version(self) -> int:
        """The number of the version."""
        return self.entry.version


class Manifest(_Frozen):
    """Every model of the repository, and the sha256 of every file, by path relative to its root.

    `hosts` are the processes of packs, each as if it were a model of its own, in whose calls bytes go in and come out
    (packs/envelope.py). `older` is in the order of names, and of numbers for each. `numbers` has the last that each
    model ever had, removed ones included: a number stands for one content for ever, since Triton's response cache goes
    by it.
    """

    format: Literal[1] = 1
    models: tuple[ModelEntry, ...]
    hosts: tuple[ModelEntry, ...] = ()
    older: tuple[OlderVersion, ...] = ()
    numbers: dict[str, int] = {}
    files: dict[str, str] = {}

    def to_json(self) -> bytes:
        """Write the manifest in stable bytes: the same build gives the same ones."""
        data = self.model_dump(mode="json", by_alias=True)
        return (json.dumps(data, indent=1, sort_keys=True) + "\n").encode()

    def model(self, name: str) -> ModelEntry | None:
        """Return the served version of a model; None if there is no such model."""
        return next((entry for entry in self.models if entry.name == name), None)

    def host(self, direct: str) -> ModelEntry | None:
        """Return the host whose direct model has this name; None if there is no such host."""
        return next((entry for entry in self.hosts if entry.direct == direct), None)

    def without_fronts(self) -> Manifest:
        """Return what a server has whose Triton nobody else reaches: a front for each response cache, and no other."""
        hosts = (host.model_copy(update={"front": None}) for host in self.hosts)
        models = (entry if entry.spec.caching else _without_front(entry) for entry in self.models)
        return self.model_copy(update={"models": tuple(models), "hosts": tuple(hosts)})

    def older_of(self, name: str) -> tuple[OlderVersion, ...]:
        """Return the kept versions of a model, in the order of their numbers."""
        return tuple(item for item in self.older if item.name == name)


def _without_front(entry: ModelEntry) -> ModelEntry:
    return entry.model_copy(update={"front": None, "native": entry.host is None})


def entry_json(entry: ModelEntry) -> str:
    """Write an entry as its manifest has it; two that are equal give the same text."""
    return json.dumps(entry.model_dump(mode="json", by_alias=True), sort_keys=True)


def read_manifest(repository: Path) -> Manifest:
    """Read the manifest of a built repository. Raises RepositoryError if there is none, or none of this release."""
    path = repository / FILENAME
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise RepositoryError(f"{path} is not there: build the repository with `schwift build-repo`") from error
    except (OSError, ValidationError) as error:
        raise RepositoryError(
            f"{path} cannot be read as a manifest of this release: build it anew with `schwift build-repo`"
        ) from error
