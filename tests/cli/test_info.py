from __future__ import annotations

import pytest

import energytune.models.cut_families as families


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
