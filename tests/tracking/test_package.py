"""The model folder: round trip without pickle, through the real model room."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import mlflow.pyfunc
import numpy as np
import pytest
import torch
import yaml
from mlflow.models import Model
from safetensors.torch import save_file

from energytune.errors import TrackingError
from energytune.models import build_model, create_backbone
from energytune.tracking.package import build_model_folder, requirements

pytestmark = pytest.mark.integration

_LOAD = """
import json, sys, numpy as np, mlflow.pyfunc
model = mlflow.pyfunc.load_model(sys.argv[1])
out = model.predict(np.load(sys.argv[2]), params={"batch_size": 3})
assert out["probs"].dtype == np.float32 and out["label"].dtype == np.int64
assert out["class_name"].tolist() == [str(k) for k in out["label"]]
print(json.dumps({key: value.tolist() for key, value in out.items()}))
"""


def make_folder(tmp_path: Path) -> tuple[Path, torch.nn.Module]:
    backbone = create_backbone("digits-mlp", weights="none", seed=1)
    model = build_model(backbone, head_arch="mlp", n_outputs=10, reinit_depth=1, seed=5).eval()
    weights = tmp_path / "c0-s1.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, weights)
    folder = tmp_path / "model"
    build_model_folder(
        folder,
        weights=weights,
        spec=model.spec(),
        input_shape=(64,),
        description={"class_names": [str(i) for i in range(10)]},
    )
    return folder, model


def test_round_trip_in_another_process_with_pickle_forbidden(tmp_path: Path) -> None:
    folder, model = make_folder(tmp_path)
    inputs = np.random.default_rng(0).normal(size=(7, 64)).astype(np.float32)
    np.save(tmp_path / "inputs.npy", inputs)
    done = subprocess.run(
        [sys.executable, "-c", _LOAD, str(folder), str(tmp_path / "inputs.npy")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PATH": "", "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
        | {"MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONPATH": str(Path.cwd())},
    )
    assert done.returncode == 0, done.stderr
    got = json.loads(done.stdout)
    with torch.inference_mode():
        wanted = torch.softmax(model(torch.from_numpy(inputs)), dim=-1).numpy()
    np.testing.assert_allclose(got["probs"], wanted, atol=1e-6)
    assert got["label"] == wanted.argmax(-1).tolist()


def test_nothing_in_the_folder_is_a_pickle(tmp_path: Path) -> None:
    folder, _ = make_folder(tmp_path)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {"", ".safetensors", ".json", ".py", ".yaml", ".txt"}
    description = json.loads((folder / "artifacts" / "description.json").read_text())
    assert description["spec"]["backbone"] == "digits-mlp"
    assert description["class_names"][3] == "3"
    for path in files:
        assert not path.read_bytes().startswith(b"\x80"), f"{path} looks like a pickle"


def test_mlflow_reads_all_of_the_folder(tmp_path: Path) -> None:
    folder, _ = make_folder(tmp_path)
    read = Model.load(str(folder))
    assert read.load_input_example(str(folder)).shape == (2, 64)
    assert read.signature.inputs.inputs[0].shape == (-1, 64)
    assert read.signature.outputs.input_names() == ["probs", "label", "class_name"]
    asked = mlflow.pyfunc.get_model_dependencies(str(folder))
    assert Path(asked).read_text().split() == requirements({"backbone": "digits-mlp"})
    for name in ("conda.yaml", "python_env.yaml"):
        assert "3.1" in str(yaml.safe_load((folder / name).read_text()))
    assert str(tmp_path) not in (folder / "MLmodel").read_text()


def test_requirements_are_pinned_and_hold_no_address() -> None:
    plain = requirements({"backbone": "digits-mlp"})
    assert [r for r in plain if r.startswith("torch==")]
    assert not [r for r in plain if r.startswith(("timm", "pillow", "rdkit"))]
    assert [r for r in requirements({"backbone": "gcn"}, "smiles") if r.startswith("rdkit==")]
    assert [r for r in requirements({"backbone": "resnet18"}, "image") if "pillow==" in r]
    assert [r for r in requirements({"backbone": "resnet18"}) if r.startswith("timm==")]
    assert not [r for r in plain if "/" in r or "+" in r]


def test_weights_that_are_no_safetensors_are_refused(tmp_path: Path) -> None:
    (tmp_path / "w.pt").write_bytes(b"\x80\x02")
    with pytest.raises(TrackingError, match="not a safetensors file"):
        build_model_folder(
            tmp_path / "m", weights=tmp_path / "w.pt", spec={"n_outputs": 2}, input_shape=(64,)
        )
