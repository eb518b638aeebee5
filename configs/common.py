"""Blocks shared by the configs, as dicts; the defaults are in `config.schema` and `inference.settings`."""
import dataclasses

from ml_collections import config_dict

from lartpc_jax.config import schema
from lartpc_jax.inference.settings import FitSettings


def variant_of(variants: dict, variant: str) -> dict:
  """variants[variant]. Raises ValueError naming it and the allowed set."""
  if variant not in variants:
    raise ValueError(f"Unknown variant {variant!r}; choose from {sorted(variants)}.")
  return variants[variant]


def protons64_image() -> dict:
  """Geometry of edep_protons64: 64x64 pixels of 3 mm, Gaussian smearing of 1.35 mm, 0.005 MeV threshold."""
  return dict(num_pixels=64, pitch_mm=3.0, sigma_mm=1.35, threshold_mev=0.005)


def events512_image(num_pixels: int = 512) -> dict:
  """Whole interactions: pixels as large as the 3 mm voxels, unsmeared; the cut of
  metrics.pixels.ANALYSIS_THRESHOLD_MEV."""
  return dict(num_pixels=num_pixels, pitch_mm=3.0, sigma_mm=0.0, threshold_mev=0.1)


def events64_image() -> dict:
  """The same of 64x64 crops: launch.simulate's interactions and the Geant4 crops, in pixels of 3 mm."""
  return events512_image(64)


def simpledet256_image() -> dict:
  """Geometry of simpledet pictures: 256x256 pixels of 3 mm with its threshold of 0.005 MeV; deposits are not
  smeared."""
  return dict(num_pixels=256, pitch_mm=3.0, sigma_mm=0.0, threshold_mev=0.005)


def track_frame() -> dict:
  """Pixels in which the networks work: 64 along the projected momentum, 32 across, 2 mm each (see
  geometry/frames.py)."""
  return dict(num_along=64, num_across=32, pitch_mm=2.0, sigma_mm=0.8, start_mm=-24.0, threshold_mev=0.001)


PROTON_KINETIC_MEV = (50.0, 100.0)  # kinetic energies of edep_protons64


def proton_condition() -> dict:
  """Block `condition` of protons: a momentum in units of 500 MeV/c, 310.3 to 444.6 MeV/c by its kinetic
  energy."""
  return dict(momentum_mev=dict(kind="vector", scale=500.0, low=310.0, high=445.0))


def block(kind: type, *names: str, **changes) -> dict:
  """A block: the defaults of a class of `config.schema` but for `changes`; only these fields, if any."""
  values = dataclasses.asdict(kind(**changes))
  return {name: values[name] for name in names} if names else values


def _without(values: dict, *names: str) -> dict:
  return {name: value for name, value in values.items() if name not in names}


