import pytest
import torch

from energytune.config import load_space
from energytune.data import get_dataset, load_dataset, pretraining_set, scenes
from energytune.data.digits_source import read_digits
from energytune.data.scene_canvas import draw_scene
from energytune.data.splits import TensorSplit
from energytune.science.energy import class_balanced_energy, mean_energy, residual_norms

FINGERPRINTS = ("2eb79fcccf3a4411", "67aa4a657eab35cd")


@pytest.fixture(scope="module")
def splits():
    return load_dataset("digit-scenes")


@pytest.fixture(scope="module")
def pretrain():
    return pretraining_set("digit-scenes")


def test_sizes_that_are_told_are_the_real_ones(splits):
    entry = get_dataset("digit-scenes")
    real = f"{len(splits.train)} train, {len(splits.valid)} valid, {len(splits.test)} test"
    assert entry.sizes == real
    assert entry.n_classes == splits.task.n_classes == len(splits.class_names)
    assert (entry.kind, entry.embedded, entry.pretrains) == ("pixels", True, True)


@pytest.mark.parametrize("name", ["digit-scenes", "voc2012"])
def test_the_default_space_of_a_dataset_begins_with_aspp(name):
    entry = get_dataset(name)
    space = load_space(entry.space)
    assert space.name == entry.space
    assert space.head_arch.choices == ("aspp", "linear")


def test_shapes_and_types(splits):
    assert isinstance(splits.train, TensorSplit)
    images, masks = next(splits.train.batches(16))
    assert (images.shape, images.dtype) == ((16, 3, 64, 64), torch.float32)
    assert (masks.shape, masks.dtype) == ((16, 64, 64), torch.uint8)
    assert splits.test.n_opened == 0
    assert "mIoU on 60 valid" in splits.protocol


def test_every_split_shows_every_class_and_train_is_balanced(splits):
    for split in (splits.train, splits.valid, splits.test.open("test")):
        assert torch.unique(split.targets).tolist() == list(range(6))
        assert 0.75 < float((split.targets == 0).float().mean()) < 0.85
    shown = torch.stack([(splits.train.targets == label).any(2).any(1) for label in range(1, 6)])
    assert bool((shown.sum(dim=1) >= 20).all())


def test_no_digit_is_drawn_twice_across_the_splits_and_pretraining():
    _, digits = read_digits()
    canvases = scenes._downstream_canvases(digits)
    used = [index for part in canvases.values() for canvas in part for index in canvas]
    assert len(used) == len(set(used)) == 4 * (48 + 60 + 100)
    assert bool((digits[used] < 5).all())  # pretraining draws 5 to 9
    drawn = torch.bincount(digits[[i for canvas in canvases["train"] for i in canvas]])
    assert drawn.tolist() == pytest.approx([38.4] * 5, abs=1)


def test_masks_are_where_the_strokes_are():
    """The same canvas is drawn with and without ink: only strokes differ."""
    pixels, _ = read_digits()
    blank = torch.zeros(4, 64, dtype=torch.uint8)
    for index in range(0, 80, 4):
        options = {"side": 64, "n_bars": 2, "name": str(index)}
        inked = draw_scene(pixels[index : index + 4], [1, 2, 3, 4], **options)
        empty = draw_scene(blank, [1, 2, 3, 4], **options)
        changed = (inked.image.int() - empty.image.int()).abs().amax(dim=0)
        assert int(empty.mask.max()) == 0
        stroke = inked.mask > 0
        assert float(changed[stroke].float().mean()) > 5 * float(changed[~stroke].float().mean())
        for label in (1, 2, 3, 4):
            rows, columns = torch.nonzero(inked.mask == label, as_tuple=True)
            extent = max(int(rows.max() - rows.min()), int(columns.max() - columns.min()))
            assert 15 <= extent < 31  # a digit of 22 to 31 pixels, its margins without ink


