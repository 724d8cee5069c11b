"""What the commands of all experiments have in common."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

from benchmarks.paper.arms import ArmResult
from benchmarks.paper.settings import Settings, add_options, settings_of

__all__ = ["ARM_METRICS", "labelled_rows", "main"]

ARM_METRICS = (
    "hp_train_acc",
    "aie",
    "aie_ft",
    "p0_true",
    "head_norm",
    "pull_norm",
    "ft_train_acc",
    "ft_valid_acc",
    "ft_valid_last",
    "test_acc",
    "feature_distance",
    "feature_cosine",
    "feature_dot",
    "feature_norm",
)
"""Columns of a summary."""


def main(
    description: str | None,
    run: Callable[[Settings], None],
    add: Callable[[argparse.ArgumentParser], None] | None = None,
) -> None:
    """Runs an experiment on each task that the command line asks for.

    Args:
        description: The module's docstring, whose first line is shown.
        run: The experiment.
        add: Adds options of its own.
    """
    parser = argparse.ArgumentParser(description=(description or "").split("\n", 1)[0])
    add_options(parser)
    if add is not None:
        add(parser)
    for settings in settings_of(parser.parse_args()):
        print(f"\n{settings.name}: {settings.n_seeds} seeds, taus up to {settings.tau_max}")
        started = perf_counter()
        run(settings)
        print(f"  {perf_counter() - started:.0f} s")


def labelled_rows(
    results: Sequence[ArmResult], label: Callable[[ArmResult], str]
) -> list[dict[str, Any]]:
    """Returns the rows of arms with a first column that names each."""
    return [{"row": label(result), **result.row()} for result in results]
