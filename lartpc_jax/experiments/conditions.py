"""Is drawn what was asked for? Closure of the condition; fidelity against diversity over guidance scales."""
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import lartpc_jax
from lartpc_jax.build.data import build_data
from lartpc_jax.build.generators import Weights, build_generator
from lartpc_jax.build.guides import build_guide
from lartpc_jax.build.models import build_sampler
from lartpc_jax.data.batches import first
from lartpc_jax.experiments import chunks
from lartpc_jax.experiments.judged import Judge, make_judge
from lartpc_jax.experiments.pictures import save_figure
from lartpc_jax.experiments.protocol import Console, exit_code, setting
from lartpc_jax.experiments.targets import describe_images
from lartpc_jax.generators import condition as condition_lib
from lartpc_jax.generators.generator import make_generate
from lartpc_jax.generators.guide import Guide, steer
from lartpc_jax.keys import root_key
from lartpc_jax.plotting.conditions import scan_figure
from lartpc_jax.tables import markdown_table, write_json, write_text

NUM_DRAWS = 2     # of each condition: their distance is the diversity
BAYES = "guide"   # the row of draws that a guide asks for


@dataclasses.dataclass(frozen=True)
class Settings:
  """Which generator, which conditions, which scales."""
  weights: str | None = setting(None, "Weights: a directory or a name; default: protons64.")
  input: str | None = setting(None, "Events or images with labels, never trained on: the last ones are asked "
                              "for, those before judge.", required=True)
  num: int = setting(500, "Conditions, of as many real images.", lower=10)
  num_reference: int = setting(2000, "Real images before them, to learn types from.", lower=10)
  scales: tuple[str, ...] = setting(("0", "1", "1.5", "2", "3"), "Guidance scales; 0: no condition, 1: none.")
  guide: str = setting("", "Weights of a guide: a further row, of draws by Bayes' rule without a condition.")
  guide_scale: float = setting(1.0, "Power of the guide's likelihood; 1 is Bayes' rule.")
  num_steps: int = setting(8, "Sampler steps.", lower=1)
  sampler: str = setting("dpm_solver_pp_2m", "Name of the sampler.")
  out: str | None = setting(None, "Directory of the results.", required=True)
  chunk_size: int = setting(16, "Conditions at once, with both draws of each.", lower=1)
  seed: int = setting(0, "Seed of the noise.")


class Asked(NamedTuple):
  """What is asked for, and real images of it."""
  images: np.ndarray      # [n h w] MeV
  cond: dict              # name -> [n ...]
  reference: dict         # a batch of other real images, with the same labels


class Row(NamedTuple):
  """How the draws of one row are made."""
  scale: float
  guide: Guide | None = None


def run(settings: Settings, console: Console) -> int:
  """Draws what the directory lacks, and writes conditions.md, conditions.json and conditions.png."""
  scales = _scales(settings.scales)
  weights = build_generator(settings.weights)
  asked = _asked(settings, weights)
  rows, digests = {f"{scale:g}": Row(scale) for scale in scales}, {}
  if settings.guide:
    guide, info = build_guide(settings.guide, weights)
    if not set(guide.labels.variables) & set(asked.cond):
      raise ValueError(f"The guide in {settings.guide} reads {sorted(guide.labels.variables)}, none of what "
                       f"is asked for: {sorted(asked.cond)}.")
    rows[BAYES], digests = Row(0.0, guide), {"guide": info["sha256"], "guide_scale": settings.guide_scale}
  judge = make_judge(weights.generator, asked.images, asked.cond, asked.reference)
  identity = {name: getattr(settings, name) for name in ("num", "num_steps", "sampler", "seed")}
  identity |= {"weights": weights.digests, "version": lartpc_jax.__version__,
               "images": describe_images(asked.images)}
  with console.workdir(settings.out, identity) as out:
    found = {}
    for label, row in rows.items():
      own = {**identity, "guidance_scale": row.scale, **(digests if row.guide else {})}
      images = _draw(settings, make_pairs(settings, weights, row), asked, label, own, out, console)
      if isinstance(images, int):
        console.say("Stopped; what is finished is saved. The same command goes on.")
        return exit_code(images)
      found[label] = images
    _report(settings, judge, found, weights, asked, out, console)
  return 0


def _scales(texts: tuple[str, ...]) -> list[float]:
  try:
    scales = [float(text) for text in texts]
  except ValueError as error:
    raise ValueError(f"Bad --scales={','.join(texts)}: give numbers, such as 0,1,2.") from error
  if len(set(scales)) < len(scales) or not np.isfinite(scales).all():
    raise ValueError(f"Bad --scales={','.join(texts)}: give finite numbers, each once.")
  return sorted(scales)


