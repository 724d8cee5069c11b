from __future__ import annotations

import re
from pathlib import Path

import pytest
import timm
from hypothesis import given
from hypothesis import strategies as st

from energytune.errors import UnknownNameError
from energytune.models import create_backbone
from energytune.models.cut_families import CUT_FAMILIES
from energytune.models.cut_report import (
    PAGE_HEADER,
    CutReport,
    depth_ranges,
    markdown_table,
    report_backbone,
    report_cuts,
)

PAGE = Path(__file__).parents[2] / "docs" / "cuts.md"


def rows() -> dict[str, str]:
    """Returns the rows of the committed table by name."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    table = [line for line in lines if line.startswith("| ")][1:]
    return {line.split(" | ")[0].removeprefix("| "): line for line in table if "---" not in line}


@pytest.mark.parametrize(
    "name", ["test_byobnet", "hrnet_w18_small", "test_coatnet", "torchvision/squeezenet1_1"]
)
def test_the_page_tells_what_the_code_does(name: str) -> None:
    report = report_cuts(name, CUT_FAMILIES[name])
    assert rows()[name] == markdown_table([report.cells()])[-1]


def test_the_page_is_complete_and_says_how_it_is_made() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text.startswith(PAGE_HEADER)
    assert "`make cuts`" in text
    assert list(rows()) == list(CUT_FAMILIES)
    assert len(CUT_FAMILIES) >= 60
    cut = [row for row in rows().values() if " | none | " not in row]
    assert len(cut) >= 60
    assert all(row.split(" | ")[-1] != "- |" for row in rows().values() if row not in cut)


def test_an_embedded_backbone() -> None:
    assert report_cuts("digits-mlp") == CutReport(
        "digits-mlp", (64,), 4, False, (1, 2, 3, 4), "blocks.3", ""
    )


def test_stages_are_named_and_bars_escaped() -> None:
    cells = CutReport("a", (3, 8, 8), 4, True, (1, 2, 4), "x", "b | c").cells()
    assert cells == ("a", "3 x 8 x 8", "4 stages", "1-2, 4", "x", "b | c")
    assert markdown_table([cells])[-1].endswith(r"| x | b \| c |")


def test_a_depth_between_two_others_is_left_out_with_the_reason() -> None:
    options = {"base_dims": (8, 8, 8), "depth": (1, 2, 2), "heads": (1, 2, 4), "img_size": 64}
    own = timm.create_model("pit_ti_224", num_classes=0, **options)
    report = report_backbone(create_backbone(own, input_shape=(3, 64, 64)))
    assert (report.n_blocks, report.depths) == (5, (1, 3))
    assert report.problem.startswith("depth 2: the input of Transformer")


def test_what_does_not_take_such_images_is_reported() -> None:
    report = report_cuts("torchvision/vit_b_32", 33)
    assert (report.depths, report.n_blocks) == ((), 0)
    assert "can't be built for images of 33 x 33" in report.problem


def test_unknown_names_are_raised() -> None:
    with pytest.raises(UnknownNameError):
        report_cuts("no_such_net")


@given(st.sets(st.integers(1, 40)))
def test_ranges_read_back(depths: set[int]) -> None:
    text = depth_ranges(sorted(depths))
    read: list[int] = []
    for low, high in re.findall(r"(\d+)(?:-(\d+))?", text):
        read += range(int(low), int(high or low) + 1)
    assert read == sorted(depths)
    assert text.count(",") <= max(len(depths) - 1, 0)
