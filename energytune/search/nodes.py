"""Before the first trial on a cluster: does every node have what the search needs?"""

from __future__ import annotations

import platform
import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from energytune import __version__
from energytune.cluster import Node, RayCluster, ask_nodes
from energytune.errors import ResourceError
from energytune.progress import Progress
from energytune.search.node_look import Look
from energytune.trial.bench import BenchSpec

__all__ = ["check_nodes"]

_TIMEOUT_S = 120.0
"""A busy machine may take half a minute to start a process."""


def check_nodes(cluster: RayCluster, spec: BenchSpec, progress: Progress) -> None:
    """Asks every other node that may run a trial; does nothing where there is none.

    Compared are the versions of Python, energytune and torch. A file is written to what is shared,
    read on every node, and answered with another one. Dataset, checkpoint and cache are looked
    for.

    Args:
        cluster: Entered.
        spec: Of the bench; its folder has been made.
        progress: Watches.

    Raises:
        ResourceError: A node can't take part; the message has every node and what to do.
        OutputError: What is shared can't be written here.
    """
    nodes = cluster.other_nodes()
    if not nodes:
        return
    look = _look(spec)
    shared = look.shared
    names = [look.token_name, *(f"{look.token_name}.{node.id}" for node in nodes)]
    with progress.stage(f"checking {len(nodes)} other nodes", None):
        shared.put_bytes(look.token_name, look.token)
        try:
            answers = ask_nodes(nodes, _question(look), _TIMEOUT_S)
            problems = [
                (node, found)
                for node, name, (told, silence) in zip(nodes, names[1:], answers, strict=True)
                if (found := [silence] if silence else _problems(told))
                or (found := _unseen(look, shared.get_bytes(name)))
            ]
        finally:
            for name in names:
                shared.delete(name)
    if problems:
        raise _refusal(problems, len(nodes))


def _look(spec: BenchSpec) -> Look:
    return Look(
        storage_path=spec.storage_path,
        folder=spec.model_dir.parent.absolute(),
        cache=spec.cache.absolute(),
        token_name=f".nodes-{uuid.uuid4().hex}",
        token=uuid.uuid4().bytes,
        dataset=spec.dataset if spec.user_data is None else None,
        data_root=spec.data_root,
        checkpoint=spec.checkpoint,
    )


def _question(look: Look) -> Callable[[str], dict[str, Any]]:
    """Returns what is run on a node; it must run where this package is missing, or is another."""
    wanted, asked = _versions(), asdict(look)

    def ask(node_id: str) -> dict[str, Any]:
        import platform
        from importlib.metadata import PackageNotFoundError, version

        here = {"python": platform.python_version()}
        try:
            from energytune import __version__ as energytune_version

            here["energytune"] = energytune_version
        except Exception as error:
            here["energytune"] = f"none ({type(error).__name__}: {error})"
        try:
            here["torch"] = version("torch")
        except PackageNotFoundError:
            here["torch"] = "none"
        if here != wanted:
            return {"versions": here, "problems": []}
        from energytune.search.node_look import Look, look_around

        return {"versions": here, "problems": look_around(Look(**asked), node_id)}

    return ask


def _versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "energytune": __version__,
        "torch": version("torch"),
    }


def _problems(told: dict[str, Any]) -> list[str]:
    """Returns what is wrong by what a node has answered."""
    here = told["versions"]
    differing = [
        f"{name} {here[name]} instead of {wanted}"
        for name, wanted in _versions().items()
        if here[name] != wanted
    ]
    if differing:
        return [f"it has {', '.join(differing)}. Install the same versions there, or use --submit."]
    return list(told["problems"])


def _unseen(look: Look, answer: bytes | None) -> list[str]:
    if answer == look.token:
        return []
    return [f"what it writes to {look.shared} does not arrive here."]


def _refusal(problems: Sequence[tuple[Node, list[str]]], n_nodes: int) -> ResourceError:
    lines = [f"\n  node {node.address}: {' '.join(found)}" for node, found in problems]
    return ResourceError(
        f"{len(problems)} of {n_nodes} other nodes of the cluster can't take part in this search:"
        + "".join(lines)
    )
