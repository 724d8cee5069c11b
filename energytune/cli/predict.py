"""``energytune predict``: what a registered model says about images, molecules or numbers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from energytune.cli.champion_options import (
    Dataset,
    Device,
    Runs,
    TrackingUri,
    Version,
    find_model,
)
from energytune.errors import ConfigError

if TYPE_CHECKING:
    from energytune.serving import Prediction, Predictor, RawInput

__all__ = ["predict"]


def predict(
    inputs: Annotated[
        list[str],
        typer.Argument(
            help="Image files, folders, a CSV file with a column path or smiles, SMILES, or - for "
            "one path or SMILES a line on stdin."
        ),
    ],
    dataset: Dataset = None,
    model: Annotated[
        Path | None,
        typer.Option(
            help="File of `energytune export --format safetensors`, in place of --dataset."
        ),
    ] = None,
    version: Version = None,
    top_k: Annotated[
        int | None, typer.Option(help="Most probable classes that are told. Default: 1.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document a line, one line an input.")
    ] = False,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", help="Write a CSV file; - is stdout.")
    ] = None,
    out_dir: Annotated[
        Path | None, typer.Option(help="Folder for masks, where pixels are predicted.")
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out inputs that can't be used.")
    ] = False,
    batch_size: Annotated[int, typer.Option(help="Inputs a forward pass.")] = 32,
    device: Device = "auto",
    tracking_uri: TrackingUri = None,
    runs: Runs = None,
) -> None:
    """Predict with the champion of a dataset.

    Preprocessing is inside the model: give images and SMILES as they are. An input that can't be
    used is an error that names all such inputs, and nothing is printed, unless --skip-bad.
    """
    for name, value in (("--batch-size", batch_size), ("--top-k", top_k)):
        if value is not None and value < 1:
            raise ConfigError(f"{name} must be at least 1, got {value}.")
    to_stdout = csv_file == Path("-")
    if as_json and to_stdout:
        raise ConfigError("--json and --csv - both print to stdout. Give --csv a file.")
    predictor = find_model(
        dataset,
        model=model,
        version=version,
        tracking_uri=tracking_uri,
        runs=runs,
        device=device,
    )
    if out_dir is not None and predictor.kind != "pixels":
        raise ConfigError("--out-dir is for masks, but this model predicts one answer an input.")
    from energytune.cli.predict_text import json_lines, print_table, write_csv
    from energytune.serving import read_sources

    found = read_sources(
        inputs, predictor.preprocessing.kind, sys.stdin, n_values=predictor.n_values
    )
    rows, problems = _predict(predictor, found, top_k, batch_size, out_dir)
    if problems and (not skip_bad or not rows):
        from energytune.serving.chunks import bad_inputs

        raise bad_inputs(problems, len(found))
    if csv_file is not None:
        write_csv(rows, predictor, csv_file)
    if as_json:
        for line in json_lines(rows, problems):
            typer.echo(line)
    elif not to_stdout:
        print_table(rows, predictor)
    for name, reason in problems:
        typer.echo(f"Left out {name}: {reason}.", err=True)


Row = tuple[str, "Prediction", Path | None]
"""Name of the input, its prediction, and the file of its mask."""


def _predict(
    predictor: Predictor,
    found: list[RawInput],
    top_k: int | None,
    batch_size: int,
    out_dir: Path | None,
) -> tuple[list[Row], list[tuple[str, str]]]:
    """Returns the predictions, and name and reason of each input that can't be used."""
    from dataclasses import replace

    from energytune.serving.masks import MaskWriter

    writer = None if out_dir is None else MaskWriter(out_dir)
    rows: list[Row] = []
    problems: list[tuple[str, str]] = []

    def read(raw: RawInput) -> Any:
        return raw.read()

    for batch in predictor.batches(found, batch_size=batch_size, read=read):
        problems += [(found[i].name, reason) for i, reason in batch.problems]
        told = predictor.predictions(batch, top_k)
        for index, prediction in zip(batch.indices, told, strict=True):
            mask = prediction.mask
            file = None if writer is None or mask is None else writer.write(found[index].name, mask)
            rows.append((found[index].name, replace(prediction, mask=None), file))
    return rows, problems
