"""What the pages of the documentation show can be run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from energytune.science.guide import RULES
from tests.docs.commands import why_wrong
from tests.docs.page_blocks import page_blocks, told_commands

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
RUN = ("tutorial", *sorted(f"guides/{path.stem}" for path in (DOCS / "guides").glob("*.md")))
"""Pages whose blocks are run. The other pages have no block that does anything."""


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", [ROOT / "README.md", *PAGES], ids=name_of)
def test_every_command_line_is_one_that_the_command_takes(path: Path) -> None:
    told = told_commands(path.read_text(encoding="utf-8"))
    wrong = [why_wrong(line, whole=whole) for line, whole in told]
    assert [reason for reason in wrong if reason] == []


def test_there_are_commands_to_check() -> None:
    told = {line.split()[1] for path in PAGES for line, _ in told_commands(path.read_text())}
    assert {"search", "probe", "diagnose", "pretrain", "ui", "sync", "datasets"} <= told
    assert {"backbones", "doctor", "cache", "report", "champion", "predict", "export"} <= told


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_links_lead_to_files_of_the_repository(path: Path) -> None:
    links = re.findall(r"\]\(([^)\s#]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))
    assert [link for link in links if not (path.parent / link).exists()] == []


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_only_pages_that_are_run_have_blocks_to_run(path: Path) -> None:
    if path.relative_to(DOCS).with_suffix("").as_posix() in (*RUN, "index"):
        return
    blocks = page_blocks(path.read_text(encoding="utf-8"))
    assert [b.line for b in blocks if b.language != "text"] == []


def test_the_tutorial_skips_nothing() -> None:
    blocks = page_blocks((DOCS / "tutorial.md").read_text(encoding="utf-8"))
    assert len(blocks) >= 6
    assert [block.line for block in blocks if block.skip] == []
    assert {"console", "python", "sh"} <= {block.language for block in blocks}


def test_every_rule_of_the_guide_is_explained() -> None:
    page = (DOCS / "guides" / "phenomena.md").read_text(encoding="utf-8")
    explained = re.findall(r"^\| `([a-z-]+)` \|", page, re.MULTILINE)
    assert sorted(explained) == sorted(RULES)


@pytest.mark.integration
@pytest.mark.parametrize("page", RUN)
def test_every_block_of_the_page_runs(page: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.docs.page_runner", str(DOCS / f"{page}.md")]
    told = subprocess.run(
        [*command, str(tmp_path / "work")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stdout + told.stderr
