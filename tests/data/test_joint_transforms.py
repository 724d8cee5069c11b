import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from energytune.config import InputConfig
from energytune.data.joint_transforms import UNLABELLED, JointEval, JointTrain, fits
from energytune.errors import ConfigError

RNG = random.Random(0)


def identity(height, width, *, channels=1, interpolation="nearest"):
    """Returns a config whose normalisation only divides by 255, so that values can be told."""
    return InputConfig(
        (channels, height, width), (0.0,) * channels, (1.0 / 255.0,) * channels, interpolation
    )


def picture(height, width, seed=0, high=200):
    values = np.random.default_rng(seed).integers(1, high, (height, width), dtype=np.uint8)
    return Image.fromarray(values)


def as_mask(image):
    """Returns the values of an image that is its own mask; 0 is what lies outside of it."""
    outside = image[0] == 0
    return image[0].round().to(torch.uint8).masked_fill(outside, UNLABELLED)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 40), st.integers(1, 40), st.integers(8, 30), st.integers(8, 30), st.integers()
)
def test_an_image_that_is_its_mask_stays_its_mask(height, width, out_height, out_width, seed):
    scene, config = picture(height, width), identity(out_height, out_width)
    for transform in (JointEval(config), JointTrain(config)):
        image, mask = transform(scene, scene, random.Random(seed))
        assert image.shape == (1, out_height, out_width)
        assert mask.shape == (out_height, out_width)
        assert (image.dtype, mask.dtype) == (torch.float32, torch.uint8)
        assert torch.equal(as_mask(image), mask)


def test_evaluation_pads_right_and_below_and_resizes_nothing():
    scene = picture(5, 7)
    image, mask = JointEval(InputConfig((3, 8, 9)))(scene, scene, RNG)
    assert torch.equal(mask[:5, :7], torch.from_numpy(np.array(scene)))
    assert bool((mask[5:] == UNLABELLED).all() and (mask[:, 7:] == UNLABELLED).all())
    assert bool((image[:, 5:] == 0).all() and (image[:, :, 7:] == 0).all())
    colour = torch.from_numpy(np.array(scene)).float() / 255
    torch.testing.assert_close(image[0, :5, :7], (colour - 0.485) / 0.229)
    assert fits((7, 5), InputConfig((3, 8, 9)))


def test_evaluation_makes_larger_images_fit_with_their_aspect():
    scene = Image.fromarray(np.repeat(np.arange(1, 41, dtype=np.uint8)[None], 20, axis=0))
    config = identity(16, 16)
    assert not fits(scene.size, config)
    image, mask = JointEval(config)(scene, scene, RNG)
    assert bool((mask[8:] == UNLABELLED).all())  # 40 x 20 becomes 16 x 8
    assert bool((mask[:8] != UNLABELLED).all())
    assert bool((mask[0].int().diff() > 0).all())
    assert torch.equal(as_mask(image), mask)


def test_the_mask_alone_is_the_one_of_the_pair():
    transform = JointEval(InputConfig((3, 12, 12)))
    scene, mask = picture(30, 20), picture(30, 20, seed=1)
    assert torch.equal(transform.mask(mask), transform(scene, mask, RNG)[1])


def test_training_scales_crops_and_flips():
    ramp = Image.fromarray(np.repeat(np.arange(1, 33, dtype=np.uint8)[None], 32, axis=0))
    transform = JointTrain(identity(32, 32))
    steps, kept, flips = [], [], 0
    for seed in range(200):
        _, mask = transform(ramp, ramp, random.Random(seed))
        row = mask[0][mask[0] != UNLABELLED].int()
        flips += bool((row.diff() < 0).any())
        steps.append(float(row.diff().abs().float().mean()))
        kept.append(len(row))
    assert 60 < flips < 140
    assert 0.45 < min(steps) < 0.6  # twice as large: half a step a pixel
    assert 1.7 < max(steps) < 2.2  # half as large
    assert min(kept) < 20
    assert max(kept) == 32


def test_the_same_draws_give_the_same_pair():
    transform = JointTrain(InputConfig((3, 16, 16)))
    scene, mask = picture(30, 20), picture(30, 20, seed=1)
    first, again, other = (transform(scene, mask, random.Random(seed)) for seed in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])


def test_identities_tell_stage_and_config():
    a, b = InputConfig((3, 16, 16)), InputConfig((3, 32, 32))
    assert len({t.id for t in (JointEval(a), JointEval(b), JointTrain(a), JointTrain(b))}) == 4


@pytest.mark.parametrize("transform", [JointEval, JointTrain])
def test_a_bad_config_is_refused(transform):
    with pytest.raises(ConfigError, match="1 or 3 channels"):
        transform(InputConfig((2, 16, 16)))
