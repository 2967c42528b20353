"""How much of one encoder's features a linear map reconstructs from another's (S² paper, section 4.2).

The paper's figures: loss l, the mean square error over all tokens and channels; l_0, that of a constant
vector; information I = -log2(l / l_0), in bits (losses and informations of its Table 2 agree with base 2);
and the ratio I / I*, where I* is what a still larger model reconstructs. Here the map is fitted on the
training episodes, in closed form, and all figures are those of held-out episodes.

A fixed camera sees the same table in every frame. So the change is measured too: what is left of both
features when each token's mean over the training frames is taken away.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from s2robot.core.errors import UserError

Of = Literal["all", "change"]

_RIDGES = tuple(10.0**power for power in range(-6, 4))  # times the mean variance of a source's channels
_MOST_BITS = 40.0  # beyond, float32 says nothing
_RESAMPLES = 1000
_CHUNK = 8  # frames


@dataclass(frozen=True)
class Reconstruction:
    """Of a target's features on held-out episodes.

    Attributes:
        losses, dummy_losses: (E,), mean square errors of each held-out episode: of the linear map, and of the
            constant vector that is the target's mean over training tokens.
        ridge: the regularisation, as a share of the mean variance of the source's channels.
    """

    losses: np.ndarray
    dummy_losses: np.ndarray
    ridge: float

    @property
    def loss(self) -> float:
        """l."""
        return float(self.losses.mean())

    @property
    def dummy_loss(self) -> float:
        """l_0."""
        return float(self.dummy_losses.mean())

    @property
    def information(self) -> float:
        """I, in bits."""
        return information(self.loss, self.dummy_loss)

    @property
    def explained(self) -> float:
        """1 - l / l_0: the share of the target's variance."""
        return 1 - self.loss / self.dummy_loss if self.dummy_loss else 0.0

    def standard_error(self) -> float | None:
        """Of the information, by resampling held-out episodes; None where there is but one."""
        return _spread(_resampled(self)) if len(self.losses) > 1 else None

    def ratio(self, reference: Reconstruction) -> tuple[float | None, float | None]:
        """I / I* and its standard error, on the same held-out episodes; None where I* is not above 0."""
        if reference.information <= 0:
            return None, None
        ratio = self.information / reference.information
        ceiling = _resampled(reference)
        sure = len(self.losses) > 1 and (ceiling > 0).all()
        return ratio, _spread(_resampled(self) / ceiling) if sure else None


def information(loss: float, dummy_loss: float) -> float:
    """I = -log2(loss / dummy_loss) in bits, at most 40; 0 of features that are all the same."""
    if dummy_loss <= 0:
        return 0.0
    return -math.log2(max(loss / dummy_loss, 2.0**-_MOST_BITS))


def _resampled(reconstruction: Reconstruction) -> np.ndarray:
    """Informations (1000,) of episodes drawn with replacement; the same draws whatever was reconstructed."""
    count = len(reconstruction.losses)
    picks = np.random.default_rng(0).integers(count, size=(_RESAMPLES, count))
    pairs = zip(reconstruction.losses[picks].mean(1), reconstruction.dummy_losses[picks].mean(1), strict=True)
    return np.array([information(loss, dummy_loss) for loss, dummy_loss in pairs])


def _spread(values: np.ndarray) -> float:
    return float(values.std(ddof=1))


