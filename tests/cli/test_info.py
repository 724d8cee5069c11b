from __future__ import annotations

import json

import pytest

import energytune.models.cut_families as families


def test_datasets_say_sizes_places_and_what_is_there(run, stl10_root) -> None:
    shown = run("datasets", "--data-root", str(stl10_root)).stdout
    assert shown.startswith(f"Looked for in {stl10_root} ")
    for text in (
        "one of 10 classes; images: 4,000 train, 1,000 valid, 8,000 test",
        f"on this machine: yes, in {stl10_root / 'stl10_binary'}",
        f"on this machine: no, not in {stl10_root / 'imagenet'} (missing: train, val)",
        "folder:  ",
        "hf:  ",
    ):
        assert text in shown
    assert "are on this machine" in shown.splitlines()[-1]


def test_one_dataset_shows_each_file(run, stl10_root) -> None:
    folder = stl10_root / "stl10_binary"
    (folder / "test_y.bin").unlink()
    shown = run("datasets", "stl10", "--data-root", str(stl10_root)).stdout
    assert f"there    {folder / 'train_X.bin'}" in shown
    assert f"MISSING  {folder / 'test_y.bin'}" in shown
    assert "energytune search --dataset stl10 downloads it." in shown


def test_embedded_data_and_ones_own_folder_in_detail(run, tmp_path) -> None:
    assert "on this machine: yes, comes with energytune" in run("datasets", "digits").stdout
    (tmp_path / "train").mkdir()
    shown = run("datasets", f"folder:{tmp_path}").stdout
    assert f"MISSING  {tmp_path / 'train'}" in shown
    assert "one of the data's classes" in shown


def test_datasets_for_programs(run, tmp_path) -> None:
    every = json.loads(run("datasets", "--json", "--data-root", str(tmp_path)).stdout)
    by_name = {facts["name"]: facts for facts in every}
    assert by_name["digits"]["there"] is True
    assert by_name["cifar10"]["there"] is False
    assert by_name["cifar10"]["sizes"] == "40,000 train, 10,000 valid, 10,000 test"
    one = json.loads(run("datasets", "mnist", "--json", "--data-root", str(tmp_path)).stdout)
    assert len(one["files"]) == 4
    assert not any(file["there"] for file in one["files"])


def test_an_unknown_dataset_is_told(run) -> None:
    result = run("datasets", "cifar")
    assert result.exit_code == 2
    assert "Unknown dataset 'cifar'. Did you mean 'cifar10'" in result.stderr


def test_backbones_are_listed(run) -> None:
    shown = run("backbones", "torchvision/resnet18*").stdout.splitlines()
    assert shown == ["torchvision/resnet18", "torchvision/resnet18.IMAGENET1K_V1"]
    assert run("backbones", "digits*").stdout == "digits-cnn\ndigits-mlp\n"


def test_cuts_of_a_pattern_leave_tags_out_and_tell_progress_on_stderr(run) -> None:
    result = run("backbones", "test_byobnet*", "--cuts", "--input-size", "32")
    assert result.exit_code == 0
    assert result.stdout == (
        "test_byobnet: 4 blocks, reinit_depth 1-4, depth 1 at stages.3, 3 x 32 x 32\n"
    )
    assert result.stderr == "[1/1] test_byobnet\n"


def test_what_cannot_be_cut_is_told_with_the_reason(run) -> None:
    result = run("backbones", "efficientvim_m[1]", "--cuts", "--input-size", "64")
    assert result.exit_code == 0
    name, reason = result.stdout.splitlines()
    assert name.startswith("efficientvim_m1: 6 blocks, reinit_depth none, depth 1 at -")
    assert reason == "    'stages.1' runs after 'norm.0' but belongs before it"


def test_markdown_of_a_pattern_is_a_table_alone(run) -> None:
    lines = run("backbones", "digits-mlp*", "--cuts", "--markdown").stdout.splitlines()
    assert lines[0].startswith("| backbone | input | blocks |")
    assert lines[2:] == ["| digits-mlp | 64 | 4 | 1-4 | blocks.3 | - |"]


def test_without_a_pattern_it_is_the_page_of_families(run, monkeypatch) -> None:
    monkeypatch.setattr(families, "CUT_FAMILIES", {"digits-mlp": None, "test_byobnet": 32})
    result = run("backbones", "--cuts", "--markdown")
    assert result.stdout.startswith("# Where backbones are cut\n")
    assert [line.split(" | ")[0] for line in result.stdout.splitlines()[-2:]] == [
        "| digits-mlp",
        "| test_byobnet",
    ]
    assert result.stderr == "[1/2] digits-mlp\n[2/2] test_byobnet\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--markdown"], "--markdown and --input-size go with --cuts"),
        (["--input-size", "32"], "--markdown and --input-size go with --cuts"),
        (["--cuts", "--input-size", "0"], "--input-size must be at least 1 pixel, got 0"),
        (["resnet5000", "--cuts"], "Unknown backbone 'resnet5000'"),
    ],
)
def test_bad_options(run, arguments: list[str], told: str) -> None:
    result = run("backbones", *arguments)
    assert result.exit_code == 2
    assert told in result.stderr
    assert result.stdout == ""
