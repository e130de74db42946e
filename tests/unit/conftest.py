"""`--quick` leaves out what takes long: `make unit` is run at each save, `make test` has everything."""

from __future__ import annotations

import gc
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Files that load a library of models, start processes, or try thousands of examples; by `pytest --durations=0`.
SLOW_FILES = (
    "tests/unit/adapter/backend/test_grpc_control.py",
    "tests/unit/adapter/backend/test_http_deadlines.py",
    "tests/unit/adapter/batching/test_batcher_overload.py",
    "tests/unit/adapter/batching/test_busy_poll.py",
    "tests/unit/adapter/codec/test_duplicate_keys.py",
    "tests/unit/adapter/codec/test_large_bodies.py",
    "tests/unit/adapter/codec/test_off_loop.py",
    "tests/unit/adapter/codec/test_properties.py",
    "tests/unit/adapter/http/test_docs_page.py",
    "tests/unit/adapter/http/test_refused_bodies.py",
    "tests/unit/adapter/http/test_ways.py",
    "tests/unit/adapter/lifecycle/test_awake_clock.py",
    "tests/unit/adapter/sockets/test_bounded_protocol.py",
    "tests/unit/adapter/sockets/test_graceful.py",
    "tests/unit/adapter/sockets/test_listening.py",
    "tests/unit/adapter/telemetry/test_log_setup.py",
    "tests/unit/adapter/test_predictor_faults.py",
    "tests/unit/adapter/test_predictor_storm.py",
    "tests/unit/adapter/workers/test_shared_table_and_counters.py",
    "tests/unit/converter/authoring/test_examined_models.py",
    "tests/unit/converter/authoring/test_new_model.py",
    "tests/unit/converter/authoring/test_original.py",
    "tests/unit/converter/checking/test_check_models.py",
    "tests/unit/converter/authoring/test_exported_trees.py",
    "tests/unit/converter/converting/test_convert_model.py",
    "tests/unit/converter/environments/test_engine_wheel.py",
    "tests/unit/converter/environments/test_environment_store.py",
    "tests/unit/converter/environments/test_fronts.py",
    "tests/unit/converter/environments/test_interpreter.py",
    "tests/unit/converter/environments/test_model_environment.py",
    "tests/unit/converter/environments/test_pip_install.py",
    "tests/unit/converter/inspect/test_inspector.py",
    "tests/unit/converter/inspect/test_model_environments.py",
    "tests/unit/converter/inspect/test_model_files.py",
    "tests/unit/converter/inspect/test_pickle_trust.py",
    "tests/unit/converter/inspect/test_requirements.py",
    "tests/unit/converter/inspect/test_torch_file.py",
    "tests/unit/converter/inspect/test_worker_process.py",
    "tests/unit/converter/live_switch/test_reload_command.py",
    "tests/unit/converter/repository/test_recall.py",
    "tests/unit/converter/repository/test_version_history.py",
    "tests/unit/converter/repository/test_writer.py",
    "tests/unit/converter/test_build.py",
    "tests/unit/converter/test_cli.py",
    "tests/unit/converter/test_keys.py",
    "tests/unit/converter/trust/test_honest_models.py",
    "tests/unit/converter/trust/test_pickle_reader.py",
    "tests/unit/converter/trust/test_scan_command.py",
    "tests/unit/deploy/test_nvidia.py",
    "tests/unit/deploy/test_requirements.py",
    "tests/unit/runtime/test_checked_file.py",
    "tests/unit/runtime/test_data_frame.py",
    "tests/unit/runtime/test_dlpack.py",
    "tests/unit/runtime/test_wake.py",
    "tests/unit/schwift/commands/test_environment_commands.py",
    "tests/unit/schwift/commands/test_served_rows.py",
    "tests/unit/schwift/load/test_load_generator.py",
    "tests/unit/schwift/test_process_group.py",
    "tests/unit/schwift/test_process_tree.py",
    "tests/unit/schwift/test_restarting.py",
    "tests/unit/schwift/test_supervisor.py",
    "tests/unit/schwift/test_watching.py",
    "tests/unit/schwift/triton/test_installation.py",
    "tests/unit/schwift/triton/test_launcher.py",
    "tests/unit/schwift/triton/test_sealed_start.py",
    "tests/unit/schwift/triton/test_sealed_steps.py",
    "tests/unit/schwift/triton/test_standalone.py",
    "tests/unit/test_constructors.py",
    "tests/unit/test_groups.py",
    "tests/unit/test_imports.py",
    "tests/unit/test_names.py",
    "tests/unit/zoo/test_mistakes.py",
)
# Single tests, among many that take milliseconds.
SLOW_TESTS = {
    "TestMachine",
    "test_200_000_bad_items_take_at_most_100_ms",
    "test_a_body_that_is_still_coming_keeps_a_connection",
    "test_a_joined_answer_is_cut_exactly_as_each_request_alone_would_be",
    "test_a_stuck_call_does_not_keep_the_fronts_process_alive",
    "test_an_answer_in_pieces",
    "test_a_model_that_a_reload_added_is_known_from_the_moment_on_in_which_it_is_served",
    "test_without_threadpoolctl_the_rest_is_limited",
    "test_an_idle_connection_is_closed_and_one_in_use_is_not",
    "test_an_idle_connection_is_closed_and_one_that_waits_is_not",
    "test_calls_in_turn_share_a_connection",
    "test_deep_nesting_is_refused",
    "test_each_ends_in_time_whoever_comes_and_goes",
    "test_each_request_gets_exactly_its_own_rows",
    "test_clients_that_ask_again_at_once_go_together",
    "test_histograms_are_those_of_prometheus",
    "test_joined_requests_are_their_own_tensors_one_after_the_other",
    "test_libraries_that_are_there_already_are_limited",
    "test_many_clients_are_bounded_and_the_active_one_is_not_forgotten",
    "test_no_test_asks_for_a_private_name",
    "test_the_gauges_are_0_again_whatever_becomes_of_the_requests",
    "test_the_table_is_as_large_however_many_come",
    "test_whatever_the_load_it_does_not_flap",
    "test_where_what_was_called_dead_had_to_be_ended_its_calls_are_given_up",
    "test_who_does_not_read_is_not_worked_for",
    "test_who_is_over_the_quota_is_not_forgotten_for_those_who_are_not",
    "test_whoever_was_answered_is_not_kept_until_its_deadline",
    "test_worker_that_hangs_is_waited_for_no_longer_than_a_request_may_take",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="leave out the unit tests that take long")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    slow = config.getoption("--quick") and str(collection_path.relative_to(ROOT)) in SLOW_FILES
    return True if slow else None


def pytest_collection_finish(session: pytest.Session) -> None:
    """Keep what the modules of all tests made out of the collections that the tests cause: a tenth of the time."""
    if session.config.getoption("--quick"):
        gc.freeze()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--quick"):
        items[:] = [item for item in items if SLOW_TESTS.isdisjoint(re.split(r"::|\[", item.nodeid))]
