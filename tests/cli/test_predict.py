"""``energytune predict`` and ``energytune export`` on registered models."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from energytune import load_champion
from energytune.data.digits_source import read_digits
from tests.registered import ModelStore, png

pytestmark = pytest.mark.integration  # the store is a real registry

Run = Callable[..., Any]


@pytest.fixture
def call(run: Run, model_store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs ``energytune predict`` on a champion of the store, found by MLflow's own variable."""
    from energytune.cli.main import app

    monkeypatch.setenv("MLFLOW_TRACKING_URI", model_store.uri)

    def invoke(dataset: str, *args: Any, stdin: str | None = None) -> Any:
        words = ["predict", "--dataset", dataset, "--device", "cpu", *map(str, args)]
        return CliRunner().invoke(app, words, input=stdin)

    return invoke


def lines(result: Any) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def files(store: ModelStore) -> list[Path]:
    return sorted(path for path in (store.colours / "test").rglob("*") if path.is_file())


def test_a_folder_files_and_a_table_give_the_same(
    call: Run, model_store: ModelStore, tmp_path: Path
) -> None:
    paths = files(model_store)
    told = load_champion("colours", runs=model_store.root, device="cpu").predict(paths)
    of_folder = lines(call("colours", model_store.colours / "test", "--json", "--batch-size", 4))
    assert [row["input"] for row in of_folder] == [str(path) for path in paths]
    assert [row["class_name"] for row in of_folder] == [one.class_names[0] for one in told]
    of_files = lines(call("colours", *paths[:3], "--json", "--top-k", 2))
    assert [len(row["top"]) for row in of_files] == [2, 2, 2]
    assert of_files[0]["probability"] == pytest.approx(of_folder[0]["probability"], abs=1e-5)
    (tmp_path / "list.csv").write_text("\n".join(["image", *map(str, paths)]))
    of_table = lines(call("colours", tmp_path / "list.csv", "--json"))
    assert [row["label"] for row in of_table] == [row["label"] for row in of_folder]
    of_stdin = lines(call("colours", "-", "--json", stdin="\n".join(map(str, paths[:2]))))
    assert [row["input"] for row in of_stdin] == [str(path) for path in paths[:2]]


def test_the_table_is_for_people(call: Run, model_store: ModelStore) -> None:
    result = call("colours", files(model_store)[0], "--top-k", 3)
    assert result.exit_code == 0
    header, row = result.stdout.splitlines()
    assert header.split() == ["input", "class", "probability"]
    assert str(files(model_store)[0]) in row
    assert row.count(" %") == 3


def test_csv_to_a_file_and_to_stdout(call: Run, model_store: ModelStore, tmp_path: Path) -> None:
    paths = files(model_store)[:2]
    result = call("colours", *paths, "--csv", tmp_path / "deep" / "out.csv", "--top-k", 2)
    assert result.exit_code == 0
    text = (tmp_path / "deep" / "out.csv").read_text()
    header, *rows = csv.reader(io.StringIO(text))
    assert header == ["input", "class_name", "probability", "class_name_2", "probability_2"]
    assert [row[0] for row in rows] == [str(path) for path in paths]
    assert call("colours", *paths, "--csv", "-", "--top-k", 2).stdout == text
    assert call("colours", *paths, "--csv", "-", "--json").exit_code == 2


def test_molecules(call: Run, model_store: ModelStore, tmp_path: Path) -> None:
    champion = load_champion("molecules", runs=model_store.root, device="cpu")
    (tmp_path / "some.csv").write_text("smiles\nCCO\nc1ccccc1\n")
    rows = lines(call("molecules", "CCO", tmp_path / "some.csv", "-", "--json", stdin="N\n"))
    assert [row["input"] for row in rows] == [
        "CCO",
        f"{tmp_path / 'some.csv'}, line 2",
        f"{tmp_path / 'some.csv'}, line 3",
        "N",
    ]
    assert rows[0]["labels"] == list(champion.predict(["CCO"])[0].labels)
    assert len(rows[0]["top"]) == 12
    header, row = csv.reader(io.StringIO(call("molecules", "CCO", "--csv", "-").stdout))
    assert header == ["input", "class_names", *champion.class_names]
    np.testing.assert_allclose(
        [float(cell) for cell in row[2:]], champion.predict_probs(["CCO"])[0], rtol=1e-4
    )


