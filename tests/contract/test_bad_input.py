"""Bad data of every kind ends with one message and exit code 2, and names where it is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from energytune.cli.main import app
from tests.data.voc_files import write_voc

RINGS = [f"C1{'C' * (1 + i)}C1" for i in range(20)]
"""Twenty scaffolds."""


def csv(path: Path, rows: list[str], header: str = "smiles,toxic") -> list[str]:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return ["--dataset", f"csv:{path}"]


def only_bad_smiles(tmp_path: Path) -> list[str]:
    return csv(tmp_path / "bad.csv", ["C1CC,1", "notamolecule,0"])


def ragged_row(tmp_path: Path) -> list[str]:
    rows = [f"{ring},{i % 2}" for i, ring in enumerate(RINGS)]
    return csv(tmp_path / "ragged.csv", [*rows[:4], "CCO,1,0", *rows[4:]])


def missing_labels_only(tmp_path: Path) -> list[str]:
    return csv(tmp_path / "empty.csv", [f"{ring}," for ring in RINGS])


def no_number(tmp_path: Path) -> list[str]:
    rows = [f"{ring},{i % 2}" for i, ring in enumerate(RINGS)]
    options = csv(tmp_path / "words.csv", [*rows, "CCO,yes"])
    return [options[0], options[1] + "?labels=toxic"]


def split_without_a_class(tmp_path: Path) -> list[str]:
    """All positives share one scaffold, which the split can't tear apart."""
    rows = [f"{ring},0" for ring in RINGS] + ["C1CCCCC1O,1"]
    return csv(tmp_path / "classless.csv", rows)


def unknown_class_in_a_mask(tmp_path: Path) -> list[str]:
    folder = write_voc(tmp_path / "VOCdevkit" / "VOC2012", n_classes=20, n_train=42, n_val=20)
    mask = next((folder / "SegmentationClass").glob("*train_003.png"))
    pixels = np.array(Image.open(mask))
    pixels[0, 0] = 77
    Image.fromarray(pixels).save(mask)
    return ["--dataset", "voc2012", "--data-root", str(tmp_path), "--image-size", "33"]


def unreadable_image(tmp_path: Path) -> list[str]:
    rng = np.random.default_rng(0)
    for part in ("train", "test"):
        for label in ("cat", "dog"):
            folder = tmp_path / "pets" / part / label
            folder.mkdir(parents=True)
            for i in range(5):
                pixels = rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    whole = (tmp_path / "pets/train/cat/3.png").read_bytes()
    (tmp_path / "pets/train/cat/3.png").write_bytes(whole[: len(whole) // 2])
    return ["--dataset", f"folder:{tmp_path / 'pets'}", "--image-size", "32"]


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (only_bad_smiles, ("bad.csv", "line")),
        (ragged_row, ("ragged.csv", "line 6")),
        (missing_labels_only, ("empty.csv", "label")),
        (no_number, ("words.csv", "line 22", "yes")),
        (split_without_a_class, ("toxic", "scaffold")),
        (unknown_class_in_a_mask, ("train_003.png", "77")),
        (unreadable_image, ("3.png",)),
    ],
)
def test_one_message_that_names_the_place(
    make: Callable[[Path], list[str]], told: tuple[str, ...], tmp_path: Path
) -> None:
    options = make(tmp_path)
    backbone = ["--backbone", "gcn-small" if "csv:" in options[1] else "test_resnet.r160_in1k"]
    command = ["probe", *options, *backbone, "--weights", "none", "--tau-max", "1", "--no-track"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2, result.output
    message = result.stderr
    assert message.count("\nError: ") + message.startswith("Error: ") == 1
    assert "Traceback" not in result.output
    for part in told:
        assert part in message