def optim(learning_rate: float, num_steps: int, *, warmup_steps: int = 200, **changes) -> dict:
  """Block `optim` of Adam alone, with a warm-up of a quarter of the run at most."""
  warmup_steps = min(warmup_steps, num_steps // 4)
  values = block(schema.Optim, learning_rate=learning_rate, warmup_steps=warmup_steps, **changes)
  return _without(values, "muon", "other")


def intervals(num_steps: int, every: int, **changes) -> dict:
  """Block `train` of a run that logs ten times as often as it saves, evaluates and draws."""
  values = dict(log_every_steps=max(every // 10, 1), checkpoint_every_steps=every, eval_every_steps=every,
                draw_every_steps=every)
  return block(schema.Train, num_steps=num_steps, **{**values, **changes})


def data(values: dict, *names: str) -> dict:
  """Block `data`: path, batch_size, num_holdout and `names`, of `values` or else the defaults."""
  names = ("path", "batch_size", "num_holdout", *names)
  return block(schema.DataSettings, *names, **{name: values[name] for name in names if name in values})


def crops64_data(values: dict, *names: str) -> dict:
  """The same of crops, whose events are held out, not they."""
  found = data(values, *names)
  return {"num_holdout_events": found.pop("num_holdout"), **found}


GRID = ("sigma_min", "sigma_max", "rho")


def sampler(**changes) -> dict:
  """Block `sampler` of so many steps."""
  return block(schema.Sampler, "name", "num_steps", *GRID, **changes)


def stage_sampler(**changes) -> dict:
  """Block `sampler` of a stage of the cascade, of so many evaluations of its network."""
  return block(schema.Sampler, "name", "num_evaluations", *GRID, **changes)


def crops64_states() -> dict:
  """Blocks `state` and `blocks` of the cascade for crops; scales measured on the first 4,096 Geant4 training
  crops."""
  return dict(state=dict(threshold_mev=0.09, charge_scale_mev=0.1, gap=0.8, scale=0.5416),
              blocks=dict(size=4, lit_scale=0.6285, mean=3.34, mean_scale=0.2704))


def crops64_condition(*names: str) -> dict:
  """Block `condition` with these variables of crops: ranges of the data, mean and standard deviation (of
  logarithms)."""
  variables = dict(track_share=dict(kind="scalar", mean=0.45, scale=0.45, low=0.0, high=1.0),
                   charge_mev=dict(kind="scalar", mean=4.2, scale=0.65, low=0.09, high=1e4, log=True),
                   lit_pixels=dict(kind="scalar", mean=4.45, scale=0.5, low=1.0, high=4096.0, log=True))
  return {name: variables[name] for name in names}


EVENTS_WINDOW = dict(size_px=64, step_px=16)  # of the later stages: as large as crops, placed by blocks of 16


def events512_states() -> dict:
  """Blocks `image`, `state`, `blocks` and `told` of the cascade for whole interactions.

  Pixels and 4x4 blocks are in the units of crops; the scales of 16x16 blocks were measured on 400 Geant4
  training pictures.
  """
  states = crops64_states()
  image = {**events512_image(), "threshold_mev": states["state"]["threshold_mev"]}
  return dict(image=image, **states, told=dict(size=16, lit_scale=0.861, mean=2.669, mean_scale=0.2351))


def events512_condition(*names: str) -> dict:
  """Block `condition` with these variables of interactions: numbers of primaries and their kinetic energy,
  with mean and standard deviation of the Geant4 interactions, and ranges beyond them."""
  counts = (f"count_{name}" for name in ("e-", "gamma", "mu-", "proton", "pi+", "pi-"))
  variables = {name: dict(kind="scalar", mean=0.6, scale=0.75, low=0.0, high=10.0) for name in counts}
  variables["kinetic_mev"] = dict(kind="scalar", mean=6.35, scale=0.74, low=5.0, high=1e4, log=True)
  return {name: variables[name] for name in names or variables}


def adversarial(*, rate: float, discriminator_rate: float, warmup: int, b1: float, b2: float) -> dict:
  """Block `optim` of a GAN: an Adam for the generator, another for the discriminator, no clipping."""
  other = schema.Other(r"^discriminator/", discriminator_rate, b1, b2)
  values = block(schema.Optim, learning_rate=rate, warmup_steps=warmup, b1=b1, b2=b2, grad_clip_norm=None,
                 other=other)
  return _without(values, "muon")


def muon(*, rate: float, muon_rate: float, warmup: int) -> dict:
  """Block `optim`: Muon for the matrices of transformer blocks, Adam for the rest, a power average of a
  twentieth."""
  matrices = schema.Muon(r"block_\d+/(qkv|out|expand|contract)/kernel", muon_rate, weight_decay=0.1)
  values = block(schema.Optim, learning_rate=rate, warmup_steps=warmup, b2=0.98, weight_decay=0.01,
                 ema_decay=0.0, ema_power=16.97, muon=matrices)
  return _without(values, "other")


def readout() -> dict:
  """Block `data.readout`: images as a detector would read them out, if `on`; what is not set is nominal.

  Any other field of simulation.readout.ReadoutParams may be added.
  """
  unset = config_dict.placeholder
  return dict(on=False, recombination="box", drift_mm=500.0, electron_lifetime_us=unset(float),
              longitudinal_diffusion_mm2_us=unset(float), transverse_diffusion_mm2_us=unset(float),
              noise_electrons=unset(float), threshold_electrons=unset(float))


def fit_sampler(**changes) -> dict:
  """Sampler of the draws that inference compares and differentiates."""
  return sampler(**{**dataclasses.asdict(schema.FIT_SAMPLER), **changes})


def fit_settings(changes: dict) -> dict:
  """Block `inference`: the defaults of `FitSettings` but for these, block by block."""
  return _changed(dataclasses.asdict(FitSettings()), changes)


def _changed(values: dict, changes: dict) -> dict:
  return {**values, **{key: _changed(values[key], value) if isinstance(value, dict) else value
                       for key, value in changes.items()}}