def test_digits_as_table_and_as_pictures(
    call: Run, model_store: ModelStore, tmp_path: Path
) -> None:
    raw = read_digits()[0][:3].numpy()
    champion = load_champion("digits", runs=model_store.root, device="cpu")
    expected = champion.predict_probs(raw).argmax(1).tolist()
    np.savetxt(tmp_path / "digits.csv", raw, fmt="%d", delimiter=",")
    assert [row["label"] for row in lines(call("digits", "digits.csv", "--json"))] == expected
    for index, image in enumerate(raw.reshape(-1, 8, 8).astype(float)):
        content = png(np.round(image * 255 / 16).astype(np.uint8))
        (tmp_path / f"{index}.png").write_bytes(content)
    seen = lines(call("digits", "0.png", "1.png", "2.png", "--json", "--version", 1))
    assert [row["label"] for row in seen] == expected
    other = lines(call("digits", "digits.csv", "--json", "--version", 2))
    second = load_champion("digits", version=2, runs=model_store.root, device="cpu")
    assert [row["label"] for row in other] == second.predict_probs(raw).argmax(1).tolist()


def test_masks_are_written_as_files(call: Run, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.png").write_bytes(png(np.full((20, 30, 3), 90, np.uint8)))
    rows = lines(call("digit-scenes", "a", "b", "--out-dir", "masks", "--json"))
    assert [row["mask"] for row in rows] == ["masks/x.png", "masks/x-2.png"]
    mask = Image.open(tmp_path / "masks" / "x.png")
    assert (mask.size, mask.mode) == ((30, 20), "P")
    values = np.array(mask)
    assert set(np.unique(values)) == set(rows[0]["labels"])
    assert call("digits", "a/x.png", "--out-dir", "m").exit_code == 2
    assert call("digit-scenes", "a").exit_code == 0


def test_all_bad_files_are_told_and_the_exit_code_is_2(
    call: Run, model_store: ModelStore, tmp_path: Path
) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    good = files(model_store)[0]
    named = ("bad.png", good, "gone.png")
    result = call("colours", *named, "--json")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "2 of 3 inputs can't be used" in result.stderr
    assert "bad.png: it is no image of the formats" in result.stderr
    assert "gone.png: there is no such file" in result.stderr
    assert "Traceback" not in result.stderr
    left = lines(call("colours", *named, "--json", "--skip-bad"))
    assert [row["input"] for row in left if "error" not in row] == [str(good)]
    assert {row["input"] for row in left if "error" in row} == {"bad.png", "gone.png"}
    told = call("colours", *named, "--skip-bad")
    assert told.exit_code == 0
    assert "Left out bad.png" in told.stderr
    assert call("colours", "bad.png", "--skip-bad").exit_code == 2  # nothing is left


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("predict", "x.png"), "Name a model"),
        (("predict", "x.png", "--dataset", "d", "--model", "m"), "Name a model"),
        (("predict", "x.png", "--model", "m", "--version", "1"), "--version goes with --dataset"),
        (("predict", "x.png", "--model", "m.safetensors"), "no model that energytune"),
        (("predict", "x.png", "--dataset", "digits", "--batch-size", "0"), "--batch-size must be"),
        (("predict", "x.png", "--dataset", "digits", "--top-k", "0"), "--top-k must be"),
        (("predict", "x.png", "--dataset", "digitz"), "Did you mean 'digits'"),
        (("predict", "x.png", "--dataset", "digits", "--version", "7"), "has no version 7"),
        (("predict", "x.png", "--dataset", "digits", "--device", "cuda:77"), "no device"),
        (("predict", "x.png", "--dataset", "digits", "--runs", "nowhere"), "is no folder"),
        (("export", "--dataset", "digits", "--format", "tf", "--out", "x"), "export format 'tf'"),
    ],
)
def test_mistakes_are_told_with_exit_code_2(
    call: Run, run: Run, args: tuple[str, ...], told: str
) -> None:
    result = run(*args)
    assert result.exit_code == 2
    assert told in result.stderr
    assert "Traceback" not in result.output


def test_export_and_predict_from_the_file(
    call: Run, run: Run, model_store: ModelStore, tmp_path: Path
) -> None:
    words = ("export", "--dataset", "colours", "--format", "safetensors", "--out", "m.safetensors")
    result = run(*words)
    assert result.exit_code == 0, result.output
    assert "energytune-colours v1 -> m.safetensors" in result.stdout
    assert "largest difference of a probability" in result.stdout
    good = str(files(model_store)[0])
    of_file = run("predict", "--model", "m.safetensors", "--device", "cpu", good, "--json")
    assert lines(of_file) == lines(call("colours", good, "--json"))
