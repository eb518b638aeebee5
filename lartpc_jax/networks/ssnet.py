"""Semantic segmentation of charge images by a residual U-Net (SSNet, Domine & Terao 2020, Phys. Rev. D 102,
012005).

The published network (16 features, 4 strides, two residual modules a level, 4.33 M parameters) normalises
with the statistics of a batch, so that its answer for one image depends on the others. GroupNorm (Wu & He
2018) takes that place.
"""
import flax.linen as nn
import jax
import jax.numpy as jnp

from lartpc_jax.networks.blocks import depth_to_space, space_to_depth


class ResidualModule(nn.Module):
  """Two 3x3 convolutions beside a 1x1 projection (He et al. 2015, fig. 5).

  With `project_always` there is a projection where the shapes already agree too; the published network counts
  those parameters among its 4.33 M.
  """
  features: int
  stride: int
  num_groups: int
  project_always: bool

  @nn.compact
  def __call__(self, x):
    conv = lambda size, stride: nn.Conv(self.features, (size, size), strides=stride)
    norm = lambda: nn.GroupNorm(self.num_groups)
    h = nn.relu(norm()(conv(3, self.stride)(x)))
    h = norm()(conv(3, 1)(h))
    if self.project_always or self.stride > 1 or x.shape[-1] != self.features:
      x = norm()(conv(1, self.stride)(x))
    return nn.relu(x + h)


class SSNet(nn.Module):
  """y [b h w 1], h and w multiples of stem * 2^num_strides -> logits [b h w classes].

  `features_at` stops at an encoder stage: its output is what the Frechet distance compares.

  Attributes:
    num_classes: channels of the logits.
    features: channels of the first level; each stride doubles them.
    num_strides: levels below the first.
    num_modules: residual modules a level, in encoder and decoder.
    stem: folds stem x stem pixels into channels before the first convolution, and back after the last: 1 is
      the published network, 2 is four times cheaper a feature.
    num_groups: of GroupNorm.
    learned_upsampling: transposed 3x3 convolutions as published; otherwise 1x1 and depth to space, a ninth of
      the work.
    project_always: see `ResidualModule`.
  """
  num_classes: int = 3
  features: int = 16
  num_strides: int = 4
  num_modules: int = 2
  stem: int = 1
  num_groups: int = 8
  learned_upsampling: bool = True
  project_always: bool = True

  def setup(self):
    level = lambda width, stride: [
        ResidualModule(width, stride if i == 0 else 1, self.num_groups, self.project_always)
        for i in range(self.num_modules)
    ]
    widths = [self.features * 2**i for i in range(self.num_strides + 1)]
    self.first = nn.Conv(self.features, (3, 3))
    self.first_norm = nn.GroupNorm(self.num_groups)
    self.encoder = [level(width, 2) for width in widths[1:]]
    self.decoder = [level(width, 1) for width in reversed(widths[:-1])]
    if self.learned_upsampling:
      self.up = [nn.ConvTranspose(width, (3, 3), strides=(2, 2)) for width in reversed(widths[:-1])]
    else:
      self.up = [nn.Dense(4 * width) for width in reversed(widths[:-1])]
    self.up_norm = [nn.GroupNorm(self.num_groups) for _ in self.up]
    self.second = nn.Conv(self.features, (3, 3))
    self.second_norm = nn.GroupNorm(self.num_groups)
    self.last = nn.Conv(self.stem**2 * self.num_classes, (3, 3))

  def _stages(self, y: jax.Array) -> list[jax.Array]:
    h = space_to_depth(y, self.stem) if self.stem > 1 else y
    stages = [nn.relu(self.first_norm(self.first(h)))]
    for modules in self.encoder:
      h = stages[-1]
      for module in modules:
        h = module(h)
      stages.append(h)
    return stages

  def features_at(self, y: jax.Array, stage: int) -> jax.Array:
    """Output [b h' w' c] of encoder stage `stage` (0: before the first stride)."""
    return self._stages(y)[stage]

  def __call__(self, y: jax.Array) -> jax.Array:
    *stages, h = self._stages(y)
    for up, norm, modules in zip(self.up, self.up_norm, self.decoder):
      h = up(h) if self.learned_upsampling else depth_to_space(up(h), 2)
      h = jnp.concatenate([nn.relu(norm(h)), stages.pop()], axis=-1)
      for module in modules:
        h = module(h)
    logits = self.last(nn.relu(self.second_norm(self.second(h))))
    return depth_to_space(logits, self.stem) if self.stem > 1 else logits