def _asked(settings: Settings, weights: Weights) -> Asked:
  generator = weights.generator
  if "momentum_mev" not in generator.condition.variables or generator.spec is None:
    raise ValueError("launch.conditions is for generators that are asked for a momentum; this one takes "
                     f"{sorted(generator.condition.variables)}.")
  wanted = {name: variable.classes for name, variable in generator.condition.variables.items()}
  data = build_data({"path": settings.input, "batch_size": 1, "num_holdout": settings.num}, seed=0,
                    spec=generator.spec, wanted=wanted)
  held = first(data.held, settings.num)
  numbers = np.arange(max(0, data.train.num - settings.num_reference), data.train.num)
  cond = condition_lib.as_arrays(generator.condition, {name: held[name] for name in wanted})
  return Asked(np.asarray(held["image"], np.float32), cond,
               jax.tree.map(np.asarray, data.train.read(numbers, None, None)))


def make_pairs(settings: Settings, weights: Weights, row: Row) -> Callable:
  """draw(numbers [b], cond) -> images [b 2 n n] in MeV: two draws of each condition, by the number's key.

  The noise does not depend on the row, so scales compare draw by draw.
  """
  generator = weights.generator
  sampler = build_sampler(generator.denoiser.sde, name=settings.sampler, num_steps=settings.num_steps)

  def steered(score_fn, cond):
    if row.guide is None:
      return score_fn
    wanted = {name: cond[name] for name in row.guide.labels.variables if name in cond}
    return steer(row.guide, generator.denoiser.sde, wanted, guidance_scale=settings.guide_scale)(score_fn)

  @jax.jit
  def draw(numbers, cond):
    root = root_key(settings.seed)
    keys = jax.vmap(lambda i: jax.random.split(jax.random.fold_in(root, i), NUM_DRAWS))(numbers).reshape(-1)
    noise = jax.vmap(lambda key: jax.random.normal(key, generator.codec.state_shape))(keys)
    cond = jax.tree.map(lambda x: jnp.repeat(x, NUM_DRAWS, axis=0), cond)
    images = make_generate(generator, sampler, guidance_scale=row.scale,
                           steer=lambda score_fn: steered(score_fn, cond))(noise, cond)
    return images.reshape(len(numbers), NUM_DRAWS, *images.shape[1:])
  return draw


def _draw(settings: Settings, pairs: Callable, asked: Asked, label: str, identity: dict, out: Path,
          console: Console) -> np.ndarray | int:
  """Images [n 2 h w] of one row, or the signal that stopped it."""
  numbers = np.arange(len(asked.images))

  def compute(chosen: np.ndarray) -> dict[str, np.ndarray]:
    rows = np.resize(chosen, settings.chunk_size)
    cond = {name: values[rows] for name, values in asked.cond.items()}
    return {"images": np.asarray(pairs(rows, cond))[:len(chosen)]}

  directory = out / f"scale_{label}" / "chunks"
  stopped = chunks.run_with_progress(console, f"guidance scale {label}", compute, numbers, unit="condition",
                                     directory=directory, stride=settings.chunk_size, identity=identity)
  if stopped is not None:
    return stopped
  return chunks.load_fields(directory, numbers, ["images"], identity=identity)["images"]


def _report(settings: Settings, judge: Judge, found: dict[str, np.ndarray], weights: Weights, asked: Asked,
            out: Path, console: Console) -> None:
  rows = {label: judge.scan(images) for label, images in found.items()}
  text = markdown_table(judge.head, [judge.real_cells, *(judge.cells(label, row)
                                                         for label, row in rows.items())])
  content = {"settings": settings, "real": judge.real, "scales": rows}
  if "1" in found:
    content["scale_1_is_unguided"] = same = _is_unguided(settings, weights, asked, found["1"])
    text += f"\n\nScale 1 and the conditional sampler without guidance agree bit for bit: {same}."
  if "0" in found:
    content["unconditional"] = judge.unconditional(found["0"])
    text += "\n\n" + "; ".join(f"{name}: p = {x.p_value:.3f}" for name, x in content["unconditional"].items())
    text += " (draws without a condition against real images, Kolmogorov-Smirnov)."
  write_text(out / "conditions.md", text)
  write_json(out / "conditions.json", content)
  save_figure(scan_figure(judge.real, rows, asked.images, found), out / "conditions.png", dpi=120)
  console.say(f"{text}\nWrote {out}/conditions.md, conditions.json, conditions.png")


def _is_unguided(settings: Settings, weights: Weights, asked: Asked, images: np.ndarray) -> bool:
  """Whether draws at scale 1 equal those of a network whose null condition is broken: it is not looked at."""
  raw = weights.generator.denoiser

  def poisoned(params, x, c_noise, cond):
    kept = jnp.where(cond["keep"] > 0.5, 1.0, jnp.nan)
    return raw.apply(params, x, c_noise, cond) * kept[:, None, None, None]

  broken = weights._replace(generator=weights.generator._replace(denoiser=raw._replace(apply=poisoned)))
  rows = np.resize(np.arange(len(images)), settings.chunk_size)
  cond = {name: values[rows] for name, values in asked.cond.items()}
  return bool(np.array_equal(np.asarray(make_pairs(settings, broken, Row(1.0))(rows, cond)), images[rows]))
