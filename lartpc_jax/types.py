"""Array aliases shared by all layers."""
from collections.abc import Callable
from typing import Any

from jaxtyping import Array, Float, Int

Params = Any  # nested dict of arrays, as flax.linen makes it
# network condition; cond["momentum"] is [b 3], already divided by the momentum scale
Cond = dict[str, Array] | None
Images = Float[Array, "b h w"]  # MeV per pixel
ScoreFn = Callable  # (x [b ...], t [b]) -> grad log p_t(x) [b ...]

__all__ = ["Array", "Cond", "Float", "Images", "Int", "Params", "ScoreFn"]
