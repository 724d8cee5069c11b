"""The runner of pages fails where a reader would."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.commands import why_wrong
from tests.docs.page_blocks import PageError, page_blocks, told_commands
from tests.docs.page_runner import ROOT


def run(page: str, folder: Path) -> tuple[int, str]:
    """Returns the exit code of the runner on a page, and all that it said."""
    path = folder / "page.md"
    path.write_text(page, encoding="utf-8")
    told = subprocess.run(
        [sys.executable, "-m", "tests.docs.page_runner", str(path), str(folder / "work")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return told.returncode, told.stdout + told.stderr


GOOD = """\
# A page

<!-- test: python
START = 3
-->

```python
value = START + 1
open("value.txt", "w").write(f"value {value}\\n")
```

<!-- test: same -->

```console
$ cat value.txt
value 4
$ printf 'a\\nb 12 c\\nd\\n'
a
b ... c
...
```

<!-- test: shows "energytune" -->

```console
$ energytune --version
energytune 0.1
```

    echo indented > indented.txt   # a comment

<!-- test: replace "100" "2" -->

```python
assert sum([1] * 100) == 2
assert open("indented.txt").read() == "indented\\n"
```

<!-- test: skip needs a GPU -->

```sh
energytune search --dataset stl10 \\
    --gpus-per-trial 0.5
```
"""


@pytest.mark.integration
def test_a_good_page_runs_in_one_folder_and_one_namespace(tmp_path: Path) -> None:
    code, told = run(GOOD, tmp_path)
    assert code == 0, told
    assert (tmp_path / "work" / "value.txt").read_text() == "value 4\n"


BAD = {
    "a block raises": ("```python\n1 / 0\n```", "ZeroDivisionError"),
    "a name of another page": ("```python\nvalue\n```", "NameError"),
    "an unknown program": ("```sh\nenergytunes doctor\n```", "not found"),
    "an unknown command": ("```sh\nenergytune serch\n```", "No such command 'serch'"),
    "an unknown option": ("```sh\nenergytune search --datset x\n```", "No such option"),
    "an exit code": ("```sh\nfalse\n```", "ended with code 1"),
    "an exit code within a pipe": ("```sh\nfalse | cat\n```", "ended with code 1"),
    "a skipped unknown option": (
        "<!-- test: skip needs a GPU -->\n\n```sh\nenergytune search --gpus 1\n```",
        "No such option",
    ),
    "skipped Python that is none": (
        "<!-- test: skip needs a GPU -->\n\n```python\nx = = 1\n```",
        "SyntaxError",
    ),
    "an output that is not printed": (
        '<!-- test: shows "b" -->\n\n```console\n$ echo a\nb\n```',
        "'b' is shown and was not printed",
    ),
    "another output": (
        "<!-- test: same -->\n\n```console\n$ printf 'a\\nb\\n'\na\n```",
        "printed was something else",
    ),
    "a server that is none": ("<!-- test: serve -->\n\n```sh\ntrue\n```", "served nothing"),
}


@pytest.mark.integration
@pytest.mark.parametrize("name", BAD)
def test_a_bad_page_fails_and_says_where(name: str, tmp_path: Path) -> None:
    page, reason = BAD[name]
    code, told = run(f"# A page\n\n{page}\n", tmp_path)
    assert code == 1, told
    assert reason in told
    assert "page.md" in told


UNREADABLE = {
    "<!-- test: skip I am tired -->\n\n```sh\ntrue\n```": "no reason to skip",
    "<!-- test: ignore -->\n\n```sh\ntrue\n```": "there is no directive 'ignore'",
    "<!-- test: same -->\n\nText.\n\n```sh\ntrue\n```": "before no block",
    "<!-- test: same -->": "before no block",
    "```shell\ntrue\n```": "what language",
    "```\ntrue\n```": "what language",
    "```console\ntrue\n```": "begins with a command",
    "```console\n$ true\noutput\n```": "compared with nothing",
    '<!-- test: shows "x" -->\n\n```console\n$ true\ny\n```': "'x' is to be shown and is not",
}


@pytest.mark.parametrize("page", UNREADABLE)
def test_what_a_page_says_of_its_blocks_is_checked(page: str) -> None:
    with pytest.raises(PageError, match=UNREADABLE[page]):
        page_blocks(page)


def test_what_is_to_be_replaced_must_be_there() -> None:
    (block,) = page_blocks('<!-- test: replace "30" "3" -->\n\n```python\nx = 20\n```')
    with pytest.raises(PageError, match="'30' is to be replaced"):
        block.code  # noqa: B018


def test_every_command_of_a_page_is_found() -> None:
    page = (
        "Try `energytune probe` or `energytune cache list`.\n\n"
        "| `energytune doctor` |\n| --- |\n| x |\n\n"
        "    energytune search --trials 3   # three\n\n"
        "```console\n$ cat x\n  energytune ui DIR\n```\n".replace("$ cat x", "$ energytune sync D")
        + "```text\nRun:\n  energytune search --fix tau=8\n```\n"
    )
    page = page.replace("```console", '<!-- test: shows "ui" -->\n\n```console')
    assert list(told_commands(page)) == [
        ("energytune search --trials 3", True),
        ("energytune sync D", True),
        ("energytune ui DIR", True),
        ("energytune search --fix tau=8", True),
        ("energytune probe", False),
        ("energytune cache list", False),
        ("energytune doctor", False),
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("energytune search --dataset digits --fix tau=8 --fix ft_lr=0.01", ""),
        ("energytune cache list", ""),
        ("energytune --version", ""),
        ("energytune search --help", ""),
        ("energytune serch", "No such command"),
        ("energytune cache lst", "No such command"),
        ("energytune search --datset x", "No such option"),
        ("energytune search digits", "unexpected extra argument"),
        ("energytune search --trials many", "Invalid value"),
        ("energytune search --trials", "requires an argument"),
        ("energytune pretrain --dataset cifar10", "Missing option"),
        ("make search", "is no energytune command"),
    ],
)
def test_a_command_line_is_parsed_by_the_real_command(line: str, reason: str) -> None:
    found = why_wrong(line)
    assert (reason in found) if reason else found == ""


def test_a_command_that_is_only_mentioned_may_be_short() -> None:
    assert why_wrong("energytune pretrain", whole=False) == ""
    assert why_wrong("energytune cache", whole=False) == ""
    assert "No such command" in why_wrong("energytune pretrian", whole=False)
