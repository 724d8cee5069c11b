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


@pytest.mark.parametrize("target", ["help", "search", "test", "install", "install-dev", "clean"])
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


@pytest.mark.integration
def test_the_python_example_runs(tmp_path: Path) -> None:
    example, _ = blocks("python")
    shortened = example.replace("n_trials=30", "n_trials=3")
    assert shortened != example
    told = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{shortened}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    assert "tau" in told.stdout
    assert (tmp_path / "tau.png").stat().st_size > 1000


_OBJECTIVE = """
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


@pytest.mark.integration
def test_sampler_and_pruner_run_in_a_study_of_ones_own(tmp_path: Path) -> None:
    _, alone = blocks("python")
    shortened = alone.replace("tau_max=256", "tau_max=8").replace("n_trials=30", "n_trials=12")
    assert shortened.count("8") > alone.count("8")
    told = subprocess.run(
        [sys.executable, "-c", f"{_OBJECTIVE}\n{shortened}\nprint(study.trials_dataframe().state)"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    assert "COMPLETE" in told.stdout
    assert "PRUNED" in told.stdout
