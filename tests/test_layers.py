"""Imports point down, each service is imported in its own room, importing does nothing else."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "energytune"

FLOORS = (
    {"errors", "json_text", "on_demand", "redact"},
    {"checks", "paths", "progress", "seeds"},
    {"storage"},
    {"config", "tasks"},
    {"science", "data", "models"},
    {"training", "serving"},
    {"trial", "cache_listing"},
    {"optimizer", "cluster", "tracking", "report"},
    {"search"},
    {"tune"},
    {"cli"},
)
"""The rooms from the ground up; a module imports from lower floors and its own room only."""

FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}

ROOMS_OF_SERVICE = {
    "optuna": {"optimizer"},
    "ray": {"cluster"},
    "mlflow": {"tracking"},
    "torchvision": {"data", "models"},
    "timm": {"data", "models"},
    "torch_geometric": {"data", "models"},
    "sklearn": {"data", "optimizer"},
    "matplotlib": {"report"},
    "onnx": {"serving"},
    "onnxruntime": {"serving"},
    "rich": {"cli"},
    "typer": {"cli"},
    "yaml": {"config"},
    "jinja2": {"report"},
    "pyarrow": {"storage"},
    "fsspec": {"storage"},
}
"""Where each service may be imported, at the top of a file or inside a function."""

MAY_NAME_TYPES = {"search", "tune"}
"""Rooms that hand a service's objects to the user, and may import it for annotations only."""

HEAVY = ("torch", "ray", "optuna", "mlflow", "torchvision", "timm", "sklearn")


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def without_type_only(tree: ast.Module) -> ast.Module:
    """Returns the module without the blocks that only type checkers read."""

    class Dropper(ast.NodeTransformer):
        def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
            if ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
                return node.orelse
            return self.generic_visit(node)

    dropped = Dropper().visit(tree)
    assert isinstance(dropped, ast.Module)
    return dropped


def imports(tree: ast.AST, package: tuple[str, ...]) -> Iterator[tuple[str, int]]:
    """Yields (dotted name, line) of all imports; ``from a import b`` is ``a.b``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join((*above, *filter(None, [node.module])))
            yield from ((f"{base}.{alias.name}", node.lineno) for alias in node.names)
        elif isinstance(node, ast.Call) and node.args:
            called = ast.unparse(node.func).rsplit(".", 1)[-1]
            name = node.args[0]
            if called in {"import_module", "__import__"} and isinstance(name, ast.Constant):
                yield str(name.value), node.lineno


def imports_of(path: Path, *, type_only: bool = True) -> Iterator[tuple[str, int]]:
    package = path.relative_to(ROOT).parent.parts
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return imports(tree if type_only else without_type_only(tree), package)


def wrong_floors(room: str, found: Iterator[tuple[str, int]]) -> Iterator[str]:
    """Yields what reaches up, sideways, or into the package's lazy front."""
    for name, line in found:
        top, _, rest = name.partition(".")
        if top != "energytune" or rest == "__version__":
            continue
        target = rest.split(".")[0]
        if target not in FLOOR_OF:
            yield f"line {line}: {name} is on no floor"
        elif target != room and FLOOR_OF[target] >= FLOOR_OF[room]:
            yield f"line {line}: {room} (floor {FLOOR_OF[room]}) imports {name}"


def test_the_package_is_read() -> None:
    assert {"errors", "config", "training", "trial"} <= {room_of(path) for path in modules()}


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("import a.b, c", ["a.b", "c"]),
        ("from a.b import c, d", ["a.b.c", "a.b.d"]),
        ("from . import c", ["energytune.data.c"]),
        ("from ..config import Recipe", ["energytune.config.Recipe"]),
        ("def f():\n    import ray", ["ray"]),
        ("import importlib\nm = importlib.import_module('optuna')", ["importlib", "optuna"]),
        ("x = '''import ray'''", []),
    ],
)
def test_the_reader_of_imports_sees_them_all(code: str, names: list[str]) -> None:
    assert [name for name, _ in imports(ast.parse(code), ("energytune", "data"))] == names


def test_type_only_imports_are_told_apart() -> None:
    code = "import a\nif TYPE_CHECKING:\n    import b\nelse:\n    import c\nif x:\n    import d"
    kept = without_type_only(ast.parse(code))
    assert [name for name, _ in imports(kept, ())] == ["a", "c", "d"]