def reconstruct(
    source: Tensor,
    target: Tensor,
    episode: np.ndarray,
    held_out: np.ndarray,
    *,
    tokens: int = 20_000,
    seed: int = 0,
    of: Of = "all",
) -> Reconstruction:
    """The target's features by one linear map, the same for every token, of the source's.

    The ridge is the one that does best on a fifth of the training episodes.

    Args:
        source: (F, 1 + N, C), CLS first; a grid of another size than the target's is resampled to it.
        target: (F, 1 + M, D).
        episode: int (F,), the episode of each frame.
        held_out: numbers of the episodes that figures are taken of.
        tokens: so many, drawn with the seed, of the training frames' tokens are fitted to.
        of: `all`, as the paper, or `change`: tokens less their mean over the training frames.

    Raises:
        UserError: fewer than 2 training episodes, or none held out.
    """
    training = np.setdiff1d(episode, held_out)
    if len(training) < 2 or not np.isin(episode, held_out).any():
        raise UserError(
            f"{len(training)} demos to fit a linear map to, {len(held_out)} held out: expected 2 and 1"
        )
    source = match_grid(source, target.shape[1])
    frames = np.flatnonzero(np.isin(episode, training))
    zero = torch.zeros(())
    places = [_place_mean(f, frames) if of == "change" else zero for f in (source, target)]
    rng = np.random.default_rng([seed, 10])
    picks = rng.permutation(len(frames) * target.shape[1])[:tokens]
    frame, token = frames[picks // target.shape[1]], picks % target.shape[1]
    x, y = (_picked(f, place, frame, token) for f, place in zip((source, target), places, strict=True))
    validation = np.isin(episode[frame], rng.permutation(training)[: max(1, len(training) // 5)])
    ridge = _best_ridge(x, y, torch.from_numpy(validation))
    linear = _Linear(x, y)
    weights = linear.weights(ridge)
    figures = [_losses(linear, weights, source, target, places, episode == e) for e in np.sort(held_out)]
    losses, dummy_losses = np.array(figures).T
    return Reconstruction(losses, dummy_losses, ridge)


def match_grid(features: Tensor, tokens: int) -> Tensor:
    """Tokens (F, 1 + N, C) -> (F, `tokens`, C), the patches resampled by area where their grid differs."""
    if features.shape[1] == tokens:
        return features
    rows, wanted = math.isqrt(features.shape[1] - 1), math.isqrt(tokens - 1)
    patches = rearrange(features[:, 1:].float(), "f (h w) c -> f c h w", h=rows)
    patches = F.interpolate(patches, (wanted, wanted), mode="area")
    patches = rearrange(patches, "f c h w -> f (h w) c")
    return torch.cat([features[:, :1].float(), patches], dim=1)


def _place_mean(features: Tensor, frames: np.ndarray) -> Tensor:
    """(1 + N, C): each token's mean over these frames, without a float32 copy of all of them."""
    total = torch.zeros(features.shape[1:], dtype=torch.float64)
    for start in range(0, len(frames), _CHUNK):
        total += features[frames[start : start + _CHUNK]].double().sum(0)
    return total / len(frames)


def _picked(features: Tensor, place: Tensor, frame: np.ndarray, token: np.ndarray) -> Tensor:
    """Tokens (n, C) in float64."""
    return features[frame, token].double() - (place[token] if place.ndim else place)


class _Linear:
    """Least squares of standardised channels with a ridge, any ridge from one decomposition."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x_mean, self.y_mean = x.mean(0), y.mean(0)
        std = x.std(0, correction=0)
        self.x_std = torch.where(std > 1e-6 * std.max(), std, torch.inf)  # a dead channel says nothing
        x = self.standardise(x)
        self._values, self._vectors = torch.linalg.eigh(x.T @ x / len(x))
        self._product = self._vectors.T @ (x.T @ (y - self.y_mean) / len(x))

    def standardise(self, x: Tensor) -> Tensor:
        return (x - self.x_mean) / self.x_std

    def weights(self, ridge: float) -> Tensor:
        """(C, D)."""
        return self._vectors @ (self._product / (self._values.clamp_min(0) + ridge)[:, None])


def _best_ridge(x: Tensor, y: Tensor, validation: Tensor) -> float:
    linear = _Linear(x[~validation], y[~validation])
    inputs, wanted = linear.standardise(x[validation]), y[validation] - linear.y_mean
    losses = [(wanted - inputs @ linear.weights(ridge)).square().mean().item() for ridge in _RIDGES]
    return _RIDGES[int(np.argmin(losses))]


def _losses(
    linear: _Linear,
    weights: Tensor,
    source: Tensor,
    target: Tensor,
    places: list[Tensor],
    frames: np.ndarray,
) -> tuple[float, float]:
    """Of one episode: the map's loss and the constant vector's."""
    loss, dummy_loss, count = 0.0, 0.0, 0
    for part in np.array_split(np.flatnonzero(frames), math.ceil(frames.sum() / _CHUNK)):
        x, y = (f[part].double() - place for f, place in zip((source, target), places, strict=True))
        wanted = y - linear.y_mean
        loss += (wanted - linear.standardise(x) @ weights).square().sum().item()
        dummy_loss += wanted.square().sum().item()
        count += wanted.numel()
    return loss / count, dummy_loss / count
