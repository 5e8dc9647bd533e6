"""Every timer there is has a test that only moves the clock: this table says which, and fails when one is missing."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("broker", "coordinator", "log", "ottla")
CALLS = ("schedule", "repeat", "Deadline")

# Where a timer is set (module:qualified name, without what timers are made of) -> the tests that let its time pass.
TIMERS = {
    "broker/connection_quotas.py:ConnectionQuotas.enter": [
        "broker/test_connection_quotas.py::test_who_comes_too_fast_waits"
    ],
    "broker/connection_quotas.py:ConnectionQuotas.refusal": [
        "broker/test_connection_quotas.py::test_an_address_above_its_rate_is_kept_waiting_and_counts_nowhere"
    ],
    "broker/coordinators.py:OnDemand._caught_up": [
        "broker/test_coordinator_loads.py::test_what_comes_while_it_loads_is_waited_for_and_read_from_there_on"
    ],
    "broker/coordinators.py:OnDemand._later": [
        "broker/test_coordinator_loads.py::test_the_disk_is_tried_again_and_nobody_is_served_what_half_a_log_says"
    ],
    "broker/dispatch.py:Gate.mute": ["broker/test_quotas.py::test_a_producer_above_its_rate_is_told_and_muted"],
    "broker/failover.py:Failover.begin": [
        "broker/test_node_config_effects.py::test_when_the_preferred_replica_leads_again"
    ],
    "broker/faults/faults.py:Faults._keep": ["testing/test_faults.py::test_without_an_answer_at_acks_0_nobody_notices"],
    "broker/recording.py:Recorder.add": [
        "broker/test_recording.py::test_sinks_are_flushed_four_times_a_second_and_let_go_when_they_take_no_more"
    ],
    "broker/transactions.py:_add": [
        "broker/test_coordinator_config_effects.py::test_how_often_a_partition_is_added_again"
    ],
    "broker/transactions.py:_add.again": [
        "broker/test_coordinator_config_effects.py::test_how_often_a_partition_is_added_again"
    ],
    "broker/turns.py:Turns._go_on": [
        "broker/test_turns.py::test_what_does_not_waits_for_the_next_turns_first_come_first_served"
    ],
    "broker/waiting.py:ByteWaiter.__init__": [
        "testing/test_clock.py::test_a_waiting_fetch_is_answered_when_its_time_is_over"
    ],
    "coordinator/group/consumer_membership.py:ConsumerMembership.timers_of": [
        "coordinator/test_consumer_groups.py::test_a_member_that_is_silent_is_out",
        "coordinator/test_consumer_groups.py::test_a_member_that_does_not_give_up_in_time_is_out",
    ],
    "coordinator/group/coordinator.py:GroupCoordinator.loaded": [
        "coordinator/test_offsets.py::test_an_empty_groups_offsets_expire_from_when_it_emptied"
    ],
    "coordinator/group/membership.py:ClassicMembership._join_without_id": [
        "coordinator/test_membership.py::test_an_id_that_is_not_used_is_forgotten_after_the_session_timeout"
    ],
    "coordinator/group/membership.py:ClassicMembership._complete_join": [
        "coordinator/test_membership.py::test_who_does_not_sync_within_the_rebalance_timeout_is_out"
    ],
    "coordinator/group/membership.py:ClassicMembership._session": [
        "testing/test_clock.py::test_a_member_that_does_not_speak_is_out_and_its_offsets_stay_for_a_week"
    ],
    "coordinator/group/membership.py:ClassicMembership._schedule_join": [
        "coordinator/test_membership.py::test_who_does_not_rejoin_in_time_is_out"
    ],
    "coordinator/group/membership.py:ClassicMembership._schedule_initial_join": [
        "coordinator/test_membership.py::test_the_first_join_waits_the_initial_delay_for_more_members"
    ],
    "coordinator/group/membership.py:ClassicMembership._emptied": [
        "coordinator/test_membership.py::test_that_a_group_is_empty_is_written_when_the_disk_lets_it"
    ],
    "coordinator/transaction/coordinator.py:TransactionCoordinator.loaded": [
        "testing/test_clock.py::test_a_transaction_that_takes_too_long_is_aborted",
        "coordinator/test_transactions.py::test_ids_that_nobody_uses_are_forgotten",
    ],
    "coordinator/transaction/markers.py:Outcomes._later": [
        "coordinator/test_transactions.py::test_markers_are_tried_until_all_are_there"
    ],
    "ottla/testing/watch.py:expect_no_more": [
        "testing/test_clock.py::test_an_hour_in_which_nothing_comes_is_over_when_it_is_moved"
    ],
}

# The jobs of broker/housekeeping.py, by name.
JOBS = {
    "retention": ["testing/test_clock.py::test_a_record_outlives_six_days_and_not_eight"],
    "file deletion": ["testing/test_clock.py::test_files_go_when_their_time_is_over"],
    "checkpoints": ["testing/test_clock.py::test_what_is_done_now_and_then_is_done_on_the_way"],
    "flush": ["testing/test_clock.py::test_what_is_done_now_and_then_is_done_on_the_way"],
    "storage health": ["broker/test_durability.py::test_a_full_disk_refuses_writes_serves_reads_and_heals"],
    "compaction": ["testing/test_clock.py::test_compaction_that_is_due_is_done"],
    "producer id expiry": ["testing/test_clock.py::test_a_producer_that_is_silent_for_a_day_is_forgotten"],
    "connections": ["broker/test_hostile_peers.py::test_an_idle_connection_is_closed_and_one_that_waits_is_not"],
}


def calls(tree: ast.AST, names: tuple[str, ...] = ()) -> Iterator[tuple[str, ast.Call]]:
    """Every call that sets a timer, with the qualified name of where it stands."""
    for node in ast.iter_child_nodes(tree):
        inner = names
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            inner = (*names, node.name)
        elif isinstance(node, ast.Call):
            called = node.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            if name in CALLS:
                yield ".".join(names), node
        yield from calls(node, inner)


def timers() -> set[str]:
    found = set()
    for folder in FOLDERS:
        for file in sorted((ROOT / folder).rglob("*.py")):
            path = file.relative_to(ROOT).as_posix()
            if path.startswith(("coordinator/timers", "ottla/wire", "ottla/log", "ottla/coordinator", "ottla/broker")):
                continue
            found |= {f"{path}:{name}" for name, _ in calls(ast.parse(file.read_text("utf-8")))}
    return found


def jobs() -> set[str]:
    tree = ast.parse((ROOT / "broker/housekeeping.py").read_text("utf-8"))
    constants = {
        node.targets[0].id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
    }
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "_repeat":
            name = node.args[0]
            found.add(name.value if isinstance(name, ast.Constant) else constants[name.id])  # type: ignore[attr-defined]
    return found


def test_every_timer_is_in_the_table() -> None:
    assert timers() - {"broker/housekeeping.py:Housekeeping._repeat"} == set(TIMERS)
    assert jobs() == set(JOBS)


@pytest.mark.parametrize(
    "node", sorted({node for table in (TIMERS, JOBS) for tests in table.values() for node in tests})
)
def test_the_test_that_it_names_is_there_and_moves_a_clock(node: str) -> None:
    path, _, name = node.partition("::")
    tree = ast.parse((ROOT / "tests" / path).read_text("utf-8"))
    there = [one for one in tree.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) and one.name == name]
    assert there, f"no {name} in tests/{path}"
    moves = {"advance", "sleep", "turn", "run_due"}
    called = {
        node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        for node in ast.walk(there[0])
        if isinstance(node, ast.Call)
    }
    assert called & moves, f"{node} moves no clock"