def test_a_solid_digit_is_masked_as_a_square_of_its_own_colour():
    solid = torch.full((1, 64), 16, dtype=torch.uint8)
    scene = draw_scene(solid, [3], side=32, n_bars=0, name="solid")
    rows, columns = torch.nonzero(scene.mask == 3, as_tuple=True)
    side = int(rows.max() - rows.min()) + 1
    assert side == int(columns.max() - columns.min()) + 1
    assert len(rows) == side * side  # nothing is missing
    assert len(torch.unique(scene.image[:, scene.mask == 3], dim=1).t()) == 1
    background = scene.image[:, scene.mask == 0].float().mean(dim=1)
    assert bool((scene.image[:, rows[0], columns[0]] > background).all())  # lighter


def test_a_scene_depends_on_its_name_alone():
    pixels, _ = read_digits()
    torch.manual_seed(0)
    first = draw_scene(pixels[:4], [1, 2, 3, 4], side=64, n_bars=2, name="a")
    torch.manual_seed(1)
    again = draw_scene(pixels[:4], [1, 2, 3, 4], side=64, n_bars=2, name="a")
    other = draw_scene(pixels[:4], [1, 2, 3, 4], side=64, n_bars=2, name="b")
    assert torch.equal(first.image, again.image)
    assert torch.equal(first.mask, again.mask)
    assert not torch.equal(first.image, other.image)


def test_images_are_standardised(splits, pretrain):
    for images in (splits.train.images, splits.valid.images, pretrain.images):
        assert abs(float(images.mean())) < 0.35
        assert abs(float(images.std()) - 1.0) < 0.25


def test_pretraining_is_on_other_digits_seen_closer(pretrain):
    assert pretrain.images.shape == (2 * 896, 3, 32, 32)
    assert torch.bincount(pretrain.targets).tolist() == [2 * n for n in (182, 181, 179, 174, 180)]
    assert pretrain.task.n_outputs == 5
    assert not torch.equal(pretrain.images[0], pretrain.images[896])  # on another canvas
    assert pretrain.targets[0] == pretrain.targets[896]


def test_splits_never_move(splits, pretrain):
    """A change here makes every earlier result incomparable."""
    assert (splits.fingerprint[:16], pretrain.fingerprint[:16]) == FINGERPRINTS


def test_the_gradient_by_the_logits_is_the_energy(splits):
    """Of the summed loss: probabilities minus target, whose norm is the pixel's energy."""
    task = splits.task
    _, masks = next(splits.train.batches(4))
    masks = masks.clone()
    masks[:, :8] = 255
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 6, 64, 64, generator=generator, dtype=torch.float64)
    logits.requires_grad_(True)
    (task.loss(logits, masks) * task.n_labelled(masks)).backward()
    one_hot = task.soft_targets(masks, dtype=torch.float64)
    labelled = task.labelled(masks)
    probs = torch.softmax(logits.detach(), dim=1)
    expected = (probs - one_hot) * labelled.unsqueeze(1)
    torch.testing.assert_close(logits.grad, expected)
    residual = task.residual(logits.detach(), masks)
    torch.testing.assert_close(residual, -expected)

    norms = residual_norms(logits.grad)
    by_class = [float(norms[masks == label].mean()) for label in masks[labelled].unique()]
    balanced = class_balanced_energy(residual_norms(residual), masks.long(), labelled)
    assert float(balanced) == pytest.approx(sum(by_class) / len(by_class), rel=1e-12)
    plain = mean_energy(residual_norms(residual), labelled)
    assert float(plain) == pytest.approx(float(norms[labelled].mean()), rel=1e-12)


def test_an_empty_head_looks_converged_by_the_plain_energy_only(splits):
    """The reason for a class-balanced energy: four pixels of five are background."""
    masks = splits.train.targets
    logits = torch.zeros(len(masks), 6, 64, 64)
    logits[:, 0] = 4.0  # says background everywhere
    norms = residual_norms(splits.task.residual(logits, masks))
    assert float(mean_energy(norms, splits.task.labelled(masks))) < 0.4
    assert float(class_balanced_energy(norms, masks.long())) > 1.0
