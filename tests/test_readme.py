"""What the README shows can be run."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main
from typer.core import TyperGroup

from energytune.cli.main import app
from energytune.search.result import TuneResult
from tests.docs.page_blocks import page_blocks

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
OPENING = README.partition("\n## ")[0]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def shell_lines() -> list[str]:
    """Returns the commands of indented blocks and of code in the tables, without comments."""
    indented = re.findall(r"^    ([a-z].*)$", README, re.MULTILINE)
    quoted = re.findall(r"`(energytune [^`]+)`", README)
    return [line.partition("  #")[0].strip() for line in (*indented, *quoted)]


def commands() -> list[list[str]]:
    words = [shlex.split(line, comments=True) for line in shell_lines()]
    return [line for line in words if line and line[0] == "energytune"]


def the_command_line() -> TyperGroup:
    return typer.main.get_group(app)


def test_it_opens_with_the_two_commands_and_pip() -> None:
    told = [OPENING.index(line) for line in ("make search", "make test", "pip install .")]
    assert told == sorted(told)


@pytest.mark.parametrize(
    "target", ["help", "search", "test", "install", "install-dev", "docs", "cuts", "clean"]
)
def test_the_makefile_has_its_targets(target: str) -> None:
    command = ["make", "--dry-run", target]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr


def test_the_dry_run_of_the_two_commands_names_their_steps() -> None:
    def steps(target: str) -> str:
        command = ["make", "--dry-run", "--always-make", target]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    search, test = steps("search"), steps("test")
    assert "--constraint constraints.txt --editable ." in search
    assert "energytune search --dataset digits" in search
    found = [test.index(f"bin/{step}") for step in ("ruff check", "ruff format --check", "mypy")]
    assert found == sorted(found)
    assert "-m pytest" in test[found[-1] :]


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_exists_with_its_options(words: list[str]) -> None:
    group = the_command_line()
    name, *rest = words[1:]
    assert name in group.commands
    command = group.commands[name]
    if isinstance(command, TyperGroup):
        command = command.commands[rest[0]]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in rest if word.startswith("-")} <= known


def test_several_commands_are_shown() -> None:
    names = {words[1] for words in commands()}
    assert {"search", "probe", "diagnose", "cache", "sync", "ui", "datasets"} <= names
    assert {"backbones", "doctor"} <= names


def test_the_python_example_has_ten_lines_and_uses_what_there_is() -> None:
    example, alone = blocks("python")
    assert len(example.splitlines()) <= 10
    assert len(alone.splitlines()) == 5
    used = {
        node.attr
        for node in ast.walk(ast.parse(example))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "result"
    }
    assert used
    assert {name for name in used if not hasattr(TuneResult, name)} <= set(
        TuneResult.__dataclass_fields__
    )


def test_links_lead_to_files_of_the_repository() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    assert [link for link in links if "://" not in link and not (ROOT / link).exists()] == []


def test_the_figure_of_the_data_flow_is_there() -> None:
    (figure,) = blocks("mermaid")
    for stage in ("features", "probe", "AIE", "finetune", "adaptation", "record", "MLflow"):
        assert stage in figure


SHORT = "--trials 2 --finetune-epochs 4 --confirm-seeds 1 --confirm-recipes 1"

OBJECTIVE = """
import optuna, energytune

def objective(trial):
    tau = trial.suggest_int("tau", 0, 8)
    trial.suggest_categorical("head_arch", ["linear", "mlp"])
    trial.suggest_float("label_smoothing", 0.0, 0.3, step=0.075)
    trial.suggest_int("reinit_depth", 0, 2)
    lr = trial.suggest_float("ft_lr", 1e-3, 3e-2, log=True)
    hp = {"train_acc": tau / 8, "aie": 1 - tau / 9, "head_norm": 1.0, "valid_loss": 2.0}
    trial.set_user_attr("hp", hp)
    if trial.should_prune():
        raise optuna.TrialPruned
    for epoch in range(1, 51):
        trial.report(epoch / 50 - 10 * abs(lr - 0.01), epoch)
        if trial.should_prune():
            raise optuna.TrialPruned
    return 1 - 10 * abs(lr - 0.01)
