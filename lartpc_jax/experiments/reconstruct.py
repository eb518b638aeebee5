"""Held-out whole interactions through an autoencoder, or crops through codes, and back: a picture, and what
is lost on the way."""
import dataclasses
from pathlib import Path

import jax
import numpy as np

from lartpc_jax.build import models as config_models
from lartpc_jax.data.open import open_events
from lartpc_jax.data.pictures import voxel_images
from lartpc_jax.experiments.code_reconstruction import holds_codes, run_codes
from lartpc_jax.experiments.pictures import save_figure
from lartpc_jax.experiments.protocol import Console, setting
from lartpc_jax.generators.codec import decode_in_tiles
from lartpc_jax.metrics.pixels import pixel_statistics
from lartpc_jax.plotting.pixels import mosaics
from lartpc_jax.tables import write_text


@dataclasses.dataclass(frozen=True)
class Settings:
  """Which autoencoder, which events."""
  weights: str | None = setting(None, "Directory of the weights of the autoencoder, or of the codes.",
                                required=True)
  data: str | None = setting(None, "File that it was trained on; its last events were held out.",
                             required=True)
  out: str | None = setting(None, "Directory of the results.", required=True)
  num: int = setting(64, "Events: the last ones of the file.", lower=1)
  tile: int = setting(0, "Latents a side of a tile; 0: the whole image at once.", lower=0)
  grid: int = setting(4, "Events in the picture.", lower=1)
  chunk_size: int = setting(4, "Images at once.", lower=1)


def run(settings: Settings, console: Console) -> None:
  """Encodes, decodes, compares and draws."""
  if holds_codes(settings.weights):
    run_codes(settings, console)
    return
  trained = config_models.load_autoencoder(settings.weights)
  codec = config_models.autoencoder_codec_of(trained, trained.info["latent"], trained.window.shape)
  decode = codec.decode
  if settings.tile:
    decode = decode_in_tiles(codec.decode, tile=settings.tile, reach=trained.network.decoder_reach)
  events, size = open_events(settings.data), settings.chunk_size
  real = voxel_images(events, np.arange(max(0, len(events) - settings.num), len(events)), spec=trained.window)
  through = jax.jit(lambda x: decode(codec.encode(x)))
  decoded = np.concatenate([np.asarray(through(real[i:i + size])) for i in range(0, len(real), size)])
  a, b = (pixel_statistics(x, threshold_mev=trained.window.threshold_mev) for x in (real, decoded))
  both = ((real > 0) & (decoded > 0)).sum() / max(int(((real > 0) | (decoded > 0)).sum()), 1)
  text = (f"{len(real)} events: decoded over real, active pixels {b.active.mean() / a.active.mean():.3f}, "
          f"charge {b.charge.mean() / a.charge.mean():.3f}; active in both over active in either {both:.3f}")
  out, count = Path(settings.out), min(settings.grid, len(real))
  columns = int(np.ceil(count**0.5))
  figure = mosaics({"held-out": real, "decoded": decoded}, num_columns=columns, max_images=count,
                   inches=5.0 * max(1, columns))
  save_figure(figure, out / "reconstruct.png", dpi=max(110, real.shape[1] // 5))
  write_text(out / "reconstruct.md", text)
  console.say(f"{text}\nWrote {out}/reconstruct.md, reconstruct.png")
