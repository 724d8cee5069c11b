"""The command ``energytune``: its commands, its version, and how it fails.

Start-up is light on purpose: torch, Ray, Optuna, MLflow and timm are loaded by the commands that
need them, never by ``--help``.
"""

from __future__ import annotations

import errno
import sys
import traceback
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from energytune.cli.cache import cache_app
from energytune.cli.champion import champion_app
from energytune.cli.export import export
from energytune.cli.info import backbones, datasets, doctor
from energytune.cli.predict import predict
from energytune.cli.pretrain import pretrain
from energytune.cli.probe import diagnose, probe
from energytune.cli.report import report
from energytune.cli.resume import resume
from energytune.cli.search import search
from energytune.cli.stores import sync, ui
from energytune.errors import EnergyTuneError
from energytune.redact import redact

__all__ = ["app", "main"]

_DISK_ERRORS = {
    errno.ENOSPC: "The disk is full",
    errno.EDQUOT: "The disk quota is used up",
    errno.EACCES: "There is no permission to write",
    errno.EROFS: "The disk is read-only",
}


class _Group(TyperGroup):
    """Turns errors meant for the user into one message and exit code 2."""

    def invoke(self, ctx: Any) -> Any:
        """Runs the command; a bug still shows its traceback."""
        try:
            return super().invoke(ctx)
        except EnergyTuneError as error:
            typer.echo(f"Error: {redact(str(error))}", err=True)
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            typer.echo("Interrupted.", err=True)
            raise typer.Exit(130) from None
        except OSError as error:
            if error.errno not in _DISK_ERRORS:
                raise
            what, where = _DISK_ERRORS[error.errno], error.filename or "the output folder"
            typer.echo(
                f"Error: {what}: {where}. What has ended is kept; make room or choose another "
                "--out, and run the same command again to go on.",
                err=True,
            )
            raise typer.Exit(2) from None


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Finds, with few finetunes, how to prepare a task head before finetuning a pretrained "
    "backbone.",
)


def _print_version(wanted: bool) -> None:
    if not wanted:
        return
    try:
        number = version("energytune")
    except PackageNotFoundError:
        number = "unknown (not installed)"
    typer.echo(f"energytune {number}")
    raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    """Takes the options that stand before a command."""


for _command in (
    search,
    resume,
    report,
    probe,
    diagnose,
    pretrain,
    predict,
    export,
    ui,
    sync,
    datasets,
    backbones,
    doctor,
):
    app.command()(_command)
app.add_typer(cache_app, name="cache")
app.add_typer(champion_app, name="champion")


def main() -> None:
    """Runs the command line; a bug shows its traceback, without the logins of addresses."""
    try:
        app()
    except Exception:
        sys.stderr.write(redact(traceback.format_exc()))
        sys.exit(1)


if __name__ == "__main__":
    main()
