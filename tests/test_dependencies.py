"""What is imported is declared, what is declared is imported where its comment says."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
PROJECT = tomllib.loads(PYPROJECT)["project"]
DISTRIBUTION_OF = {"PIL": "pillow", "sklearn": "scikit-learn", "yaml": "pyyaml"}
"""Import names that are not their distribution's."""
NOT_YET_USED = {"torch-geometric"}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[<>=!~\[; ]", name)[0]).lower()


def imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names) - {"energytune"}


def distributions_imported(path: Path) -> set[str]:
    return {normal(DISTRIBUTION_OF.get(top, top)) for top in imported(path)}


def modules_named(comment: str) -> list[str]:
    """Returns the rooms and files that a comment names before its colon."""
    return [part.strip() for part in comment.partition(":")[0].split(",")]


def commented(section: str) -> dict[str, str]:
    """Returns requirement -> comment of the lines of a list in pyproject.toml."""
    body = re.search(rf"^{section} = \[\n(.*?)^\]", PYPROJECT, re.MULTILINE | re.DOTALL)
    assert body is not None
    return dict(re.findall(r'^ +"([^"]+)",(?: +# (.+))?$', body[1], re.MULTILINE))


def test_every_import_of_the_package_is_declared() -> None:
    declared = {normal(name) for name in PROJECT["dependencies"]}
    for path in (ROOT / "energytune").rglob("*.py"):
        assert distributions_imported(path) <= declared, path.relative_to(ROOT)


@pytest.mark.parametrize("requirement", PROJECT["dependencies"])
def test_every_dependency_says_which_module_needs_it(requirement: str) -> None:
    name = normal(requirement)
    comment = commented("dependencies")[requirement]
    if name in NOT_YET_USED:
        assert comment.startswith("nothing yet")
        return
    for module in modules_named(comment):
        at = ROOT / "energytune" / module.split(" ")[0]
        files = [at] if at.suffix else list(at.rglob("*.py"))
        assert any(name in distributions_imported(path) for path in files), module


@pytest.mark.parametrize("requirement", PROJECT["optional-dependencies"]["dev"])
def test_every_development_tool_says_what_it_is_for(requirement: str) -> None:
    assert commented("dev")[requirement]


def test_constraints_are_pins_without_addresses() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert len(pins) > 100
    assert [
        line for line in pins if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line)
    ] == []
    pinned = {normal(line) for line in pins}
    assert len(pinned) == len(pins)
    wanted = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]
    assert {normal(name) for name in wanted} <= pinned
