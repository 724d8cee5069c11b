import os
import subprocess
import sys
from pathlib import Path

import pytest

import energytune.data
from energytune.data import (
    DATASETS,
    dataset_status,
    default_data_root,
    get_dataset,
    load_dataset,
)
from energytune.data.catalog import OPEN_DATASETS
from energytune.data.embedded import EMBEDDED_NAMES
from energytune.errors import UnknownNameError

KINDS = {"accuracy": "classes", "roc_auc": "labels", "miou": "pixels"}


def test_every_entry_is_complete():
    images = {"mnist", "stl10", "cifar10", "cifar100", "flowers102", "stanford-cars", "imagenet"}
    molecules = {"molecules", "descriptors", "moltox21", "molhiv", "molpcba"}
    others = {*molecules, "digit-scenes", "voc2012"}
    assert set(DATASETS) >= {*EMBEDDED_NAMES, *images, *others}
    for name, entry in DATASETS.items():
        assert entry.name == name
        assert all((entry.description, entry.sizes, entry.backbone, entry.space))
        assert entry.embedded != bool(entry.where)


@pytest.mark.parametrize("prefix", OPEN_DATASETS)
def test_every_prefix_makes_an_entry_without_a_look_at_the_disk(prefix):
    name = f"{prefix}:/no/such/place"
    entry = get_dataset(name)
    assert entry.name == name
    assert all((entry.description, entry.sizes, entry.backbone, entry.space, entry.where))


@pytest.mark.parametrize("function", [get_dataset, load_dataset])
@pytest.mark.parametrize(("wrong", "near"), [("digit", "digits"), ("STL-10", "stl10")])
def test_unknown_names_show_near_ones(function, wrong, near):
    with pytest.raises(UnknownNameError, match=f"Unknown dataset '{wrong}'.*'{near}'"):
        function(wrong)


@pytest.mark.parametrize("name", [name for name, e in DATASETS.items() if e.embedded])
def test_sizes_that_are_told_are_the_real_ones(name):
    splits = load_dataset(name)
    real = f"{len(splits.train):,} train, {len(splits.valid)} valid, {len(splits.test)} test"
    assert get_dataset(name).sizes == real
    assert get_dataset(name).n_classes == splits.task.n_outputs
    assert get_dataset(name).kind == KINDS[splits.task.metric]


def test_status(tmp_path, stl10_root):
    assert dataset_status(get_dataset("digits")) == (True, "comes with scikit-learn")
    there, text = dataset_status(get_dataset("stl10"), tmp_path / "nowhere")
    assert not there
    assert str(tmp_path / "nowhere" / "stl10_binary") in text
    assert "train_X.bin" in text
    assert dataset_status(get_dataset("stl10"), stl10_root) == (
        True,
        f"in {stl10_root / 'stl10_binary'}",
    )


def test_data_root_can_be_named(monkeypatch):
    monkeypatch.setenv("ENERGYTUNE_DATA", "~/images")
    assert default_data_root() == Path.home() / "images"
    monkeypatch.delenv("ENERGYTUNE_DATA")
    assert default_data_root().name == "energytune"


def test_room_is_lazy():
    assert set(energytune.data.__all__) <= set(dir(energytune.data))
    assert all(hasattr(energytune.data, name) for name in energytune.data.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = energytune.data.nonsense


@pytest.mark.integration
def test_digits_load_no_vision_library_and_no_sklearn_once_cached():
    load_dataset("digits")
    code = (
        "import sys, energytune.data; assert 'torch' not in sys.modules;"
        "energytune.data.load_dataset('digits'); energytune.data.pretraining_set('digits');"
        "print(sorted({'sklearn', 'torchvision', 'timm', 'PIL', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.integration
def test_looking_for_image_datasets_loads_no_heavy_library(tmp_path):
    code = (
        "import sys, energytune.data as d\n"
        "from energytune.data.entries_images import ENTRIES\n"
        "from energytune.data.looked_for import looked_for\n"
        "for entry in (*ENTRIES, d.get_dataset('folder:x'), d.get_dataset('hf:org/x')):\n"
        "    assert not d.dataset_status(entry)[0]\n"
        "    assert looked_for(entry, d.default_data_root())\n"
        "    try: d.ensure_dataset(entry.name, download=False)\n"
        "    except FileNotFoundError: pass\n"
        "heavy = {'torch', 'torchvision', 'timm', 'PIL', 'numpy', 'scipy', 'datasets', 'sklearn'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
        cwd=tmp_path,
        env={**os.environ, "ENERGYTUNE_DATA": str(tmp_path)},
    )
    assert done.stdout.strip() == "[]"
