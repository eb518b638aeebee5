"""Held-out crops through codes and back: what launch.reconstruct says of a VQ-VAE."""
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lartpc_jax.build.codes import CODES, load_codes
from lartpc_jax.build.segmentation import build_segmenter
from lartpc_jax.config.blocks import call_with
from lartpc_jax.experiments import pixels
from lartpc_jax.experiments.pictures import save_figure
from lartpc_jax.experiments.protocol import Console
from lartpc_jax.generators import weights as weight_files
from lartpc_jax.generators.codes import state_of_decoded
from lartpc_jax.generators.sparse_state import GapScale, gap_state, image_from_gap_state
from lartpc_jax.metrics import segmentation
from lartpc_jax.plotting.pixels import mosaics
from lartpc_jax.tables import markdown_table, write_json, write_text

HEAD = ("pixels", "lit in both over lit in either", "lit pixels, ratio", "charge, ratio",
        "SSNet: same class, share of pixels", "SSNet: tracks called tracks and showers showers")
NAMES = {"likeliest": "what is likeliest", "drawn": "drawn"}


def holds_codes(weights: str | Path) -> bool:
  """Whether a directory, or the bundled weights of that name, hold codes."""
  return (weight_files.find_weights(weights) / f"{CODES}.json").exists()


def run_codes(settings: Any, console: Console) -> None:
  """Encodes, decodes, compares and draws; settings of launch.reconstruct."""
  network, params, info = load_codes(settings.weights)
  gap = call_with(GapScale, "state", info["state"])
  real = pixels.load_real(settings.data, info, settings.num).holdout[:settings.num]

  @jax.jit
  def through(images, keys):
    quantized, codes = network.quantize(params, network.encode(params, gap_state(images, gap)))
    decoded = network.decode(params, quantized)
    made = [image_from_gap_state(state_of_decoded(decoded, gap, key), gap) for key in (None, keys)]
    return codes, *made

  keys, size = jax.random.split(jax.random.key(0), len(real)), settings.chunk_size
  parts = [through(jnp.asarray(real[i:i + size]), keys[i:i + size]) for i in range(0, len(real), size)]
  codes, *made = (np.concatenate([np.asarray(x) for x in each]) for each in zip(*parts))
  taken = np.bincount(codes.ravel(), minlength=network.num_codes)
  share = taken[taken > 0] / taken.sum()
  usage = {"codes": network.num_codes, "taken": int((taken > 0).sum()),
           "perplexity": float(np.exp(-np.sum(share * np.log(share))))}
  segmenter, _ = build_segmenter()
  of_real = _seen(segmenter, real)
  rows = {name: _compared(real, images, of_real, _seen(segmenter, images)) for name,
          images in zip(NAMES, made)}
  table = markdown_table(HEAD, [(NAMES[name], *(f"{x:.3f}" for x in row.values())) for name,
                                row in rows.items()])
  text = (f"{len(real)} held-out images; {usage['taken']} of {usage['codes']} codes taken, perplexity "
          f"{usage['perplexity']:.1f}\n\n{table}")
  out, count = Path(settings.out), min(settings.grid, len(real))
  columns = int(np.ceil(count**0.5))
  shown = {"held-out": real, **{NAMES[name]: images for name, images in zip(NAMES, made)}}
  save_figure(mosaics(shown, num_columns=columns, max_images=count, inches=max(5.0, 0.6 * columns)),
              out / "reconstruct.png", dpi=110)
  write_json(out / "reconstruct.json", {"usage": usage, "rows": rows, "images": len(real)})
  write_text(out / "reconstruct.md", text)
  console.say(f"{text}\nWrote {out}/reconstruct.md, reconstruct.json, reconstruct.png")


def _seen(segmenter, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Classes of pixels [n h w] by SSNet, and whether images are tracks [n]."""
  probability, _ = segmenter.run(images, lambda share: None)
  found = segmentation.pixel_classes(probability, images)
  counts = segmentation.class_counts(found, len(segmenter.classes))
  return found.predicted, segmentation.is_track(counts)


def _compared(real: np.ndarray, made: np.ndarray, of_real: tuple, of_made: tuple) -> dict[str, float]:
  """The row of HEAD; classes are compared on pixels lit in both."""
  both, either = (real > 0) & (made > 0), (real > 0) | (made > 0)
  return {"iou": both.sum() / max(int(either.sum()), 1),
          "active_ratio": (made > 0).sum() / max(int((real > 0).sum()), 1),
          "charge_ratio": made.sum() / max(float(real.sum()), 1e-9),
          "same_class": float(np.mean((of_real[0] == of_made[0])[both])) if both.any() else float("nan"),
          "same_call": float(np.mean(of_real[1] == of_made[1]))}
