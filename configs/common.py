"""Blocks shared by the configs, as plain dicts."""


def variant_of(variants: dict, variant: str) -> dict:
  """variants[variant]. Raises ValueError naming it and the allowed set."""
  if variant not in variants:
    raise ValueError(f"Unknown variant {variant!r}; choose from {sorted(variants)}.")
  return variants[variant]


def protons64_image() -> dict:
  """Geometry of edep_protons64: 64x64 pixels of 3 mm, Gaussian smearing of 1.35 mm, 0.005 MeV threshold."""
  return dict(num_pixels=64, pitch_mm=3.0, sigma_mm=1.35, threshold_mev=0.005)


def events512_image(num_pixels: int = 512) -> dict:
  """Whole interactions: pixels as large as the 3 mm voxels, unsmeared; the cut of metrics.pixels.ANALYSIS_THRESHOLD_MEV."""
  return dict(num_pixels=num_pixels, pitch_mm=3.0, sigma_mm=0.0, threshold_mev=0.1)


def track_frame() -> dict:
  """Pixels in which the networks work: 64 along the projected momentum, 32 across, 2 mm each (see data/frames.py)."""
  return dict(num_along=64, num_across=32, pitch_mm=2.0, sigma_mm=0.8, start_mm=-24.0, threshold_mev=0.001)


def proton_condition() -> dict:
  """Condition p / (500 MeV/c), kinetic energies as in edep_protons64."""
  return dict(momentum_scale_mev=500.0, kinetic_range_mev=(50.0, 100.0))


def intervals(num_steps: int, every: int) -> dict:
  """Block `train` of a run that logs ten times as often as it saves, evaluates and draws."""
  return dict(num_steps=num_steps, log_every_steps=max(every // 10, 1), checkpoint_every_steps=every,
              eval_every_steps=every, draw_every_steps=every, keep_checkpoints=2)
