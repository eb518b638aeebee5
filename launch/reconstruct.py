r"""Held-out whole interactions through an autoencoder and back: a picture, and what is lost on the way.

python -m launch.reconstruct --weights=runs/events512_ae/weights --data=lartpc_events_geant4.npz --num=64 \
    --out=runs/events512_rec

Says how far the autoencoder limits a latent diffusion model. Decoded whole, or with --tile in squares of so many latents.
"""
import sys
from pathlib import Path

import numpy as np
from absl import flags

from lartpc_jax import cli

flags.DEFINE_string("weights", None, "Directory of the weights of the autoencoder.", required=True)
flags.DEFINE_string("data", None, "File of interactions; its last events were held out.", required=True)
flags.DEFINE_string("out", None, "Directory of the results.", required=True)
flags.DEFINE_integer("num", 64, "Events: the last ones of the file.", lower_bound=1)
flags.DEFINE_integer("tile", 0, "Latents a side of a tile; 0: the whole image at once.", lower_bound=0)
flags.DEFINE_integer("grid", 4, "Events in the picture.", lower_bound=1)
flags.DEFINE_integer("chunk_size", 4, "Images at once.", lower_bound=1)


def main(argv) -> int:
  del argv
  import jax

  from lartpc_jax.build import models as config_models
  from lartpc_jax.data.open import open_events
  from lartpc_jax.data.pictures import voxel_images
  from lartpc_jax.experiments.pictures import save_figure
  from lartpc_jax.generators.codec import decode_in_tiles
  from lartpc_jax.metrics.pixels import pixel_statistics
  from lartpc_jax.plotting.pixels import mosaics
  f = flags.FLAGS
  trained = config_models.load_autoencoder(f.weights)
  codec = config_models.autoencoder_codec_of(trained, trained.info["latent"], trained.window.shape)
  decode = decode_in_tiles(codec.decode, tile=f.tile, reach=trained.network.decoder_reach) if f.tile else codec.decode
  events = open_events(f.data)
  real = voxel_images(events, np.arange(max(0, len(events) - f.num), len(events)), spec=trained.window)
  run = jax.jit(lambda x: decode(codec.encode(x)))
  decoded = np.concatenate([np.asarray(run(real[i:i + f.chunk_size])) for i in range(0, len(real), f.chunk_size)])
  cut = {"threshold_mev": trained.window.threshold_mev}
  a, b = (pixel_statistics(x, **cut) for x in (real, decoded))
  both = ((real > 0) & (decoded > 0)).sum() / max(int(((real > 0) | (decoded > 0)).sum()), 1)
  lines = [f"{len(real)} events: decoded over real, active pixels {b.active.mean() / a.active.mean():.3f}, charge "
           f"{b.charge.mean() / a.charge.mean():.3f}; active in both over active in either {both:.3f}"]
  out, count = Path(f.out), min(f.grid, len(real))
  inches = 5.0 * max(1, int(np.ceil(count**0.5)))
  save_figure(mosaics({"held-out": real, "decoded": decoded}, num_columns=int(np.ceil(count**0.5)), max_images=count,
                      inches=inches), out / "reconstruct.png", dpi=max(110, real.shape[1] // 5))
  with cli.atomic_write(out / "reconstruct.md") as file:
    file.write("\n".join(lines) + "\n")
  print("\n".join(lines) + f"\nWrote {out}/reconstruct.md, reconstruct.png")
  return 0


if __name__ == "__main__":
  sys.exit(cli.run(main))
