"""What is imported is declared, what is declared is imported where its comment says."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
PROJECT = tomllib.loads(PYPROJECT)["project"]
DISTRIBUTION_OF = {"PIL": "pillow", "sklearn": "scikit-learn", "yaml": "pyyaml"}
"""Import names that are not their distribution's."""
NOT_YET_USED: set[str] = set()
USER_EXTRAS = ("export", "hf", "mol")
"""Extras that a user installs for some datasets."""
LOADED_ON_DEMAND = {"hf": "energytune/data/huggingface_tables.py"}
"""Modules that are imported inside a function only, once it is known that the extra is there."""


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[<>=!~\[; ]", name)[0]).lower()


def imported_by(node: ast.AST) -> set[str]:
    """Returns what one statement imports from other distributions, perhaps."""
    if isinstance(node, ast.Import):
        return {alias.name.partition(".")[0] for alias in node.names}
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return {node.module.partition(".")[0]}
    return set()


def imported(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = {name for node in ast.walk(tree) for name in imported_by(node)}
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
    extras = PROJECT["optional-dependencies"]
    declared |= {normal(name) for extra in USER_EXTRAS for name in extras[extra]}
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


def pins_of(name: str) -> dict[str, Version]:
    """Returns distribution -> version of a constraints file that holds nothing but pins."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert len(pins) > 100
    assert [
        line for line in pins if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line)
    ] == []
    pinned = {normal(line): Version(line.partition("==")[2]) for line in pins}
    assert len(pinned) == len(pins)
    return pinned


def every_requirement() -> list[str]:
    extras = PROJECT["optional-dependencies"]
    return [*PROJECT["dependencies"], *(name for extra in extras.values() for name in extra)]


def test_constraints_are_pins_without_addresses() -> None:
    assert {normal(name) for name in every_requirement()} <= set(pins_of("constraints.txt"))


def test_the_lowest_versions_that_are_tested_are_the_lowest_that_are_allowed() -> None:
    pinned = pins_of("constraints-minimum.txt")
    bounded = 0
    for text in every_requirement():
        requirement = Requirement(text)
        bounds = [Version(s.version) for s in requirement.specifier if s.operator == ">="]
        assert normal(text) in pinned, text
        for bound in bounds:
            bounded += 1
            assert pinned[normal(text)] == bound, text
    assert bounded > 50


@pytest.mark.parametrize("extra", USER_EXTRAS)
def test_what_an_extra_brings_is_imported_inside_functions_only(extra: str) -> None:
    """Without the extra the package loads, and says what is missing when it is needed."""
    names = {normal(name) for name in PROJECT["optional-dependencies"][extra]}
    users = [
        path for path in (ROOT / "energytune").rglob("*.py") if distributions_imported(path) & names
    ]
    assert users
    for path in users:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        tops = {
            normal(DISTRIBUTION_OF.get(top, top)) for node in tree.body for top in imported_by(node)
        }
        where = str(path.relative_to(ROOT))
        assert not tops & names or LOADED_ON_DEMAND.get(extra) == where, where
