"""Valid files for every target, from which damaged ones are made: ``FOLDER/<target>/<n>/...``.

A real search gives its own files; the others are written by the libraries that write them.
"""

from __future__ import annotations

import gzip
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["load_seeds", "write_seeds"]

Files = dict[str, bytes]


def write_seeds(folder: Path) -> None:
    """Writes the seeds of all targets; the search among them takes some seconds."""
    searched = _search(folder / "searched")
    every: dict[str, list[Files]] = {
        "space": [{"space.yaml": text} for text in _spaces()],
        "fix": _named(
            "tau=8", "head_arch=mlp", "ft_lr=1e-2", "label_smoothing=0.1", "reinit_depth=2"
        ),
        "durations": _named("90s", "1h30m", "1.5h", "2d", "20GB", "512MiB", "1.5TB", "0"),
        "names": _named(
            "digits", "stl10", "csv:/x/y.csv?smiles=mol&labels=a,b%2Cc", "cifar10", "molecules",
            "folder:/data?skip-unreadable", "hf:beans?image=image&label=labels", "csv:x.csv",
            "hf:/data/x",
        ),
        "smiles csv": [
            {"table.csv": _SMILES.encode()},
            {"table.csv": _SMILES.replace(",", ";").encode()},
            {"table.csv.gz": gzip.compress(_SMILES.encode())},
        ],
        "numbers csv": [{"numbers.csv.gz": gzip.compress(_NUMBERS.encode())}],
        "ogb folder": [_ogb()],
        "input table": [
            {"inputs.csv": b"path,label\na.png,0\nb/c.png,1\n", "a.png": _image("PNG", "RGB")},
            {"inputs.csv": b"smiles\nCCO\nc1ccccc1\n"},
            {"inputs.csv": b"0,1,2,3\n4,5,6,7\n"},
            {"lines.smi": b"CCO ethanol\nc1ccccc1\n"},
            {"rows.npy": _npy(np.arange(12.0).reshape(3, 4))},
        ],
        "lists": [
            {"list.txt": b"real/a/1.jpg 0\nreal/b/2.jpg 1\n"},
            {"LOC_val_solution.csv": b"ImageId,PredictionString\na,n01 1 2 3 4\nb,n02 1 2 3 4\n"},
            {"ImageSets/Segmentation/train.txt": b"2007_000032\n2007_000039\n"},
            {"digits-idx1-ubyte": b"\0\0\x08\x01\0\0\0\x04\1\2\3\4"},
            {"digits-idx3-ubyte": b"\0\0\x08\x03\0\0\0\x01\0\0\0\2\0\0\0\2\1\2\3\4"},
        ],
        "images": [{f"image.{name.lower()}": data} for name, data in _images()],
        "base64": [
            {"image.txt": start + _base64("PNG")} for start in (b"", b"data:image/png;base64,")
        ],
        "masks": [{"mask.png": data} for data in _masks()],
        "mat files": [{"labels.mat": data} for data in _mats()],
        "checkpoints": _checkpoints(),
        "archives": [{"data.tar.gz": data} for data in _archives()],
        "tracking journal": [
            _picked(searched, "tracking.jsonl", "tracking.sent", "registration.json")
        ],
        "records": [_picked(searched, "records.jsonl", "search.json")],
        "search folder": [
            _picked(searched, "about.json", "search.json", "records.jsonl", "study.journal")
        ],
        "study": [_picked(searched, "study.journal")],
        "caches": _caches(folder / "cache"),
        "models": _models(searched),
        "requests": [{"request.json": json.dumps(r).encode()} for r in _requests()],
        "registry": [{"tags.json": json.dumps(tags).encode()} for tags in _registry_tags(searched)],
    }  # fmt: skip
    for target, seeds in every.items():
        for number, files in enumerate(seeds):
            for name, content in files.items():
                path = folder / "seeds" / target / str(number) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)


def load_seeds(folder: Path, target: str) -> list[Files]:
    """Returns the seeds of a target."""
    return [
        {
            str(path.relative_to(place)): path.read_bytes()
            for path in sorted(place.rglob("*"))
            if path.is_file()
        }
        for place in sorted((folder / "seeds" / target).iterdir(), key=lambda p: int(p.name))
    ]


_SMILES = (
    "name,smiles,toxic,split\nethanol,CCO,0,train\nbenzene,c1ccccc1,1,train\n"
    '"acid, acetic",CC(=O)O,0,valid\npyridine,c1ccncc1,1,test\nwater,O,,test\n'
)
_NUMBERS = "0,1,2\n3,4.5,-6\n7e3,8,9\n"


