"""Nodes, leaders and coordinators, as failover.py moves them."""

from __future__ import annotations

from typing import Any

from ottla.broker.control.routes import Call, Refused, Route, object_of

_NODE = '{"node": 2}'
_TAKES_NODE = object_of({"node": {"type": "integer"}}, required=("node",))
_TAKES_ISR = object_of({"isr": {"type": "array", "items": {"type": "integer"}}}, required=("isr",))


def _nodes(call: Call) -> Any:
    return {"nodes": call.broker.failover.nodes()}


def _stop(call: Call) -> Any:
    call.broker.failover.stop_node(call.number("node"))
    return _nodes(call)


def _start(call: Call) -> Any:
    call.broker.failover.start_node(call.number("node"))
    return _nodes(call)


def _move_leader(call: Call) -> Any:
    topic, index = call.params["topic"], call.number("partition")
    call.broker.failover.move_leader(topic, index, call.field("node", int, _NODE))
    return _partition(call)


def _set_isr(call: Call) -> Any:
    isr = call.field("isr", list, '{"isr": [1, 2]}')
    if not all(isinstance(node, int) and not isinstance(node, bool) for node in isr):
        raise Refused('the ids in "isr" must be numbers, as in {"isr": [1, 2]}')
    call.broker.failover.set_isr(call.params["topic"], call.number("partition"), isr)
    return _partition(call)


def _partition(call: Call) -> Any:
    topic, index = call.params["topic"], call.number("partition")
    partition = call.broker.cluster.partition(topic, index)
    if partition is None:
        raise Refused(f"there is no partition {topic}-{index}", 404)
    return {
        "topic": topic,
        "partition": index,
        "leader": partition.leader,
        "leader_epoch": partition.leader_epoch,
        "replicas": partition.replicas,
        "isr": partition.isr,
    }


def _move_transaction(call: Call) -> Any:
    node, transactional_id = call.field("node", int, _NODE), call.params["id"]
    call.broker.failover.move_coordinator("transaction", transactional_id, node)
    return {"transaction": transactional_id, "coordinator": node}


ROUTES = (
    Route("GET", "/nodes", _nodes, "All nodes: up or down, what each leads and coordinates."),
    Route("POST", "/nodes/{node}/stop", _stop, "Take a node down: leaders move away, its clients are cut off."),
    Route("POST", "/nodes/{node}/start", _start, "Bring a node up again: it catches up and joins every ISR."),
    Route("GET", "/partitions/{topic}/{partition}", _partition, "Leader, epoch, replicas and ISR of a partition."),
    Route(
        "POST",
        "/partitions/{topic}/{partition}/leader",
        _move_leader,
        f"Give the lead to a replica: {_NODE}.",
        takes=_TAKES_NODE,
    ),
    Route(
        "POST",
        "/partitions/{topic}/{partition}/isr",
        _set_isr,
        'Say which replicas are in sync: {"isr": [1, 2]}.',
        takes=_TAKES_ISR,
    ),
    Route(
        "POST",
        "/transactions/{id}/coordinator",
        _move_transaction,
        f"Move that of a transactional id: {_NODE}.",
        takes=_TAKES_NODE,
    ),
)