@pytest.mark.parametrize(
    ("room", "name", "wrong"),
    [
        ("training", "energytune.models.build_model", False),
        ("training", "energytune.training.records", False),
        ("training", "energytune.trial", True),
        ("data", "energytune.models", True),
        ("cluster", "energytune.optimizer.study", True),
        ("cli", "energytune.__version__", False),
        ("cli", "energytune.attic", True),
    ],
)
def test_the_rule_of_floors_bites(room: str, name: str, wrong: bool) -> None:
    assert bool(list(wrong_floors(room, iter([(name, 1)])))) is wrong


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down_and_services_stay_in_their_rooms(path: Path) -> None:
    room = room_of(path)
    if room == "__init__":
        assert {name for name, _ in imports_of(path) if name.startswith("energytune")} == {
            "energytune.optimizer.energy_sampler.EnergySampler",
            "energytune.optimizer.pruner.EnergyPruner",
            "energytune.search.energy_map.EnergyMap",
            "energytune.search.pretrain.PretrainResult",
            "energytune.search.pretrain.pretrain",
            "energytune.search.probe_map.probe",
            "energytune.search.result.TuneResult",
            "energytune.tracking.load.load_champion",
            "energytune.tune.resume",
            "energytune.tune.tune",
        }
        return
    assert room in FLOOR_OF, f"{room} stands on no floor: give it one"
    assert list(wrong_floors(room, imports_of(path))) == []
    for name, line in imports_of(path, type_only=room not in MAY_NAME_TYPES):
        service = name.partition(".")[0]
        rooms = ROOMS_OF_SERVICE.get(service, {room})
        assert room in rooms, f"line {line}: {service} belongs to {sorted(rooms)}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_assert_guards_what_users_give(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Assert)] == []


def fresh(code: str, folder: Path) -> list[str]:
    """Returns the lines that ``code`` prints in a new interpreter started in ``folder``."""
    bootstrap = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
    told = subprocess.run(
        [sys.executable, "-W", "error", "-c", bootstrap + code],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (told.returncode, told.stderr) == (0, "")
    return told.stdout.splitlines()


def test_importing_the_package_loads_nothing_heavy_and_changes_nothing(tmp_path: Path) -> None:
    code = """
import logging, os, random, signal, threading, warnings

def world():
    return [
        dict(os.environ), list(sys.path), list(warnings.filters), list(logging.root.handlers),
        logging.root.level, threading.active_count(), random.getstate(), os.getcwd(),
        os.listdir(), signal.getsignal(signal.SIGINT), sys.excepthook,
    ]

before = world()
import energytune
print(world() == before)
print(energytune.__version__)
print(*sorted(m for m in sys.modules if m.startswith("energytune")))
print(*sorted({m.partition(".")[0] for m in sys.modules}))
"""
    unchanged, version, ours, loaded = fresh(code, tmp_path)
    assert unchanged == "True"
    assert version.count(".") == 2
    assert ours.split() == ["energytune"]
    assert set(loaded.split()).isdisjoint(HEAVY)


def test_the_floors_up_to_the_trial_start_without_the_services(tmp_path: Path) -> None:
    rooms = ("config", "tasks", "science", "data", "models", "training", "trial")
    code = f"import {', '.join(f'energytune.{room}' for room in rooms)}\n"
    code += "print(*sorted({m.partition('.')[0] for m in sys.modules}))"
    (loaded,) = fresh(code, tmp_path)
    services = {"ray", "optuna", "mlflow", "torchvision", "timm", "sklearn", "rich", "typer"}
    assert set(loaded.split()).isdisjoint(services)


def test_commands_that_only_read_load_no_torch(tmp_path: Path) -> None:
    """It takes two seconds, of which a person who asks for the champion waits for each."""
    modules = (
        "tracking.history",
        "tracking.resend",
        "tracking.registry",
        "search.report_load",
        "search.report_write",
        "report.page",
    )
    code = f"import {', '.join(f'energytune.{module}' for module in modules)}\n"
    code += "print('torch' in sys.modules)"
    assert fresh(code, tmp_path) == ["False"]
