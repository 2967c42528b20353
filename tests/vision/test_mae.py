"""The masked autoencoder: dropped patches stay dropped, and what is learnt is the encoder's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from s2robot.vision.encoders.encoder import IMAGENET_MEAN, IMAGENET_STD, Architecture
from s2robot.vision.encoders.mvp import build_vit
from s2robot.vision.pretrain.mae import MaskedAutoencoder, normalise_patches
from s2robot.vision.s2 import S2

SMALL = Architecture(width=48, depth=2, heads=3, image_size=128)  # 64 patches


def made(seed: int = 0, **options: Any) -> MaskedAutoencoder:
    torch.manual_seed(seed)
    return MaskedAutoencoder(SMALL, **options)


def pictures(count: int) -> Tensor:
    """Colour gradients, each its own: their dropped parts can be predicted from the kept ones."""
    place = torch.linspace(0, 1, 128)
    tilt = torch.rand(count, 3, 2, generator=torch.manual_seed(0))
    return (tilt[..., :1, None] * place[:, None] + tilt[..., 1:, None] * place) / 2


def masks(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tokens_of(model: MaskedAutoencoder) -> list[Tensor]:
    """What its encoder will give, call by call."""
    seen: list[Tensor] = []
    model.encoder.norm.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    return seen


def without_attention(model: MaskedAutoencoder) -> VisionTransformer:
    """Its encoder as a plain ViT; from now on the tokens of both are each of their own patch alone."""
    with torch.no_grad():
        for block in model.encoder.blocks:
            block.attn.proj.weight.zero_()
    vit = build_vit(SMALL)
    vit.load_state_dict(model.encoder.state_dict())
    return vit


def patches_with_gradient(images: Tensor) -> Tensor:
    """bool (B, N)."""
    assert images.grad is not None
    blocks = images.grad.unfold(2, 16, 16).unfold(3, 16, 16)
    return blocks.abs().amax(dim=(1, 4, 5)).flatten(1) > 0


def test_a_quarter_is_seen_and_another_quarter_predicted() -> None:
    images = torch.rand(3, 3, 128, 128, requires_grad=True)
    made()(images, masks()).backward()
    touched = patches_with_gradient(images)
    assert touched.sum(1).tolist() == [32, 32, 32]  # fewer, if the two could overlap
    assert not torch.equal(touched[0], touched[1])


def test_a_prediction_that_ignores_the_encoder_touches_the_dropped_patches_alone() -> None:
    model = made(keep=0.5, predicted=0.25)
    torch.nn.init.zeros_(model.decoder_head.weight)
    images = torch.rand(1, 3, 128, 128, requires_grad=True)
    model(images, masks()).backward()
    assert patches_with_gradient(images).sum() == 16


def test_a_decoder_has_as_many_blocks_as_are_asked_for() -> None:
    shallow, deep = made(), made(decoder_depth=3, decoder_width=64)
    assert (len(shallow.decoder_blocks), len(deep.decoder_blocks)) == (1, 3)
    images = pictures(2)
    deep(images, masks()).backward()
    assert all(p.grad is not None and p.grad.any() for p in deep.decoder_blocks[1].mlp.parameters())
    assert deep.encoder.state_dict().keys() == shallow.encoder.state_dict().keys()


@pytest.mark.parametrize("scales", [(1,), (1, 2)])
def test_the_gradient_reaches_all_of_the_encoder_but_its_fixed_embedding(scales: tuple[int, ...]) -> None:
    model = made(scales=scales)
    model(torch.rand(2, 3, 128, 128), masks()).backward()
    without = {n for n, p in model.encoder.named_parameters() if p.grad is None or not p.grad.any()}
    assert without == {"pos_embed"}


def test_the_encoder_sees_its_patches_as_the_whole_vit_would() -> None:
    """With attention shut off, so that dropped ones do not matter, its tokens are some of the plain ViT's."""
    model, images = made(), torch.rand(2, 3, 128, 128)
    seen = tokens_of(model)
    vit = without_attention(model)
    with torch.no_grad():
        model(images, masks())
        mean, std = (torch.tensor(t).view(3, 1, 1) for t in (IMAGENET_MEAN, IMAGENET_STD))
        whole = vit.forward_features((images - mean) / std)
    for tokens, expected in zip(seen[0], whole, strict=True):
        distances, nearest = (tokens[:, None] - expected).norm(dim=-1).min(1)
        assert distances.max() < 1e-4
        assert nearest[0] == 0
        assert len(set(nearest.tolist())) == 1 + 16


