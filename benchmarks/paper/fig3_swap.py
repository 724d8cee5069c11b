"""Figure 3, right: finetuned backbones and heads of seven taus, exchanged pairwise.

    python -m benchmarks.paper.fig3_swap

Each of seven taus is probed and finetuned; the backbone of one and the head of another make 49
models, which are evaluated on train and valid as they are. Weights are those of the last epoch.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from torch import Tensor

from benchmarks.paper.arms import Arm, run_arm
from benchmarks.paper.compute import final_state, kept, run_seeds
from benchmarks.paper.drawing import new_figure
from benchmarks.paper.experiment import main
from benchmarks.paper.output import paths, print_table, write_results
from benchmarks.paper.settings import Settings, bench_of, some_of
from benchmarks.paper.statistics import Row, as_columns, effect, select, summary_rows
from energytune.errors import TrialFailure
from energytune.models import TaskModel
from energytune.report.style import save_figure
from energytune.training.evaluate import evaluate
from energytune.trial.bench import Bench

N_SWAPPED = 7
N_BLOCK = 3
"""Largest taus whose exchanges make the block of interchangeable models."""
N_STRONG = 2
"""Smallest taus, whose backbones the paper finds strongly adapted."""

State = dict[str, Tensor]


def final_states(settings: Settings, bench: Bench, seed: int) -> dict[int, State]:
    """Returns tau -> weights after the last epoch; those that a sweep has kept are taken.

    Raises:
        TrialFailure: If a finetune diverged.
    """
    states: dict[int, State] = {}
    for tau in some_of(settings.taus, N_SWAPPED):
        arm = Arm(tau, settings.ft_lr, settings.head_arch)
        state = final_state(settings, bench, arm, seed)
        states[tau] = _trained(bench, arm, seed) if state is None else state
    return states


def _trained(bench: Bench, arm: Arm, seed: int) -> State:
    state: State = {}

    def keep(epoch: int, model: TaskModel) -> None:
        if epoch == bench.spec.finetune.epochs:
            state.update({k: v.detach().clone() for k, v in model.state_dict().items()})

    result = run_arm(bench, arm, seed, watch=keep)
    if result.failure or not state:
        raise TrialFailure(result.failure or "Finetuning ended early: run without --patience.")
    return state


def swapped_scores(
    bench: Bench, model: TaskModel, states: dict[int, State]
) -> list[dict[str, Any]]:
    """Returns the train and valid score of each backbone with each head.

    Args:
        bench: The data.
        model: Of the architecture; its weights are overwritten.
        states: tau -> ``state_dict``; names that begin with ``head.`` are the head's.
    """
    rows = []
    for tau, of_backbone in states.items():
        for head_tau, of_head in states.items():
            mixed = {k: (of_head if k.startswith("head.") else of_backbone)[k] for k in of_backbone}
            model.load_state_dict(mixed)
            model.eval()
            scores = {
                name: evaluate(
                    model, split.batches(bench.eval_batch), bench.splits.task, bench.device
                ).accuracy
                for name, split in (("train", bench.splits.train), ("valid", bench.splits.valid))
            }
            rows.append({"backbone_tau": tau, "head_tau": head_tau, **scores})
    return rows


def swapped_seed(settings: Settings, seed: int) -> list[dict[str, Any]]:
    """Returns one seed's matrix as rows; none where a finetune diverged."""
    bench = bench_of(settings, seed)
    taus = some_of(settings.taus, N_SWAPPED)

    def swap() -> list[dict[str, Any]]:
        try:
            model = bench.model(Arm(0, settings.ft_lr, settings.head_arch).recipe(), seed)
            return swapped_scores(bench, model, final_states(settings, bench, seed))
        except TrialFailure as failure:
            print(f"  seed {seed}: {failure}")
            return []

    parts = {"taus": taus, "rate": settings.ft_lr, "head": settings.head_arch, "seed": seed}
    return [{"seed": seed, **row} for row in kept(settings, bench, "swap", parts, swap)]