def _search(out: Path) -> Path:
    from energytune import tune
    from energytune.config import SearchSpace

    if (out / "about.json").is_file():  # of an earlier call
        return out
    space = {
        "tau": {"low": 0, "high": 4},
        "ft_lr": {"low": 0.01, "high": 0.05, "default": 0.02},
        "finetune": {"epochs": 3},
    }
    tune(
        "digits",
        space=SearchSpace.model_validate(space),
        n_trials=3,
        n_confirm_seeds=1,
        n_confirm_recipes=1,
        concurrency=1,
        out=out,
    )
    return out


def _npy(rows: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, rows)
    return file.getvalue()


def _named(*texts: str) -> list[Files]:
    return [{"text.name": text.encode()} for text in texts]


def _picked(folder: Path, *names: str) -> Files:
    return {name: (folder / name).read_bytes() for name in names if (folder / name).is_file()}


def _spaces() -> list[bytes]:
    from energytune.config import list_spaces

    extra = b"a: &a [1, 2]\ntau: {low: 0, high: 8}\nft_lr: 0.01\nb: *a\n"
    return [*(path.read_bytes() for path in list_spaces().values()), extra]


def _ogb() -> Files:
    atoms = "5,0,4,5,3,0,2,0,0\n" * 5
    tables = {
        "raw/node-feat": atoms,
        "raw/edge": "0,1\n0,1\n1,2\n",
        "raw/graph-label": "0\n1\n",
        "raw/num-node-list": "2\n3\n",
        "raw/num-edge-list": "1\n2\n",
        "mapping/mol": "p_np,smiles,mol_id\n0,CC,a\n1,CCC,b\n",
        "split/scaffold/train": "0\n",
        "split/scaffold/valid": "1\n",
        "split/scaffold/test": "",
    }
    return {f"{name}.csv.gz": gzip.compress(text.encode()) for name, text in tables.items()}


def _picture(mode: str, side: int = 12) -> Any:
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    return picture.quantize(8) if mode == "P" else picture.convert(mode)


def _image(kind: str, mode: str, **options: Any) -> bytes:
    file = io.BytesIO()
    _picture(mode).save(file, kind, **options)
    return file.getvalue()


def _images() -> list[tuple[str, bytes]]:
    from PIL import Image, PngImagePlugin

    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "x" * 2000, zip=True)
    exif = Image.Exif()
    exif[0x010E] = "described"
    kinds = [("PNG", mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")]
    kinds += [("JPEG", "RGB"), ("JPEG", "CMYK"), ("BMP", "RGB"), ("GIF", "P"), ("PPM", "RGB")]
    kinds += [("TIFF", "RGB"), ("TIFF", "F"), ("WEBP", "RGBA")]
    found = [(kind, _image(kind, mode)) for kind, mode in kinds]
    found.append(("PNG", _image("PNG", "RGB", pnginfo=info, exif=exif)))
    found.append(("JPEG", _image("JPEG", "RGB", exif=exif, progressive=True)))
    found.append(("TIFF", _image("TIFF", "RGB", compression="tiff_adobe_deflate")))
    film = [_picture("P"), _picture("P").rotate(90)]
    for kind in ("GIF", "WEBP", "TIFF", "PNG"):
        found.append((kind, _image(kind, "RGB", save_all=True, append_images=film)))
    return found


def _base64(kind: str) -> bytes:
    import base64

    return base64.encodebytes(_image(kind, "RGB"))


def _masks() -> list[bytes]:
    from PIL import Image

    indices = Image.fromarray(np.random.default_rng(1).integers(0, 3, (8, 8), dtype=np.uint8))
    palette = indices.copy()
    palette.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0] + [0] * 759)
    found = []
    for picture in (indices, palette, palette.convert("RGB")):
        file = io.BytesIO()
        picture.save(file, "PNG")
        found.append(file.getvalue())
    return found


def _mats() -> list[bytes]:
    from scipy.io import savemat

    annotations = np.zeros(2, dtype=[("class", "O"), ("fname", "O")])
    annotations["class"], annotations["fname"] = [1, 2], ["a.jpg", "b.jpg"]
    found = []
    for compress in (False, True):
        file = io.BytesIO()
        content = {"labels": np.arange(6), "annotations": annotations, "names": ["a", "b"]}
        savemat(file, content, do_compression=compress)
        found.append(file.getvalue())
    return found


