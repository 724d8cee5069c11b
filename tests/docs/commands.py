"""Whether a command line of a page is one that the real command takes."""

from __future__ import annotations

import contextlib
import io
import shlex

import click
import typer.main
from typer.core import TyperGroup

from energytune.cli.main import app


def why_wrong(line: str, *, whole: bool = True) -> str:
    """Returns why ``energytune ...`` would be refused, without running it; empty if it is good.

    Names, options and values are parsed by the command's own parser. Capitals stand for what the
    reader fills in.

    Args:
        line: The command line.
        whole: Whether it is one to be typed. A command that is only mentioned may lack what it
            requires.
    """
    words = shlex.split(line)
    if words[:1] != ["energytune"]:
        return f"{line!r} is no energytune command"
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            _parse(typer.main.get_group(app), words[1:])
    except Exception as error:
        # typer may carry a click of its own, so its errors are told by what they can do
        kind = type(error).__name__
        if kind == "Exit" or (not whole and kind in ("MissingParameter", "NoArgsIsHelpError")):
            return ""
        if hasattr(error, "format_message"):
            return f"{line!r}: {error.format_message()}"
        raise
    return ""


def _parse(group: TyperGroup, words: list[str]) -> None:
    """Parses the words of the group, of its command, and so on down."""
    context = group.make_context("energytune", list(words))
    command: click.Command = group
    while isinstance(command, TyperGroup):
        name, found, rest = command.resolve_command(
            context, [*context._protected_args, *context.args]
        )
        if found is None:
            raise click.UsageError(f"there is no command {name!r}")
        command = found
        context = command.make_context(name, list(rest), parent=context)
