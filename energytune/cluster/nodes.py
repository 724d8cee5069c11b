"""The nodes of a cluster that may run jobs, and one question to each of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

__all__ = ["Node", "alive_nodes", "ask_nodes"]


@dataclass(frozen=True)
class Node:
    """A node that is alive.

    Attributes:
        id: Ray's.
        address: For a person.
        resources: All it has: ``{"CPU": 8.0, "GPU": 1.0}``.
        is_own: Whether this process runs on it.
    """

    id: str
    address: str
    resources: dict[str, float]
    is_own: bool


def alive_nodes() -> list[Node]:
    """Returns the nodes of the cluster that this process has joined, by address."""
    own = ray.get_runtime_context().get_node_id()
    nodes = [
        Node(
            str(node["NodeID"]),
            str(node["NodeManagerAddress"]),
            dict(node["Resources"]),
            node["NodeID"] == own,
        )
        for node in ray.nodes()  # type: ignore[no-untyped-call]
        if node["Alive"]
    ]
    return sorted(nodes, key=lambda node: (node.address, node.id))


def ask_nodes(
    nodes: Sequence[Node], question: Callable[[str], Any], timeout_s: float
) -> list[tuple[Any, str]]:
    """Runs a function once on each node, busy or not, all at the same time.

    Args:
        nodes: Where.
        question: Called with the node's id. It is pickled; one that is defined inside a function
            runs also where this package is not installed.
        timeout_s: Seconds, > 0, after which a node counts as silent.

    Returns:
        For each node, in order, what it has answered, and why it has not: ``""`` if it has.
    """
    task = ray.remote(num_cpus=0, max_retries=0)(question)
    asked = [
        task.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False)
        ).remote(node.id)
        for node in nodes
    ]
    ready, late = ray.wait(asked, num_returns=len(asked), timeout=timeout_s) if asked else ([], [])
    answers: list[tuple[Any, str]] = []
    for reference in asked:
        if reference not in ready:
            answers.append((None, f"no answer within {timeout_s:g} seconds"))
            continue
        try:
            answers.append((ray.get(reference), ""))
        except Exception as error:  # whatever that node's Python makes of it
            lines = str(error).strip().splitlines()
            answers.append((None, lines[-1] if lines else type(error).__name__))
    for reference in late:
        ray.cancel(reference, force=True)
    return answers
