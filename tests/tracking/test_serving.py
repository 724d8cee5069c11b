"""``mlflow models serve`` and ``mlflow models predict`` as a client meets them, in processes."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from energytune import load_champion
from energytune.data.digits_source import read_digits
from tests.registered import ModelStore, png

pytestmark = pytest.mark.integration

_START_S = 900.0  # only ends a wait for what never comes
Post = Callable[..., tuple[int, Any]]


def environment(store: ModelStore) -> dict[str, str]:
    bin_folder = str(Path(sys.executable).parent)  # MLflow starts uvicorn by name
    return {
        **os.environ,
        "PATH": f"{bin_folder}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "MLFLOW_TRACKING_URI": store.uri,
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "ENERGYTUNE_DEVICE": "cpu",
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(store: ModelStore, name: str, log: Path) -> Iterator[Post]:
    """Serves a champion on loopback; yields what posts to it and returns status and answer."""
    port = free_port()
    words = ["models", "serve", "-m", f"models:/energytune-{name}@champion"]
    words += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *words],
            env=environment(store),
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait(process, f"http://127.0.0.1:{port}/ping", log)
        yield lambda body, kind="application/json": _post(port, body, kind)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    end = time.monotonic() + _START_S
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        try:
            urllib.request.urlopen(url, timeout=2).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise RuntimeError(f"the scorer did not come up:\n{log.read_text()[-4000:]}")


def _post(port: int, body: Any, kind: str) -> tuple[int, Any]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations", data, {"Content-Type": kind}
    )
    try:
        with urllib.request.urlopen(request, timeout=240) as answer:
            return answer.status, json.loads(answer.read())["predictions"]
    except urllib.error.HTTPError as failure:
        return failure.code, failure.read().decode()


@pytest.fixture(scope="module")
def colours(model_store: ModelStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Post]:
    with served(model_store, "colours", tmp_path_factory.mktemp("served") / "log") as post:
        yield post


@pytest.fixture(scope="module")
def molecules(model_store: ModelStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Post]:
    with served(model_store, "molecules", tmp_path_factory.mktemp("served") / "log") as post:
        yield post


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def test_a_client_posts_images(colours: Post, model_store: ModelStore) -> None:
    files = sorted(path for path in (model_store.colours / "test").rglob("*") if path.is_file())
    texts = [b64(path.read_bytes()) for path in files]
    expected = load_champion("colours", runs=model_store.root, device="cpu").predict_probs(files)
    names = np.array(["blue", "green", "red"])[expected.argmax(1)].tolist()
    bodies: list[dict[str, Any]] = [
        {"inputs": texts},
        {"inputs": {"image": texts}},
        {"instances": [{"image": text} for text in texts]},
        {"dataframe_split": {"columns": ["image"], "data": [[text] for text in texts]}},
        {"dataframe_records": [{"image": text} for text in texts], "params": {"batch_size": 2}},
    ]
    for body in bodies:
        status, answer = colours(body)
        assert status == 200, answer
        np.testing.assert_allclose(answer["probs"], expected, atol=1e-5)
        assert answer["class_name"] == names
    status, answer = colours(f"image\n{texts[0]}\n".encode(), "text/csv")
    assert (status, answer["class_name"]) == (200, names[:1])


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"{not json", "valid JSON"),
        (b"\xff\xfe", "valid JSON"),
        ({"images": ["x"]}, "exactly one of the input fields"),
        ({"inputs": [b64(b"hello")]}, "no image of the formats"),
        ({"inputs": ["%%"]}, "no base64"),
        ({"inputs": ["/etc/passwd"]}, "no base64"),
        ({"inputs": []}, "no inputs"),
        ({"inputs": [[1, 2], [3, 4]]}, "must be an image in base64"),
        ({"inputs": [b64(png(np.zeros((4, 4), np.uint16)))]}, "more than 8 bits"),
        ({"inputs": [b64(b"x")], "params": {"batch_size": 0}}, "batch_size must be at least 1"),
        ({"dataframe_split": {"columns": ["picture"], "data": [["x"]]}}, "missing inputs"),
    ],
)
def test_bad_requests_get_400_without_a_stack_trace(colours: Post, body: Any, told: str) -> None:
    status, answer = colours(body)
    assert (status, told in answer) == (400, True), answer
    assert "Traceback" not in answer
    assert "stack_trace" not in answer
    assert 'File "' not in answer


def test_the_server_goes_on_after_bad_requests(colours: Post) -> None:
    assert colours({"inputs": [b64(b"hello")]})[0] == 400
    assert colours({"inputs": [b64(png(np.zeros((9, 9, 3), np.uint8)))]})[0] == 200


def test_a_client_posts_smiles(molecules: Post, model_store: ModelStore) -> None:
    smiles = ["CCO", "c1ccccc1O", "CC(=O)O"]
    champion = load_champion("molecules", runs=model_store.root, device="cpu")
    for body in (
        {"inputs": smiles},
        {"dataframe_split": {"columns": ["smiles"], "data": [[one] for one in smiles]}},
    ):
        status, answer = molecules(body)
        assert status == 200, answer
        np.testing.assert_allclose(answer["probs"], champion.predict_probs(smiles), atol=1e-5)
    status, answer = molecules({"inputs": ["CCO", "C(("]})
    assert (status, "input 1: it is unusable: no valid SMILES" in answer) == (400, True)
    assert "Traceback" not in answer


def test_mlflow_models_predict(model_store: ModelStore, tmp_path: Path) -> None:
    raw = read_digits()[0][:3].numpy()
    scaled = np.round(raw.reshape(-1, 8, 8).astype(float) * 255 / 16).astype(np.uint8)
    sent = [b64(png(image)) for image in scaled]
    (tmp_path / "in.json").write_text(json.dumps({"inputs": sent}))
    words = ["models", "predict", "-m", "models:/energytune-digits@champion"]
    words += ["-i", str(tmp_path / "in.json"), "-o", str(tmp_path / "out.json")]
    words += ["--content-type", "json", "--env-manager", "local"]
    done = subprocess.run(
        [sys.executable, "-m", "mlflow", *words],
        env=environment(model_store),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    answer = json.loads((tmp_path / "out.json").read_text())["predictions"]
    champion = load_champion("digits", runs=model_store.root, device="cpu")
    np.testing.assert_allclose(answer["probs"], champion.predict_probs(raw), atol=1e-5)
    assert answer["class_name"] == [str(label) for label in answer["label"]]
