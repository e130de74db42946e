"""Owns Triton and the adapter: starts again what ends, ends what hangs, and ends both in order.

Triton is always started on the same ports, and the adapter on the same listening socket: clients notice a pause.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import time

from converter.errors import ServeError
from converter.schema.wire import KillModel
from schwift import process_tree
from schwift.kill_pipe import KillPipe
from schwift.process_group import OWN, ProcessGroup
from schwift.restarting import RestartingProcess, Say
from schwift.triton.embedded import EXIT_SECONDS, EmbeddedTriton
from schwift.triton_liveness import TritonLiveness
from schwift.wakes import Wakes

# After the drain the adapter answers what is in flight for 15 s (adapter/__main__.py). All ends within 20 s of it.
_ADAPTER_STOP_SECONDS = 16.5
_STOP_SECONDS = 19.0
_LEAST_SECONDS = 1.0
_POLL_SECONDS = 0.05
# How often it is looked whether the next life of one that ended is due.
_LIVES_SECONDS = 0.1


class StopSignals:
    """What asked us to end: the `first` signal and the `last` one, None while there was none, and how many came."""

    def __init__(self) -> None:
        self.first: int | None = None
        self.last: int | None = None
        self.count = 0

    def note(self, number: int) -> None:
        """Take down a signal."""
        self.first = self.first or number
        self.last = number
        self.count += 1


class Supervisor:
    """The owner of Triton and the adapter. `tick` is called every moment, and does not wait; `stop` does.

    `triton` has the lives of `embedded`, which carries out the adapter's orders and is tended at each tick.
    """

    def __init__(
        self,
        triton: RestartingProcess,
        adapter: RestartingProcess,
        embedded: EmbeddedTriton,
        liveness: TritonLiveness,
        kill_pipe: KillPipe,
        say: Say,
    ) -> None:
        self._triton = triton
        self._adapter = adapter
        self._embedded = embedded
        self._liveness = liveness
        self._kill_pipe = kill_pipe
        self._say = say
        # Which Triton the liveness is of.
        self._asked: ProcessGroup | None = None

    def start(self) -> None:
        """Start both. Raises OSError if no process is to be had."""
        self._triton.start()
        self._adapter.start()

    def tick(self) -> None:
        """Look after both. Raises ServeError if one ended before it ever worked."""
        self._adapter.tick()
        self._tend()

    def rest(self, wakes: Wakes) -> None:
        """Sleep until there is something for `tick` to do."""
        both_live = self._triton.process is not None and self._adapter.process is not None
        seconds = self._liveness.rest_seconds if both_live else _LIVES_SECONDS
        wakes.sleep(seconds, self._kill_pipe.fileno())

    def _tend(self) -> None:
        """Look after all but the adapter."""
        self._triton.tick()
        self._check_liveness()
        process_tree.reap_adopted(OWN)
        self._embedded.tend()
        for order in self._kill_pipe.read():
            killed = self._embedded.kill_stubs(order)
            if isinstance(order, KillModel):
                self._say(f"{order.model}: {killed} stuck process{'' if killed == 1 else 'es'} killed")
            elif killed:
                self._say(f"process {order.pid}, which nobody could reach any more, killed")

    def adapter_works(self) -> None:
        """Note that the adapter answered."""
        self._adapter.mark_healthy()

    def triton_works(self) -> None:
        """Note that Triton had a model ready, though the question of each second may not have been answered yet."""
        self._triton.mark_healthy()
        # From now on silence is a hang, and no start that takes long.
        self._liveness.answered = True

    def stop(self, listener: socket.socket, signals: StopSignals, drain_seconds: float = 0.0) -> None:
        """End the adapter, which drains after SIGTERM or SIGHUP, then Triton; waits for the drain and 20 s at most."""
        drain = drain_seconds if signals.first in (signal.SIGTERM, signal.SIGHUP) else 0.0
        deadline = time.monotonic() + drain + _STOP_SECONDS
        # Its last copy is the adapter's now: when that stops listening, clients are refused and do not wait.
        listener.close()
        self._await_adapter(signals, drain + _ADAPTER_STOP_SECONDS)
        self._adapter.stop(0)
        self._triton.stop(min(EXIT_SECONDS, max(_LEAST_SECONDS, deadline - time.monotonic())))
        self._liveness.close()

    def _await_adapter(self, signals: StopSignals, seconds: float) -> None:
        """Have it end, pass on the signals that come meanwhile, and look after Triton, which it still uses."""
        ends = time.monotonic() + seconds
        passed_on = signals.count
        # Where no signal came, there is a fault: nobody is to be served for longer.
        self._adapter.send(signals.first or signal.SIGINT)
        while self._adapter.runs and time.monotonic() < ends:
            time.sleep(_POLL_SECONDS)
            if signals.last is not None and signals.count != passed_on:
                passed_on = signals.count
                self._adapter.send(signals.last)
            with contextlib.suppress(ServeError):
                self._tend()

    def _check_liveness(self) -> None:
        if self._triton.process is not self._asked:
            self._asked = self._triton.process
            self._liveness.reset()
        if self._asked is None:
            return
        self._liveness.tick()
        if self._liveness.answered:
            self._triton.mark_healthy()
        bound = self._liveness.bound_seconds
        if self._liveness.silent_seconds >= bound:
            self._triton.restart(f"did not answer for {bound:g} s and was killed")