def drops(rows: list[Row], score: str) -> dict[str, dict[int, float]]:
    """Returns what a foreign head costs, by kind of exchange and seed.

    A drop is a backbone's score with its own head less its score with another one. ``all``: all
    off-diagonal pairs. ``strong``: backbones of the two smallest taus with all others' heads.
    ``large``: exchanges among the three largest taus.
    """
    taus = sorted({int(row["backbone_tau"]) for row in rows})
    small, large = set(taus[:N_STRONG]), set(taus[-N_BLOCK:])
    found: dict[str, dict[int, float]] = {"all": {}, "strong": {}, "large": {}}
    for seed in sorted({int(row["seed"]) for row in rows}):
        own = select(rows, seed=seed)
        matrix = {(int(r["backbone_tau"]), int(r["head_tau"])): float(r[score]) for r in own}
        cost = {(b, h): matrix[b, b] - matrix[b, h] for b, h in matrix if b != h}
        groups = {
            "all": list(cost.values()),
            "strong": [c for (b, _), c in cost.items() if b in small],
            "large": [c for (b, h), c in cost.items() if {b, h} <= large],
        }
        for name, values in groups.items():
            found[name][seed] = float(np.mean(values))
    return found


def run(settings: Settings) -> None:
    """Runs the experiment on one task."""
    started = perf_counter()
    rows = run_seeds(settings, swapped_seed)
    summary = summary_rows(rows, ["backbone_tau", "head_tau"], ["train", "valid"])
    for score in ("train", "valid"):
        for name, values in drops(rows, score).items():
            told = {"backbone_tau": f"drop, {name}", "head_tau": "", "metric": score}
            summary.append({**told, **as_columns(effect(values.values()))})
    metric = bench_of(settings, 0).splits.task.metric
    write_results(
        settings, "fig3_swap", rows, summary, wall_s=perf_counter() - started, metric=metric
    )
    draw(settings, rows, metric)
    taus = sorted({int(row["backbone_tau"]) for row in rows})
    means = _matrix(rows, taus, "valid")
    print_table(
        f"Fig. 3 right on {settings.name}: valid {metric} in %, mean over seeds",
        ["head of tau", *(f"backbone {tau}" for tau in taus)],
        [
            [str(tau), *(f"{100 * x:.1f}" for x in line)]
            for tau, line in zip(taus, means, strict=True)
        ],
    )
    for name, values in drops(rows, "valid").items():
        print(f"  drop by a foreign head, {name}: {effect(values.values()).text(scale=100)} points")


def draw(settings: Settings, rows: list[Row], metric: str) -> None:
    """Draws both matrices: backbones are columns and heads are rows, as in the paper."""
    taus = sorted({int(row["backbone_tau"]) for row in rows})
    title = f"{settings.name}: backbone of one tau, head of another, {settings.n_seeds} seeds"
    figure, both = new_figure(1, 2, title)
    figure.set_size_inches(10, 4.6)
    for axes, score in zip(both, ("train", "valid"), strict=True):
        _heat_map(axes, _matrix(rows, taus, score), taus)
        axes.set_title(f"{score} {metric} in %", fontsize=10)
    save_figure(figure, paths(settings, "fig3_swap")["figure"])


def _matrix(rows: list[Row], taus: list[int], score: str) -> np.ndarray:
    """Returns means over seeds: line = head, column = backbone."""
    cells = [
        [np.mean([r[score] for r in select(rows, backbone_tau=b, head_tau=h)]) for b in taus]
        for h in taus
    ]
    return np.array(cells)


def _heat_map(axes: Axes, values: np.ndarray, taus: list[int]) -> None:
    axes.grid(visible=False)
    low, high = float(values.min()), float(values.max())
    axes.imshow(values, cmap="cividis", vmin=low, vmax=high, aspect="auto")
    for (i, j), value in np.ndenumerate(values):
        dark = value < (low + high) / 2
        colour = "white" if dark else "black"
        axes.text(j, i, f"{100 * value:.0f}", ha="center", va="center", color=colour, fontsize=9)
    axes.set_xticks(range(len(taus)), [str(tau) for tau in taus])
    axes.set_yticks(range(len(taus)), [str(tau) for tau in taus])
    axes.set_xlabel("backbone of tau")
    axes.set_ylabel("head of tau")


if __name__ == "__main__":
    main(__doc__, run)
