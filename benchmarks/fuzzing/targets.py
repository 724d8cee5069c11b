"""The readers that are fed: each takes the files of one input, and may only refuse it as ours."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

__all__ = ["TARGETS", "Target"]

Files = Mapping[str, bytes]


@dataclass(frozen=True)
class Target:
    """One reader.

    Attributes:
        name: Of its seeds too.
        read: Takes the folder in which the input's files lie.
        share: Of the inputs, against 1.0 of most; slow readers get fewer.
        seeds: Whose seeds it takes; empty stands for its own.
    """

    name: str
    read: Callable[[Path], object]
    share: float = 1.0
    seeds: str = ""


def _text(folder: Path) -> str:
    return (folder / "text.name").read_bytes().decode("utf-8", "surrogateescape")


def _file(folder: Path) -> Path:
    """Returns the only file of a one-file input."""
    return next(path for path in sorted(folder.rglob("*")) if path.is_file())


def _space(folder: Path) -> None:
    from energytune.config import load_space

    load_space(folder / "space.yaml")


def _fix(folder: Path) -> None:
    from energytune.config import apply_fixes, load_space
    from energytune.config.load import parse_fix

    name, value = parse_fix(_text(folder))
    apply_fixes(_default_space(load_space), {name: value})


@cache
def _default_space(load: Any) -> Any:
    return load("default")


def _durations(folder: Path) -> None:
    from energytune.cli.duration import format_seconds, parse_duration
    from energytune.config.sizes import format_bytes, parse_bytes
    from energytune.errors import ConfigError

    text = _text(folder)
    try:
        format_seconds(parse_duration(text))
    except ConfigError:
        format_bytes(parse_bytes(text, "--cache-budget"))


def _names(folder: Path) -> None:
    from energytune.data import get_dataset
    from energytune.data.catalog import absolute_name, dataset_status
    from energytune.search.folder import default_out
    from energytune.tracking.names import experiment_name

    text = _text(folder)
    entry = get_dataset(text)
    dataset_status(entry, folder)
    experiment_name(absolute_name(text))
    default_out(text)


def _smiles_csv(folder: Path) -> None:
    from energytune.data.smiles_csv import read_smiles_csv
    from energytune.data.smiles_table import molecule_table
    from energytune.progress import NO_PROGRESS

    molecule_table(read_smiles_csv(_file(folder)), NO_PROGRESS)


def _numbers(folder: Path) -> None:
    from energytune.data.number_table import read_numbers

    read_numbers(_file(folder), blanks=True)
    read_numbers(_file(folder), n_columns=3)


def _ogb(folder: Path) -> None:
    from energytune.data.ogb_folder import missing_files, read_ogb_folder
    from energytune.errors import MissingDataError

    if missing_files(folder):
        raise MissingDataError("a file is missing, as `ensure` tells")
    read_ogb_folder(folder)


def _input_table(folder: Path) -> None:
    from energytune.serving.sources import read_sources

    for path in sorted(folder.iterdir()):
        for kind in ("image", "pixels", "smiles", "ready"):
            for source in islice(read_sources([str(path)], kind, n_values=4), 20):
                _prepared(kind, source)


def _prepared(kind: str, source: Any) -> None:
    from energytune.errors import EnergyTuneError

    try:
        _preprocessing(kind).prepare(source.read())
    except EnergyTuneError:
        return


@cache
def _preprocessing(kind: str) -> Any:
    from energytune.data.preprocessing import make_preprocessing

    images = {"geometry": "crop", "size": [3, 8, 8]}
    pixels = {"side": 8, "max_value": 16.0, "mean": 0.3, "std": 0.4, "step": 1.0}
    smiles = {"vocabulary": _vocabulary(), "n_slots": 8, "n_neighbours": 4}
    described = {"image": images, "pixels": pixels, "smiles": smiles, "ready": {}}[kind]
    return make_preprocessing({"kind": kind, **described} if described else {}, [4])


def _vocabulary() -> str:
    from energytune.data.input_molecules import ATOM_VOCABULARY

    return str(ATOM_VOCABULARY)


def _lists(folder: Path) -> None:
    from energytune.data import domainnet, imagenet, mnist, voc_files

    path = _file(folder)
    if path.name == "list.txt":
        domainnet.read_list(path)
    elif path.name == "train.txt":
        voc_files.read_list(folder, "train")
    elif path.name.startswith("LOC"):
        imagenet._kaggle_valid(folder, path)
    else:
        mnist.read_idx(path, n_dims=int(path.name.split("idx")[1][0]))


def _images(folder: Path) -> None:
    from energytune.data.image_decoding import decode_image
    from energytune.data.mask_files import read_image as read_for_masks
    from energytune.errors import EnergyTuneError

    path = _file(folder)
    for read in (decode_image, _preprocessing("image").prepare, _listed, read_for_masks):
        try:
            read(path)
        except EnergyTuneError:
            continue


def _listed(path: Path) -> None:
    from energytune.data.image_digests import examine_images
    from energytune.progress import NO_PROGRESS

    examine_images(path.parent, [path.name], decode=True, label="", progress=NO_PROGRESS)


def _base64(folder: Path) -> None:
    from energytune.data.image_decoding import from_base64

    text = _file(folder).read_bytes().decode("utf-8", "surrogateescape")
    _preprocessing("image").prepare(from_base64(text))


def _masks(folder: Path) -> None:
    from energytune.data.mask_files import read_mask

    read_mask(_file(folder), ["a", "b", "c"])


def _mats(folder: Path) -> None:
    from energytune.data.mat_files import read_mat

    for key in ("labels", "annotations", "names"):
        read_mat(_file(folder), key)


def _checkpoint(folder: Path) -> None:
    from energytune.models.checkpoint_file import read_metadata, read_tensors
    from energytune.models.checkpoints import load_checkpoint

    path = _file(folder)
    read_metadata(path)
    read_tensors(path)
    load_checkpoint(path, _backbone())


@cache
def _backbone() -> Any:
    from energytune.models import create_backbone

    return create_backbone("digits-mlp", weights="none", seed=0).module


def _archive(folder: Path) -> None:
    from energytune.data.download import fetch_members
    from energytune.errors import MissingDataError
    from energytune.progress import NO_PROGRESS

    out = folder / "below" / "out"
    why = fetch_members(_file(folder).as_uri(), ["wanted.bin"], out, label="", progress=NO_PROGRESS)
    written = {str(p.relative_to(folder)) for p in folder.rglob("*") if not p.is_dir()}
    if written - {"data.tar.gz", "below/out/wanted.bin"}:
        raise RuntimeError(f"files outside of the folder: {written}")
    if why:
        raise MissingDataError(why)


def _tracking(folder: Path) -> None:
    from energytune.tracking.drain import Drain, last_uri
    from energytune.tracking.journal import TrackingJournal
    from energytune.tracking.observer import TrackingObserver
    from energytune.tracking.runs import Replayer
    from energytune.tracking.winner import read_note

    journal = TrackingJournal(folder / "tracking.jsonl")
    Drain(journal, "http://127.0.0.1:9", None).n_unsent()
    last_uri(journal.path)
    entries = journal.read().entries
    for resend in (Replayer.recall, Replayer.compare, Replayer.push):
        resend(Replayer(_Deaf(), folder, folder), entries)  # type: ignore[arg-type]
    search_id = next((e["uid"] for e in entries if e["kind"] == "run"), "s")
    TrackingObserver(journal, search_id, "digits", "digits-mlp", {})
    read_note(folder)


class _Deaf:
    """A client of MLflow that takes everything and knows nothing."""

    def __getattr__(self, name: str) -> Any:
        if name == "search_runs":
            return lambda *args, **kwargs: _Page()
        run = SimpleNamespace(info=SimpleNamespace(run_id="r"))
        found = SimpleNamespace(experiment_id="1", lifecycle_stage="active", tags={})
        answers = {"create_run": run, "get_experiment_by_name": found, "get_experiment": found}
        return lambda *args, **kwargs: answers.get(name)


class _Page(list[Any]):
    token = None


def _records(folder: Path) -> None:
    from energytune.search.history import _beside
    from energytune.search.records_log import RecordsLog
    from energytune.search.report_load import _read_trials

    log = folder / "records.jsonl"
    _read_trials(log)
    RecordsLog(log).confirmations()
    _beside(folder.parent / "another")


def _search_folder(folder: Path) -> None:
    from energytune.search.command import reproduction
    from energytune.search.report_load import load_search

    loaded = load_search(folder)
    reproduction(loaded.result.config)
    repr(loaded.result)


def _report(folder: Path) -> None:
    from energytune.search.report_load import load_search
    from energytune.search.report_write import write_report

    loaded = load_search(folder)
    write_report(loaded.result, folder / "report.html", state=loaded.state, notes=loaded.notes)


def _study(folder: Path) -> None:
    from energytune.optimizer import load_study
    from energytune.search.report_load import load_search_of_study

    storage = f"journal://{folder / 'study.journal'}"
    load_study(storage, "searched")
    load_search_of_study(storage, "searched")


def _caches(folder: Path) -> None:
    from energytune.cache_listing import list_cache
    from energytune.errors import EnergyTuneError
    from energytune.training.feature_entry import DamagedEntry, read_entry
    from energytune.training.snapshots import SnapshotStore
    from energytune.training.tuner_state import read_state
    from energytune.trial.evidence_file import read_evidence

    for path in sorted(folder.rglob("*.safetensors")):
        SnapshotStore(folder).load_record("t", 0)
        SnapshotStore(folder).load_state("t", 0)
        read_state(path)
        try:
            read_evidence(path)
        except EnergyTuneError:
            continue
    try:
        read_entry(folder, verify=True)
    except DamagedEntry:
        return
    list_cache(folder)


def _models(folder: Path) -> None:
    from energytune.serving.model_files import open_folder, open_weights_file

    if (folder / "exported.safetensors").is_file():
        open_weights_file(folder / "exported.safetensors", device="cpu")
    else:
        open_folder(folder, device="cpu")


def _requests(folder: Path) -> None:
    from energytune.errors import EnergyTuneError
    from energytune.serving import answer_request

    try:
        request = json.loads(_file(folder).read_bytes())
    except (ValueError, RecursionError):
        return  # the server has no JSON to hand over
    for predictor in _predictors():
        for handed in _handed(request):
            try:
                answer_request(predictor, handed, 4)
            except EnergyTuneError:
                continue


def _handed(request: Any) -> Iterator[Any]:
    """Yields what MLflow may hand over of a request: values, an array, a table."""
    import numpy as np
    import pandas as pd

    if not isinstance(request, dict):
        yield request
        return
    for value in request.values():
        yield value
        with contextlib.suppress(ValueError, RecursionError):
            yield np.array(value)
        if isinstance(value, dict | list):
            try:
                yield pd.DataFrame(**value) if "columns" in value else pd.DataFrame(value)
            except Exception:  # no table can be made of it: MLflow answers by itself
                continue


@cache
def _predictors() -> tuple[Any, ...]:
    from energytune.models import build_model, create_backbone
    from energytune.serving import Predictor

    made = []
    for backbone, kind, shape in (
        ("digits-mlp", "pixels", None),
        ("resnet18", "image", (3, 8, 8)),
        ("gcn-small", "smiles", None),
    ):
        given = {} if shape is None else {"input_shape": shape}
        source = create_backbone(backbone, weights="none", seed=0, **given)
        model = build_model(source, head_arch="linear", n_outputs=3, reinit_depth=0, seed=0)
        described = _described(kind)
        made.append(Predictor(model, {"spec": model.spec(), "preprocessing": described}))
    return tuple(made)


def _described(kind: str) -> dict[str, Any]:
    from energytune.config import InputConfig
    from energytune.data import preprocessing

    if kind == "image":
        return preprocessing.describe_images(InputConfig((3, 8, 8)), "crop")
    if kind == "smiles":
        return preprocessing.describe_smiles(8, 4, _vocabulary())
    return preprocessing.describe_pixels(8, 16.0, 0.3, 0.4, 1.0)


def _registry(folder: Path) -> None:
    from energytune.tracking.promotions import read_promotions
    from energytune.tracking.versions import candidate_of, comparison_of, unpack_correct

    try:
        tags = json.loads(_file(folder).read_bytes())
    except (ValueError, RecursionError):
        return
    if not isinstance(tags, dict):
        return
    tags = {
        str(key): value if isinstance(value, str) else json.dumps(value)
        for key, value in tags.items()
    }
    version: Any = SimpleNamespace(tags=tags, version="1")
    candidate_of(version)
    comparison_of(version)
    client: Any = SimpleNamespace(get_registered_model=lambda name: version)
    read_promotions(client, "n")
    try:
        unpack_correct(tags.get("energytune.correct", ""))
    except ValueError:
        return


TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target("space", _space),
        Target("fix", _fix),
        Target("durations", _durations),
        Target("names", _names),
        Target("smiles csv", _smiles_csv),
        Target("numbers csv", _numbers),
        Target("ogb folder", _ogb),
        Target("input table", _input_table),
        Target("lists", _lists),
        Target("images", _images, 2.0),
        Target("base64", _base64),
        Target("masks", _masks),
        Target("mat files", _mats, 0.1),
        Target("checkpoints", _checkpoint, 2.0),
        Target("archives", _archive),
        Target("tracking journal", _tracking),
        Target("records", _records),
        Target("search folder", _search_folder),
        Target("report", _report, 0.1, "search folder"),
        Target("study", _study),
        Target("caches", _caches),
        Target("models", _models, 0.5),
        Target("requests", _requests),
        Target("registry", _registry),
    )
}
"""By name."""
