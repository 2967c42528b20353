"""The spatial fit: square frames untouched, others one way, in training as in a rollout."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st

from s2robot.core.errors import UserError
from s2robot.vision.encoders.options import EncoderOptions
from s2robot.vision.features import FeatureExtractor
from s2robot.vision.fit import Box, Fit, box_pixels, fit_frames

FITS = get_args(Fit)
RNG = np.random.default_rng(0)


@pytest.mark.parametrize("fit", FITS)
def test_square_images_are_left_as_they_are(fit: Fit) -> None:
    images = torch.rand(2, 3, 48, 48)
    assert fit_frames(images, fit, 224) is images


@pytest.mark.parametrize("shape", [(30, 40), (40, 30), (18, 32), (31, 40)])
def test_what_each_fit_makes(shape: tuple[int, int]) -> None:
    images = torch.rand(1, 3, *shape)
    height, width = shape
    short, long = min(shape), max(shape)
    top, left = (height - short) // 2, (width - short) // 2
    assert torch.equal(fit_frames(images, "crop", 64), images[..., top : top + short, left : left + short])
    padded = fit_frames(images, "pad", 64)
    assert padded.shape == (1, 3, long, long)
    top, left = (long - height) // 2, (long - width) // 2
    assert torch.equal(padded[..., top : top + height, left : left + width], images)
    assert padded.sum() == pytest.approx(images.sum().item(), rel=1e-5)
    stretched = fit_frames(images, "stretch", 64)
    assert torch.equal(stretched, F.interpolate(images, (64, 64), mode="bicubic"))


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("shape", [(48, 64), (180, 320), (320, 180)])
def test_features_of_any_frame_have_the_shape_that_is_told(fit: Fit, shape: tuple[int, int]) -> None:
    extractor = FeatureExtractor("random-tiny", [32, 64], bf16=False, fit=fit)
    frames = RNG.integers(0, 256, (2, *shape, 3), np.uint8)
    height, width, channels = extractor.map_shape(shape)
    assert extractor(frames).shape == (2, 1 + height * width, channels)
    square = fit != "tiles" or shape == (48, 64)  # 4:3 is nearer to a square than to two of them
    assert (height == width == 2) == square


def test_a_crop_has_the_features_of_its_middle_alone() -> None:
    extractor = FeatureExtractor("random-tiny", [32], bf16=False, fit="crop")
    frames = RNG.integers(0, 256, (1, 48, 64, 3), np.uint8)
    assert np.array_equal(extractor(frames), extractor(frames[:, :, 8:56]))


def test_fits_differ_and_so_do_their_keys() -> None:
    extractors = [FeatureExtractor("random-tiny", [32], bf16=False, fit=fit) for fit in FITS]
    frames = RNG.integers(0, 256, (1, 48, 64, 3), np.uint8)
    assert len({extractor.key for extractor in extractors}) == len(FITS)
    features = [extractor(frames) for extractor in extractors]
    different = {features[FITS.index(fit)].tobytes() for fit in ("crop", "pad", "stretch")}
    assert len(different) == 3


def test_cameras_may_differ_in_size_and_shape() -> None:
    extractor = FeatureExtractor("random-tiny", [32], bf16=False)
    shapes = {"front": (96, 128), "wrist": (64, 64), "side": (96, 128)}
    images = {name: RNG.integers(0, 256, (*shape, 3), np.uint8) for name, shape in shapes.items()}
    features = extractor.of_cameras(images, ["wrist", "side", "front"])
    assert list(features) == ["wrist", "side", "front"]
    for name, found in features.items():
        np.testing.assert_allclose(found, extractor(images[name][None])[0], atol=5e-3)


def test_a_camera_may_have_a_fit_of_its_own_which_is_part_of_the_key() -> None:
    plain = {fit: FeatureExtractor("random-tiny", [32], bf16=False, fit=fit) for fit in ("stretch", "crop")}
    mixed = FeatureExtractor("random-tiny", [32], bf16=False, camera_fit={"front": "crop", "side": "stretch"})
    frame = RNG.integers(0, 256, (48, 64, 3), np.uint8)
    features = mixed.of_cameras({"front": frame, "wrist": frame}, ["wrist", "front"])
    np.testing.assert_allclose(features["front"], plain["crop"](frame[None])[0], atol=5e-3)
    np.testing.assert_allclose(features["wrist"], plain["stretch"](frame[None])[0], atol=5e-3)
    assert mixed.identity["camera_fit"] == {"front": "crop"}
    assert len({e.key for e in (mixed, *plain.values())}) == 3
    same = FeatureExtractor("random-tiny", [32], bf16=False, camera_fit={"front": "stretch"})
    assert same.key == plain["stretch"].key


def test_a_camera_may_be_cropped_which_is_part_of_the_key() -> None:
    box = (0.25, 0.5, 0.75, 1.0)
    plain, cropped = (
        FeatureExtractor("random-tiny", [32], bf16=False, crop=crop) for crop in ({}, {"front": box})
    )
    frame = RNG.integers(0, 256, (48, 64, 3), np.uint8)
    features = cropped.of_cameras({"front": frame, "wrist": frame}, ["wrist", "front"])
    np.testing.assert_allclose(features["front"], plain(frame[None, 24:48, 16:48])[0], atol=5e-3)
    np.testing.assert_allclose(features["wrist"], plain(frame[None])[0], atol=5e-3)
    assert cropped.identity["crop"] == {"front": list(box)}
    assert cropped.key != plain.key


def test_tiles_keep_the_shape_of_what_is_cropped() -> None:
    extractor = FeatureExtractor(
        "random-tiny", [32, 64], bf16=False, fit="tiles", crop={"front": (0, 0, 1, 0.5)}
    )
    frame = RNG.integers(0, 256, (1, 128, 128, 3), np.uint8)
    height, width, _ = extractor.map_shape((128, 128), "front")
    assert (height, width) == (2, 4)
    assert extractor(frame, "front").shape[1] == 1 + height * width


@given(
    box=st.tuples(*[st.floats(0, 1)] * 4).map(
        lambda b: (min(b[::2]), min(b[1::2]), max(b[::2]), max(b[1::2]))
    ),
    frame=st.tuples(st.integers(1, 50), st.integers(1, 50)),
)
def test_a_crop_has_a_pixel_at_least_and_lies_in_the_frame(box: Box, frame: tuple[int, int]) -> None:
    assume(box[0] < box[2] and box[1] < box[3])
    rows, columns = box_pixels(box, frame)
    assert 0 <= rows.start < rows.stop <= frame[0]
    assert 0 <= columns.start < columns.stop <= frame[1]
    assert box_pixels((0, 0, 1, 1), frame) == (slice(0, frame[0]), slice(0, frame[1]))


@pytest.mark.parametrize(
    "box", [(0.5, 0, 0.5, 1), (0, 0.9, 1, 0.1), (-0.1, 0, 1, 1), (0, 0, 1, 1.1), (0, float("nan"), 1, 1)]
)
def test_an_empty_crop_is_refused(box: Box) -> None:
    with pytest.raises(UserError, match=r"encoder\.crop=.*expected \[left, top, right, bottom\]"):
        FeatureExtractor("random-tiny", [32], bf16=False, crop={"front": box})
    with pytest.raises(UserError, match=r"encoder\.crop=.*expected \[left, top, right, bottom\]"):
        EncoderOptions("random-tiny", (32,), crop={"front": box})
