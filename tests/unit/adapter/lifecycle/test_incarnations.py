"""One number for each load of a model: whose death is told, by whom, how often and how late."""

from __future__ import annotations

from adapter.lifecycle.served_model import Model
from adapter.sharing import SharedState
from tests.support.fakes.entries import make_entry, make_manifest
from tests.support.lifecycle.reconcilers import make_sync
from tests.support.lifecycle.served_models import make_registry


class Workers:
    """Three that share a ready model `a`; the first one leads."""

    def __init__(self) -> None:
        self.sharing = SharedState(["a"], workers=3)
        manifest = make_manifest(make_entry("a"))
        self.registries = [make_registry(manifest, self.sharing.table, worker) for worker in range(3)]
        self.syncs = [make_sync(registry, self.sharing.snapshot) for registry in self.registries]
        self.syncs[0].lead()
        self.load()
        self.catch_up()

    def model(self, worker: int) -> Model:
        return self.registries[worker].models["a"]

    def load(self, leading: int = 0) -> None:
        """As the reconciler does."""
        self.registries[leading].begin_incarnation(self.model(leading))
        self.model(leading).status.become("ready")
        self.syncs[leading].publish()

    def catch_up(self) -> None:
        for sync in self.syncs:
            sync.catch_up()

    @property
    def dead(self) -> list[bool]:
        return [self.model(worker).dead for worker in range(3)]


def test_a_death_that_several_workers_tell_of_is_one() -> None:
    workers = Workers()
    for worker in (1, 2, 2, 0):
        workers.model(worker).report_dead(workers.model(worker).incarnation, "a call")
    assert workers.dead == [True] * 3
    workers.load()
    workers.catch_up()
    assert workers.dead == [False] * 3
    assert all(workers.model(worker).ready for worker in range(3))


def test_a_worker_that_has_not_heard_of_a_load_tells_of_the_process_before() -> None:
    workers = Workers()
    before = workers.model(1).incarnation
    workers.load()
    workers.model(1).report_dead(before, "a call")
    assert (workers.dead[0], workers.model(1).ready) == (False, False)
    workers.catch_up()
    assert (workers.dead, workers.model(1).ready) == ([False] * 3, True)
    # Nor does a call say anything that began before.
    workers.model(1).report_dead(before, "a call")
    assert (workers.dead, workers.model(1).ready) == ([False] * 3, True)


def test_a_worker_that_takes_the_lead_or_begins_anew_goes_on_with_the_numbers() -> None:
    workers = Workers()
    for _ in range(5):
        workers.load()
    dead = workers.model(0).incarnation
    workers.model(0).report_dead(dead, "a call")
    workers.syncs[1].lead()
    assert workers.dead[1]
    workers.load(leading=1)
    assert workers.model(1).incarnation == dead + 1
    # In the place of the first one.
    anew = make_registry(make_manifest(make_entry("a")), workers.sharing.table, 0)
    make_sync(anew, workers.sharing.snapshot).catch_up()
    assert (anew.models["a"].incarnation, anew.models["a"].dead, anew.models["a"].ready) == (dead + 1, False, True)


def test_a_name_that_comes_back_has_no_number_of_before() -> None:
    workers = Workers()
    leading, before = workers.registries[0], workers.model(0)
    leading.replace([], ["a"])
    leading.replace([make_entry("a")])
    assert workers.model(0).incarnation > before.incarnation
    before.report_dead(before.incarnation, "a call")
    assert (before.dead, workers.dead[0], workers.model(0).ready) == (True, False, True)


def test_calls_are_given_up_once_for_each_incarnation() -> None:
    workers = Workers()
    given_up: list[int] = []
    workers.registries[2].watch_abandoned(lambda entry: given_up.append(workers.model(2).incarnation))
    first = workers.model(2).incarnation
    for _ in range(2):
        workers.registries[0].abandon_calls(workers.model(0))
        workers.catch_up()
    assert given_up == [first]
    workers.registries[0].abandon_calls(workers.model(0))
    workers.load()
    # Heard of together with the load, and done before it.
    workers.catch_up()
    assert (given_up, workers.model(2).ready) == ([first], True)
    workers.registries[0].abandon_calls(workers.model(0))
    workers.load()
    workers.catch_up()
    assert given_up == [first, first + 1]
