"""No module calls what can run code from a file, unless it is listed here with its reason."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "energytune"

FORBIDDEN = {
    **dict.fromkeys(("eval", "exec", "compile", "__import__"), "runs code"),
    **dict.fromkeys(("pickle.load", "pickle.loads", "pickle.Unpickler"), "unpickles"),
    **dict.fromkeys(("cloudpickle.load", "cloudpickle.loads", "dill.load"), "unpickles"),
    **dict.fromkeys(("joblib.load", "marshal.load", "marshal.loads", "shelve.open"), "unpickles"),
    **dict.fromkeys(("pandas.read_pickle", "pd.read_pickle"), "unpickles"),
    **dict.fromkeys(("torch.load", "torch.jit.load", "torch.hub.load"), "unpickles"),
    **dict.fromkeys(("torch.package.PackageImporter", "torch.export.load"), "unpickles"),
    **dict.fromkeys(("numpy.load", "np.load", "numpy.fromstring"), "may unpickle"),
    **dict.fromkeys(("yaml.load", "yaml.unsafe_load", "yaml.full_load"), "makes objects"),
    **dict.fromkeys(("os.system", "os.popen", "pty.spawn"), "starts a shell"),
    **dict.fromkeys(("shutil.unpack_archive",), "writes where an archive says"),
    **dict.fromkeys(("mlflow.pyfunc.load_model", "pyfunc.load_model"), "runs code of the registry"),
    **dict.fromkeys(("mlflow.pytorch.load_model", "pytorch.load_model"), "unpickles"),
    **dict.fromkeys(("datasets.load_from_disk", "loadmat"), "trusts the file"),
    **dict.fromkeys(("tempfile.mktemp",), "names a file that others may make"),
    **dict.fromkeys(("json.load", "json.loads"), "may raise RecursionError; use json_text"),
}  # fmt: skip
"""Called name -> what is wrong with it."""

METHODS = {"extractall": "writes where an archive says", "extract": "writes where an archive says"}
"""Forbidden whatever they are called on."""

ALLOWED = {
    ("data/cifar.py", "pickle.loads"): "only of bytes whose md5 is that of the genuine file",
    ("models/checkpoint_pickle.py", "torch.load"): "with weights_only=True and a list of settings",
    ("data/mat_reader.py", "loadmat"): "in a process of its own, with a limit of memory",
    ("serving/export_torch.py", "torch.export.load"): "of the file that was just written",
    ("training/team_helper.py", "pickle.loads"): "of what its own starter says, over their pipe",
    ("training/team_link.py", "torch.load"): "of what a process of ours says, over its pipe",
    ("json_text.py", "json.loads"): "the one place where JSON is read",
    ("models/checkpoint_write.py", "json.loads"): "of the header that was just written",
    ("data/huggingface_tables.py", "datasets.load_from_disk"): "Arrow tables; no code is run",
}
"""File and call -> why it may."""


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def problems(tree: ast.AST) -> Iterator[tuple[str, str, int]]:
    """Yields (call, what is wrong, line)."""
    for name, call in calls(tree):
        why = FORBIDDEN.get(name) or FORBIDDEN.get(name.removeprefix("self."))
        last = name.rpartition(".")[2]
        if why is None and "." in name:
            why = METHODS.get(last)
        words = {word.arg: word.value for word in call.keywords}
        if isinstance(value := words.get("shell"), ast.Constant) and value.value:
            why = "starts a shell"
        if isinstance(value := words.get("allow_pickle"), ast.Constant) and value.value:
            why = "unpickles"
        if "trust_remote_code" in words:
            why = "runs code of the Hub"
        if last == "open" and name.endswith("Image.open") and "formats" not in words:
            why = "lets Pillow choose a format, of which some start programs"
        if why is not None:
            yield name, why, call.lineno


@pytest.mark.parametrize(
    ("code", "wrong"),
    [
        ("eval(x)", True),
        ("torch.load(p, weights_only=True)", True),
        ("np.load(p, allow_pickle=False)", True),
        ("archive.extractall(p)", True),
        ("subprocess.run(c, shell=True)", True),
        ("subprocess.run(c)", False),
        ("Image.open(f)", True),
        ("Image.open(f, formats=F)", False),
        ("model.eval()", False),
        ("load_dataset(n, trust_remote_code=False)", True),
    ],
)
def test_the_rule_bites(code: str, wrong: bool) -> None:
    assert bool(list(problems(ast.parse(code)))) is wrong


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_runs_what_a_file_says(path: Path) -> None:
    where = str(path.relative_to(PACKAGE))
    found = list(problems(ast.parse(path.read_text(encoding="utf-8"))))
    left = [(name, why, line) for name, why, line in found if (where, name) not in ALLOWED]
    assert left == [], "see the top of this file, and SECURITY.md"


def test_every_exception_is_still_needed() -> None:
    used = {
        (str(path.relative_to(PACKAGE)), name)
        for path in modules()
        for name, _, _ in problems(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert set(ALLOWED) <= used


def test_pytorchs_format_is_read_by_its_safe_reader_only() -> None:
    tree = ast.parse((PACKAGE / "models" / "checkpoint_pickle.py").read_text(encoding="utf-8"))
    (load,) = [call for name, call in calls(tree) if name == "torch.load"]
    words = {word.arg: ast.unparse(word.value) for word in load.keywords}
    assert words["weights_only"] == "True"