def _checkpoints() -> list[Files]:
    import torch
    from safetensors.torch import save

    from energytune.models import create_backbone

    state = create_backbone("digits-mlp", weights="none", seed=0).module.state_dict()
    state = {name: tensor.contiguous() for name, tensor in state.items()}
    seeds: list[Files] = [{"weights.safetensors": save(state, {"made": "for fuzzing", "n": "{}"})}]
    for old in (False, True):
        nested = {
            "state_dict": {f"module.{k}": v for k, v in state.items()},
            "epoch": 3,
            "args": {},
        }
        file = io.BytesIO()
        torch.save(nested, file, _use_new_zipfile_serialization=not old)
        seeds.append({"weights.bin" if old else "weights.pt": file.getvalue()})
    file = io.BytesIO()
    np.savez(file, weights=np.zeros(4))
    return [*seeds, {"weights.npz": file.getvalue()}]


def _archives() -> list[bytes]:
    import tarfile

    def packed(*names: str) -> bytes:
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w:gz") as archive:
            for name in names:
                member = tarfile.TarInfo(name)
                member.size = 40
                archive.addfile(member, io.BytesIO(b"wanted content, forty bytes of it here!!"))
        return file.getvalue()

    return [
        packed("data/other", "data/wanted.bin"),
        packed("../../wanted.bin"),
        packed("/wanted.bin"),
    ]


def _caches(folder: Path) -> list[Files]:
    """Entries of the cache: features, snapshots, evidence, a paused finetune, a molecule table."""
    from energytune.paths import cache_dir

    seeds: list[Files] = []
    for meta in sorted(cache_dir().rglob("meta.json"))[:2]:
        seeds.append(_picked(meta.parent, "meta.json", "features.npy"))
    for snapshot in sorted(cache_dir().rglob("e0*.safetensors"))[:3]:
        seeds.append({"t/e0000000.safetensors": snapshot.read_bytes()})
    folder.mkdir(parents=True, exist_ok=True)
    for write in (_write_evidence, _write_paused):
        path = folder / f"{write.__name__}.safetensors"
        write(path)
        seeds.append({f"{write.__name__.removeprefix('_write_')}.safetensors": path.read_bytes()})
    return seeds


def _write_evidence(path: Path) -> None:
    from energytune.tasks.evidence import Evidence
    from energytune.trial.evidence_file import write_evidence

    rows = np.zeros((4, 2), np.float32)
    write_evidence(path, Evidence("roc_auc", dict.fromkeys(("scores", "targets"), rows)))


def _write_paused(path: Path) -> None:
    import torch

    from energytune.training.tuner_state import write_state

    model, best = ({"head.weight": torch.zeros(2, 2)} for _ in range(2))
    state = {"model": model, "momentum": {}, "best_model": best, "epoch": 3, "best": None}
    write_state(path, state, {"recipe": "r", "seed": 0}, "")


def _models(searched: Path) -> list[Files]:
    """A registered model's two files, and the exported one."""
    from safetensors.torch import load_file, save

    from energytune.serving.model_files import HEADER_KEY

    note = json.loads((searched / "registration.json").read_text())
    keys = ("spec", "metric", "class_names", "preprocessing", "input_shape", "dataset", "recipe")
    description = {key: note[key] for key in keys} | {"score": note["score"]}
    weights = (searched / note["weights"]).read_bytes()
    about = json.dumps({"description": description, "name": "n", "version": 1})
    tensors = load_file(searched / note["weights"])
    shutil.copyfile(searched / note["weights"], searched / "model.safetensors")
    return [
        {
            "artifacts/description.json": json.dumps(description).encode(),
            "artifacts/model.safetensors": weights,
        },
        {"exported.safetensors": save(tensors, {HEADER_KEY: about})},
    ]


def _requests() -> list[Any]:
    image = _base64("PNG").decode()
    row = [0.0] * 64
    return [
        {"inputs": [row, row]},
        {"inputs": {"image": [image, image]}, "params": {"batch_size": 2}},
        {"inputs": [image]},
        {"inputs": {"smiles": ["CCO", "c1ccccc1"]}},
        {"dataframe_split": {"columns": ["image"], "data": [[image]]}},
        {"dataframe_records": [{"smiles": "CCO"}, {"smiles": "C" * 50}]},
        {"instances": [row]},
    ]


def _registry_tags(searched: Path) -> list[dict[str, str]]:
    from energytune.tracking.versions import pack_correct

    numbers = {"wins": True, "text": "better", "evidence": "e", "level": 0.05, "test": None}
    return [
        {
            "energytune.score": "0.9",
            "energytune.protocol": "p",
            "energytune.correct": pack_correct([True, False] * 50),
            "energytune.numbers": json.dumps(numbers),
            "energytune.promotion.1": json.dumps(
                {"kind": "promote", "version": 1, "before": None, "latest": 1, "by": "me",
                 "at_ms": 1, "reason": "r"}
            ),
        }
    ]  # fmt: skip
