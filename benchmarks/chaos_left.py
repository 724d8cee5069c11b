"""What a search of ``chaos.py`` has left, without clocks, and what of it is wrong by itself."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

__all__ = ["what_is_left"]


def what_is_left(home: Path) -> dict[str, Any]:
    """Returns the content of study and MLflow without clocks, and what is wrong by itself."""
    run = home / "run"
    wrong: list[str] = []
    trials = left_in_study(run)
    runs = left_in_mlflow(run / "mlflow.db", wrong)
    n_again = trained_again(home / "trained.txt", wrong)
    lines = (run / "records.jsonl").read_text().splitlines()
    ended = Counter(
        plain["job"]["id"]
        for plain in map(json.loads, lines)
        if plain["reason"] != "interrupted" and plain["job"]["role"] != "test"
    )
    wrong += [f"{job} {n} times in the records" for job, n in ended.items() if n > 1]
    if list((run / "models").glob("checkpoints/*")):
        wrong.append("checkpoints are left")
    about = json.loads((run / "about.json").read_text())["end"]
    tested = sorted(
        (plain["job"]["tested"], plain["finished"]["test"]["accuracy"])
        for plain in map(json.loads, lines)
        if plain["job"]["role"] == "test"
    )
    winner = [about["winner"], [s["number"] for s in about["confirmed"]], sorted(set(tested))]
    return {
        "trials": trials,
        "runs": runs,
        "winner": json.loads(json.dumps(winner)),
        "n_again": n_again,
        "wrong": wrong,
    }


def left_in_study(run: Path) -> list[Any]:
    """Returns the study's trials: number, state, parameters, value, reports, reason."""
    from energytune.optimizer import load_study

    study = load_study(f"journal://{run / 'study.journal'}", run.name)
    return [
        [
            trial.number,
            trial.state.name,
            trial.params,
            trial.values if trial.state.name == "COMPLETE" else None,
            {str(k): v for k, v in trial.intermediate_values.items()},
            *(trial.user_attrs.get(name) for name in ("recipe", "role", "seed", "reason", "curve")),
        ]
        for trial in study.trials
    ]


def left_in_mlflow(store: Path, wrong: list[str]) -> list[Any]:
    """Returns MLflow's runs but the parent's: uid without the search, status, points of curves."""
    with closing(sqlite3.connect(store)) as db:
        tags = db.execute("SELECT run_uuid, value FROM tags WHERE key = 'energytune.uid'")
        uids: dict[str, str] = dict(tags)
        rows = db.execute(
            'SELECT run_uuid, "key", step, value FROM metrics WHERE "key" LIKE \'ft/%\' '
            "OR \"key\" LIKE 'hp/%' OR \"key\" LIKE 'test/%' OR \"key\" = 'objective'"
        ).fetchall()
        states = db.execute("SELECT run_uuid, status FROM runs").fetchall()
        versions = db.execute("SELECT COUNT(*) FROM model_versions").fetchone()[0]
    doubled = [uid for uid, n in Counter(uids.values()).items() if n > 1]
    wrong += [f"MLflow has {uid} twice" for uid in doubled]
    if versions != 1:
        wrong.append(f"{versions} registered versions")
    points: dict[str, list[Any]] = {}
    for run, key, step, value in rows:
        points.setdefault(run, []).append([key, step, round(value, 9)])
    left = []
    for run, status in states:
        name = uids[run].partition(".")[2]
        if not name:
            continue
        mine = sorted(points.get(run, []))
        twice = [p for p, n in Counter(tuple(p[:2]) for p in mine).items() if n > 1]
        wrong += [f"{name}: {key} twice at {step}" for key, step in twice]
        left.append([name, status, mine])
    return sorted(left)


def trained_again(book: Path, wrong: list[str]) -> int:
    """Returns the number of epochs that were trained again; none may lie before a checkpoint."""
    kept: dict[str, int] = {}
    seen: Counter[tuple[str, int]] = Counter()
    for line in book.read_text().splitlines():
        what, recipe, seed, epoch = line.split()
        of = f"{recipe} {seed}"
        if what == "kept":
            kept[of] = max(kept.get(of, 0), int(epoch))
            continue
        seen[of, int(epoch)] += 1
        if int(epoch) <= kept.get(of, 0):
            wrong.append(f"epoch {epoch} of {of} trained again after it was in a checkpoint")
    return sum(n - 1 for n in seen.values())
