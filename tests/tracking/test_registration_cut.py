"""A registration that breaks off and is taken up again by ``sync``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from energytune.errors import TrackingError
from energytune.tracking import default_uri
from energytune.tracking.registry import register_pending
from tests.registered import register

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    "step",
    [
        "create_logged_model",
        "log_model_artifacts",
        "finalize_logged_model",
        "set_registered_model_alias",
        "set_model_version_tag",
    ],
)
def test_it_leaves_one_model_and_one_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setattr("energytune.tracking.versions.time.sleep", lambda _: None)
    real = getattr(MlflowClient, step)

    def done_but_not_heard(self: Any, *args: Any, **more: Any) -> None:
        real(self, *args, **more)
        raise OSError("connection reset")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, step, done_but_not_heard)
        with pytest.raises(TrackingError, match="connection reset"):
            register(tmp_path, "digits", "digits-mlp")
    uri = default_uri(tmp_path)
    found = register_pending(uri, tmp_path / "digits-u1")
    assert found is not None
    client = MlflowClient(uri)
    (version,) = client.search_model_versions("name = 'energytune-digits'")
    experiment = client.get_experiment_by_name("energytune-digits")
    (model,) = client.search_logged_models([experiment.experiment_id])
    assert version.source == f"models:/{model.model_id}"
    assert str(model.status) == "READY"
    champion = client.get_model_version_by_alias("energytune-digits", "champion")
    assert champion.version == version.version
