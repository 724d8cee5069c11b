"""The study in a database: on SQLite, and on the PostgreSQL server that has MLflow's too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest

from energytune.config import SearchConfig
from energytune.errors import ResourceError
from energytune.optimizer import StudyLease, load_study
from energytune.search.resume import resumed_config
from energytune.search.run import run_search
from tests.postgres import PASSWORD, PostgresServer, postgres_server  # noqa: F401 - a fixture

pytestmark = pytest.mark.integration
MakeConfig = Callable[..., SearchConfig]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_search_in_a_database_goes_on_by_its_study_s_name(
    kind: str,
    make_config: MakeConfig,
    ray_session: None,
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    tracking = None
    if kind == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        storage, tracking = server.database(), server.database()  # two of one server
    else:
        storage = f"sqlite:///{tmp_path / 'studies.db'}"
    few = {"n_trials": 3, "sampler": "tpe", "n_confirm_seeds": 1, "n_confirm_recipes": 1}
    config = make_config(**few, storage=storage, tracking_uri=tracking)
    first = run_search(config)
    assert [r.state for r in first.records].count("COMPLETE") >= 2
    study = load_study(storage, "run")
    assert len(study.trials) == 3
    with StudyLease(study), pytest.raises(ResourceError, match="is being run by process"):
        run_search(config)

    again = resumed_config("run", storage=storage, n_trials="+1", tracking_uri=tracking)
    second = run_search(again)
    assert second.records[:3] == first.records
    assert len(second.records) == 4
    assert second.registered is not None
    assert not list((tmp_path / "run").glob("study.journal*"))
    client = mlflow.MlflowClient(tracking or f"sqlite:///{tmp_path / 'run' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("energytune-digits")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], max_results=500)
    uids = [run.data.tags["energytune.uid"] for run in runs]
    assert len(set(uids)) == len(uids)
    assert sum(uid.partition(".")[2].startswith("t") for uid in uids) == 4
    for file in (tmp_path / "run").rglob("*"):  # the password is told, and kept nowhere
        if file.is_file() and file.suffix in (".json", ".jsonl", ".html", ".journal"):
            assert PASSWORD not in file.read_text(errors="replace"), file
