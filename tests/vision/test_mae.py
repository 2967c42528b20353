"""The masked autoencoder: dropped patches stay dropped, and what is learnt is the encoder's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from s2robot.vision.encoders.encoder import IMAGENET_MEAN, IMAGENET_STD, Architecture
from s2robot.vision.encoders.mvp import build_vit
from s2robot.vision.pretrain.mae import MaskedAutoencoder, normalise_patches

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


def test_the_gradient_reaches_all_of_the_encoder_but_its_fixed_embedding() -> None:
    model = made()
    model(torch.rand(2, 3, 128, 128), masks()).backward()
    without = {n for n, p in model.encoder.named_parameters() if p.grad is None or not p.grad.any()}
    assert without == {"pos_embed"}


def test_the_encoder_sees_its_patches_as_the_whole_vit_would() -> None:
    """With attention shut off, so that dropped ones do not matter, its tokens are some of the plain ViT's."""
    model, images = made(), torch.rand(2, 3, 128, 128)
    seen: list[Tensor] = []
    model.encoder.norm.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    with torch.no_grad():
        for block in model.encoder.blocks:
            block.attn.proj.weight.zero_()
        model(images, masks())
        vit = build_vit(SMALL)
        vit.load_state_dict(model.encoder.state_dict())
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


def test_the_loss_falls() -> None:
    model, images, draw = made(), pictures(8), masks()
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
