"""What a config asks of the machine and of requests: instances, memory, batch sizes, delays and bodies."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator

from converter.checking.findings import Finding
from converter.checking.subject import Subject

# Of the machine's memory, for all instances of one model.
_MOST_MEMORY = 0.8
_MIB = 1024 * 1024


def check_instances(subject: Subject) -> Iterator[Finding]:
    """Compare instances with the cores, and with how many may run at once."""
    instances, cores = subject.spec.instances, subject.options.cores
    workers = subject.options.settings.max_ml_workers
    if instances > cores:
        text = f"{instances} instances on {cores} cores: each runs one thread"
        yield subject.find("instances", "warning", ("instances",), text, "write auto, or at most one a core")
    elif instances > workers:
        text = f"{instances} instances, and MAX_ML_WORKERS lets {workers} run at once"
        yield subject.find("instances", "warning", ("instances",), text, "write fewer, or set MAX_ML_WORKERS higher")


def check_body(subject: Subject) -> Iterator[Finding]:
    """Find rows that no request has room for."""
    # Each value is a digit and what stands behind it, at least.
    least = 2 * sum(math.prod(map(abs, tensor.row_dims)) for tensor in subject.spec.input)
    most = subject.options.settings.max_body_bytes
    if least > most:
        text = f"one row is at least {least} bytes of JSON, so no request has room for it"
        remedy = f"set SCHWIFT_MAX_BODY_BYTES, which is {most}, higher"
        yield subject.find("row-too-large", "warning", ("input",), text, remedy)


def check_memory(subject: Subject) -> Iterator[Finding]:
    """Compare the size of the model's file with the memory that there is, and that it may have."""
    spec = subject.spec
    name = spec.model_args.model_file
    if name is None or name not in subject.source.files:
        return
    size = os.path.getsize(subject.source.path_of(name))
    instances = max(1, spec.instances)
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if spec.max_memory_mb is not None and size > spec.max_memory_mb * _MIB:
        text = f"the file alone has {size // _MIB} MiB"
        yield subject.find("memory", "warning", ("max_memory_mb",), text, "write more, or leave it out")
    elif size * instances > there * _MOST_MEMORY:
        text = f"{instances} times a file of {size // _MIB} MiB is most of this machine's memory, {there // _MIB} MiB"
        yield subject.find("memory", "warning", ("instances",), text, "write fewer instances, or take a smaller model")


def check_batches(subject: Subject) -> Iterator[Finding]:
    """Find batch sizes and times that work against each other."""
    spec, settings = subject.spec, subject.options.settings
    largest, rush = max(spec.preferred_batch_size, default=0), spec.rush_batch_size
    if rush is not None and rush < largest:
        text = f"{rush} is less than the largest of preferred_batch_size, {largest}, which batches have at any hour"
        yield subject.find(
            "batch-sizes", "warning", ("rush_batch_size",), text, f"write more than {largest}, or remove it"
        )
    delay, timeout, deadline = spec.max_batch_delay_ms, spec.queue.timeout_ms, settings.predict_timeout_seconds
    if delay >= 1e3 * deadline:
        text = f"requests wait {delay:g} ms for others, and have PREDICT_TIMEOUT_SECONDS={deadline:g}"
        yield subject.find("batch-sizes", "warning", ("max_batch_delay_ms",), text, "write less, as 10")
    elif timeout is not None and delay >= timeout:
        text = f"requests wait {delay:g} ms for others, and are rejected after {timeout} ms in the queue"
        yield subject.find("batch-sizes", "warning", ("queue", "timeout_ms"), text, f"write more than {delay:g}")
