"""The code blocks of a Markdown page, with what the page says about testing them.

What a reader does not see stands in HTML comments right before a block:

    <!-- test: skip needs a GPU -->              not run; its commands are parsed all the same
    <!-- test: args --trials 2 -->               added to the block's energytune commands
    <!-- test: replace "n_trials=30" "n_trials=3" -->  one text of the block for another
    <!-- test: shows "Winner:" "Test accuracy" -->     is in what the page shows and in the output
    <!-- test: same -->                          the output is what the page shows; ``...`` is a gap
    <!-- test: serve -->                         a server: started, asked for a page, ended
    <!-- test: python CODE -->                   hidden code that is run at this place
    <!-- test: output -->                        what a command has printed, nothing to be run
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from markdown_it import MarkdownIt

SHELL = ("console", "sh", "bash")
SHOWN_ONLY = ("text", "mermaid", "yaml", "json", "html")
SKIP_REASONS = ("needs a GPU", "needs a download", "needs a cluster", "needs a server")

_COMMENT = re.compile(r"<!--\s*test:\s*(\S+)(.*?)-->", re.DOTALL)


class PageError(Exception):
    """A page whose blocks can't be read, don't run, or print something else."""


@dataclass(frozen=True)
class Block:
    """One block of a page.

    Attributes:
        language: As the fence names it; ``"sh"`` for an indented block.
        text: Without the fence.
        line: Of its first line in the page, from 1.
        skip: Why it is not run; empty if it is.
        args: Words added to its energytune commands.
        replaced: Pairs (old, new).
        shows: Texts that must be shown and printed.
        same: Whether the whole output is compared.
        serve: Whether the command is a server.
    """

    language: str
    text: str
    line: int
    skip: str = ""
    args: tuple[str, ...] = ()
    replaced: tuple[tuple[str, str], ...] = ()
    shows: tuple[str, ...] = ()
    same: bool = False
    serve: bool = False

    @property
    def code(self) -> str:
        """The text as it is run.

        Raises:
            PageError: What is to be replaced is not there.
        """
        code = self.text
        for old, new in self.replaced:
            if old not in code:
                raise PageError(f"line {self.line}: {old!r} is to be replaced and is not there")
            code = code.replace(old, new)
        return code


@dataclass(frozen=True)
class Command:
    """One shell command of a block, and what the page shows of its output."""

    words: str
    shown: list[str] = field(default_factory=list)


def page_blocks(page: str) -> list[Block]:
    """Returns the blocks of a page in order.

    Raises:
        PageError: A directive is unknown, stands before no block, or gives no good reason.
    """
    blocks: list[Block] = []
    told: dict[str, object] = {}
    at = 0
    for token in MarkdownIt().parse(page):
        line = token.map[0] + 1 if token.map else 0
        if token.type == "html_block":
            for name, rest in _COMMENT.findall(token.content):
                if name == "python":
                    blocks.append(Block("python", rest.strip("\n"), line))
                    continue
                at = line
                _take(told, name, rest.strip(), line)
        elif token.type in ("fence", "code_block"):
            words = token.info.split()
            language = words[0] if words else ("sh" if token.type == "code_block" else "")
            if told.pop("output", False):
                language = "text"
            blocks.append(Block(language, token.content, line, **told))  # type: ignore[arg-type]
            told = {}
        elif token.type.endswith("_open") and told:
            raise PageError(f"line {at}: a directive stands before no block")
    if told:
        raise PageError(f"line {at}: a directive stands before no block")
    _check(blocks)
    return blocks


def _take(told: dict[str, object], name: str, rest: str, line: int) -> None:
    if name == "skip":
        if not rest.startswith(SKIP_REASONS):
            raise PageError(
                f"line {line}: {rest!r} is no reason to skip; these are: {', '.join(SKIP_REASONS)}"
            )
        told["skip"] = rest
    elif name == "args":
        told["args"] = tuple(shlex.split(rest))
    elif name == "replace":
        old, new = shlex.split(rest)
        told["replaced"] = (*told.get("replaced", ()), (old, new))  # type: ignore[misc]
    elif name == "shows":
        told["shows"] = tuple(shlex.split(rest))
    elif name in ("same", "serve", "output"):
        told[name] = True
    else:
        raise PageError(f"line {line}: there is no directive {name!r}")


def _check(blocks: list[Block]) -> None:
    for block in blocks:
        if block.language not in (*SHELL, *SHOWN_ONLY, "python"):
            raise PageError(f"line {block.line}: what language is {block.language!r}?")
        for text in block.shows:
            if text not in block.text:
                raise PageError(f"line {block.line}: {text!r} is to be shown and is not")
        output = block.language == "console" and any(c.shown for c in shell_commands(block))
        compared = block.skip or block.shows or block.same
        if output and not compared:
            raise PageError(f"line {block.line}: output is shown and compared with nothing")


def shell_commands(block: Block) -> list[Command]:
    """Returns the commands of a shell block; a line that ends with ``\\`` goes on."""
    lines = block.code.replace("\\\n", " ").splitlines()
    if block.language == "console":
        starts = [i for i, line in enumerate(lines) if line.startswith("$ ")]
        if not starts or starts[0] != 0:
            raise PageError(f"line {block.line}: a console block begins with a command, $ ...")
        ends = pairwise([*starts, len(lines)])
        return [Command(lines[i][2:].strip(), lines[i + 1 : j]) for i, j in ends]
    return [Command(line.strip()) for line in lines if line.strip() and line.lstrip()[0] != "#"]


def told_commands(page: str) -> Iterator[tuple[str, bool]]:
    """Yields every ``energytune ...`` of a page, and whether it is one to be typed as it is.

    Those of blocks and of output are; those in running text may be mentions.
    """
    for block in page_blocks(page):
        if block.language in SHELL:
            lines = [line for c in shell_commands(block) for line in (c.words, *c.shown)]
        else:
            lines = block.text.splitlines() if block.language == "text" else []
        for line in lines:
            if found := energytune_in(line):
                yield found, True
    for token in MarkdownIt().enable("table").parse(page):
        for child in token.children or ():
            if child.type == "code_inline" and (found := energytune_in(child.content)):
                yield found, False


def energytune_in(line: str) -> str:
    """Returns the ``energytune ...`` that a line begins with, without comment and pipe."""
    found = re.match(r"\s*(energytune (?:--|[a-z]+(?= |$)).*)", line)
    return re.split(r" +(?:#|\||>|&&|;)", found[1])[0].strip() if found else ""
