from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from energytune.tracking.statistics import refresh_statistics
from energytune.tracking.store import prepare_sqlite

BEST_FIRST = """
SELECT DISTINCT runs.run_uuid, best.value FROM runs LEFT OUTER JOIN
    (SELECT * FROM latest_metrics WHERE latest_metrics."key" = 'objective') AS best
    ON runs.run_uuid = best.run_uuid
WHERE runs.experiment_id IN (0) AND runs.lifecycle_stage IN ('active')
ORDER BY best.value DESC LIMIT 100
"""
"""What MLflow asks for a page of the best runs."""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "mlflow.db"
    prepare_sqlite(path)
    with closing(sqlite3.connect(path)) as db, db:
        for i in range(300):
            db.execute(
                "INSERT INTO runs (run_uuid, experiment_id, lifecycle_stage) "
                "VALUES (?, 0, 'active')",
                (f"r{i}",),
            )
            for key in ("objective", "aie"):
                row = (key, i / 300, 0, 0, False, f"r{i}")
                db.execute(
                    'INSERT INTO latest_metrics ("key", value, timestamp, step, is_nan, run_uuid) '
                    "VALUES (?, ?, ?, ?, ?, ?)",
                    row,
                )
    return path


def plan(path: Path) -> str:
    with closing(sqlite3.connect(path)) as db:
        return "\n".join(row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {BEST_FIRST}"))


def test_the_best_runs_are_found_without_comparing_each_with_each(store: Path) -> None:
    assert "SCAN best" in plan(store)
    refresh_statistics(f"sqlite:///{store}")
    assert "SEARCH best" in plan(store)
    with closing(sqlite3.connect(store)) as db:
        assert db.execute("SELECT COUNT(*) FROM runs").fetchone() == (300,)


def test_a_store_that_is_being_written_is_left_alone(store: Path) -> None:
    with closing(sqlite3.connect(store)) as db:
        db.execute("BEGIN IMMEDIATE")
        refresh_statistics(f"sqlite:///{store}")
    assert "SCAN best" in plan(store)


@pytest.mark.parametrize("uri", ["http://127.0.0.1:1", "postgresql://h/d", "sqlite:////no/such.db"])
def test_other_stores_are_not_touched(uri: str, tmp_path: Path) -> None:
    refresh_statistics(uri)
    assert not Path("/no").exists()


def test_a_file_that_is_no_store_is_not_damaged(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    path.write_bytes(b"not a database, but long enough to be looked at" * 40)
    before = path.read_bytes()
    refresh_statistics(f"sqlite:///{path}")
    assert path.read_bytes() == before