def test_masks_are_the_generators() -> None:
    model, images = made(), torch.rand(2, 3, 128, 128)
    assert model(images, masks(1)) == model(images, masks(1))
    assert model(images, masks(1)) != model(images, masks(2))


def test_at_one_scale_it_is_what_it_was() -> None:
    """The loss of weights and masks of seed 0 before there were scales."""
    assert made()(pictures(4), masks()).item() == pytest.approx(1.262996, rel=1e-5)


def test_what_is_dropped_is_dropped_at_every_scale() -> None:
    model, images = made(scales=(1, 2)), torch.rand(2, 3, 256, 256)
    seen = tokens_of(model)
    touched = []
    for scale in (slice(0, 2), slice(2, None)):  # the images themselves, then their tiles
        leaf = images.clone().requires_grad_()
        model(leaf, masks())
        (seen.pop()[scale] * torch.rand(1 + 16, 48, generator=masks())).sum().backward()
        assert leaf.grad is not None
        # Without the edges of a cell: resampled, they reach a pixel into the next one.
        cells = leaf.grad.unfold(2, 32, 32).unfold(3, 32, 32)[..., 2:-2, 2:-2]
        touched.append(cells.abs().amax(dim=(1, 4, 5)) > 0)
    assert torch.equal(touched[0], touched[1])
    of_tiles = touched[0].unflatten(2, (2, 4)).unflatten(1, (2, 4)).sum((2, 4))
    assert (of_tiles == 4).all()  # a quarter of each tile's 16 cells
    assert not torch.equal(touched[0][0], touched[0][1])


def test_at_two_scales_the_decoder_takes_features_of_s2() -> None:
    """With attention shut off, so that dropped ones do not matter."""
    model, images = made(scales=(1, 2)), torch.rand(2, 3, 256, 256)
    given: list[Tensor] = []
    model.decoder_embed.register_forward_pre_hook(lambda _module, inputs: given.append(inputs[0]))
    vit = without_attention(model)
    mean, std = (torch.tensor(t).view(3, 1, 1) for t in (IMAGENET_MEAN, IMAGENET_STD))
    with torch.no_grad():
        model(images, masks())
        whole = S2(vit.forward_features, tile=128, scales=(1, 2), prefix_tokens=1)((images - mean) / std)
    for features, expected in zip(given[0], whole, strict=True):
        distances, nearest = (features[:, None] - expected).norm(dim=-1).min(1)
        assert distances.max() < 1e-3
        assert nearest[0] == 0
        assert len(set(nearest.tolist())) == 1 + 16


@pytest.mark.parametrize("scales", [(1,), (1, 2)])
def test_the_loss_falls(scales: tuple[int, ...]) -> None:
    model, images, draw = made(scales=scales), pictures(8 // scales[-1] ** 2), masks()
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3)
    losses = []
    for _ in range(40):
        loss = model(images, draw)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])


def test_patches_are_normalised_but_flat_ones_are_not_blown_up() -> None:
    rough, flat = torch.rand(4, 768, generator=masks()), 0.5 + 1e-4 * torch.rand(4, 768, generator=masks())
    normal = normalise_patches(rough)
    torch.testing.assert_close(normal.mean(-1), torch.zeros(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(normal.std(-1), torch.ones(4), atol=1e-2, rtol=0)
    assert normalise_patches(flat).abs().max() == pytest.approx(0, abs=0.01)