"""

TESTED = {
    "mlflow models serve": ["skip needs a server: it runs until Ctrl-C"],
    "make search": ['replace "make" "make --dry-run --directory $ROOT"'],
    "pip install .": [
        'replace "pip install ." "pip install --dry-run --no-deps --no-build-isolation $ROOT"',
        "args --trials 1 --no-baselines --finetune-epochs 1 --confirm-seeds 1",
    ],
    "energytune pretrain --dataset cifar10": [
        "skip needs a download of CIFAR10, STL10 and ogb's molecules"
    ],
    "from energytune import tune": ['replace "n_trials=30" "n_trials=2"'],
    'energy_map = energytune.probe("digits", tau_max=256)': [
        f"python {OBJECTIVE}",
        'replace "tau_max=256" "tau_max=8"',
        'replace "n_trials=30" "n_trials=12"',
    ],
}
"""How a block is tested, by the beginning of its first line. Others run as they are."""

AFTERWARDS = """
import pathlib

assert pathlib.Path("tau.png").stat().st_size > 1000
states = set(study.trials_dataframe().state)
assert {"COMPLETE", "PRUNED"} <= states, states
"""

COMMANDS = {
    "energytune search --dataset digits": [f"args {SHORT} --out DIR"],
    "energytune search --dataset stl10": ["skip needs a download of STL10 and the weights"],
    "energytune search --dataset digits --fix tau=8": [f"args {SHORT}"],
    "energytune report DIR": [],
    "energytune champion show --dataset digits": ["replace show 'show DIR'"],
    "energytune champion history --dataset digits": ["replace history 'history DIR'"],
    "energytune predict --dataset stl10 photos/ --top-k 3": [
        "skip needs a download of STL10 and the weights"
    ],
    "energytune export --dataset stl10 --format onnx --out stl10.onnx": [
        "skip needs a download of STL10 and the weights"
    ],
    "energytune probe --dataset digits --plot map.png": ["args --tau-max 8 --head linear"],
    "energytune diagnose --dataset digits": ["args --tau-max 8 --head linear --no-track"],
    "energytune pretrain --dataset cifar10 --backbone resnet18 --out ckpt.safetensors": [
        "skip needs a download of CIFAR10"
    ],
    "energytune cache list": [],
    "energytune cache clear": ["args --yes --older-than 3650d"],
    "energytune sync DIR": [],
    "energytune ui DIR": ["serve"],
    "energytune datasets": [],
    "energytune datasets voc2012": [],
    "energytune backbones": [],
    "energytune backbones resnet18 --cuts": ["args --input-size 32"],
    "energytune doctor": [],
}
"""How a command of the README's table is tested."""


def directives(told: list[str]) -> str:
    return "".join(f"<!-- test: {one} -->\n\n" for one in told)


def with_directives(page: str) -> str:
    """Returns the README with what :data:`TESTED` says before each block."""
    lines = page.splitlines(keepends=True)
    for block in reversed(page_blocks(page)):
        found = [told for start, told in TESTED.items() if block.text.startswith(start)]
        if found:
            lines.insert(block.line - 1, directives(found[0]))
    return "".join(lines)


def commands_of_the_table() -> list[str]:
    section = README.partition("\n## Commands\n")[2].partition("\n## ")[0]
    return re.findall(r"`(energytune [^`]+)`", section)


def run_page(page: str, folder: Path) -> None:
    path = folder / "page.md"
    path.write_text(page, encoding="utf-8")
    told = subprocess.run(
        [sys.executable, "-m", "tests.docs.page_runner", str(path), str(folder / "work")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout + told.stderr


def test_what_is_said_of_blocks_is_said_of_one_each() -> None:
    blocks = page_blocks(README)
    for start in TESTED:
        assert sum(block.text.startswith(start) for block in blocks) == 1, start
    page = page_blocks(with_directives(README))
    assert len(page) == len(blocks) + 1  # the objective
    assert [block.text.split()[1] for block in page if block.skip] == ["pretrain", "models"]


def test_every_command_of_the_table_is_tested() -> None:
    found = commands_of_the_table()
    assert len(found) >= 12
    assert set(found) - set(COMMANDS) == set()


@pytest.mark.integration
def test_every_block_runs(tmp_path: Path) -> None:
    page = f"{with_directives(README)}\n<!-- test: python {AFTERWARDS}-->\n"
    run_page(page, tmp_path)


@pytest.mark.integration
def test_every_command_of_the_table_runs(tmp_path: Path) -> None:
    blocks = [
        f"{directives(COMMANDS[command])}```sh\n{command}\n```\n\n"
        for command in commands_of_the_table()
    ]
    run_page("".join(blocks), tmp_path)
