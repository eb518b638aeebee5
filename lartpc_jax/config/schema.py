"""Settings of training runs and of what they train, with their defaults. No jax.

Blocks of configs have the same keys, and `config.blocks.parse` reads them; a field without a default must
stand in the config. The settings of a fit are in `inference.settings`.
"""
import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Muon:
  """Matrices that Muon trains in place of Adam; see `train.optimizer.make_optimizer`."""
  pattern: str                 # regular expression for names as "block_0/qkv/kernel"
  learning_rate: float         # its own peak, on the schedule of the rest
  weight_decay: float = 0.0


@dataclasses.dataclass(frozen=True)
class Other:
  """Parameters that an Adam of their own trains, a discriminator say; see
  `train.optimizer.make_optimizer`."""
  pattern: str                 # regular expression for names as "discriminator/Dense_0/kernel"
  learning_rate: float         # its own peak, on the schedule of the rest
  b1: float = 0.9
  b2: float = 0.99


@dataclasses.dataclass(frozen=True)
class Optim:
  """Block `optim`: optimiser and moving average of the parameters; see `train.optimizer` and `train.step`."""
  learning_rate: float         # the peak
  warmup_steps: int = 0        # of a linear rise from 0
  schedule: str = "wsd"        # warm-up, stable, then linear decay to 0; or "cosine" or "constant"
  decay_fraction: float = 0.4  # "wsd" only: share of the run that the decay takes
  b1: float = 0.9              # decay of Adam's first moment
  b2: float = 0.99             # and of its second
  weight_decay: float = 0.0    # decoupled, times the learning rate
  grad_clip_norm: float | None = 1.0  # largest global gradient norm; None: any
  ema_decay: float = 0.999     # of the averaged parameters, which evaluations, pictures and weights have
  ema_power: float = 0.0       # if not 0, the average is over a share of the run instead
  muon: Muon | None = None
  other: Other | None = None


@dataclasses.dataclass(frozen=True)
class Train:
  """Block `train`: length and intervals in steps; for all intervals the last step counts as a multiple."""
  num_steps: int                      # counts what was done before a restart
  log_every_steps: int = 100          # a line of means over the interval
  checkpoint_every_steps: int = 1_000
  eval_every_steps: int = 1_000       # 0: never
  draw_every_steps: int = 1_000       # pictures and the loss curve; 0: never
  keep_checkpoints: int = 2           # the newest


@dataclasses.dataclass(frozen=True)
class Run:
  """How a run trains, whatever its task."""
  optim: Optim
  train: Train
  seed: int = 0                # of everything random


@dataclasses.dataclass(frozen=True)
class Sampler:
  """Block `sampler`, besides the knobs of the sampler of that name; see `build.models.build_sampler`."""
  name: str = "dpm_solver_pp_2m"
  num_steps: int = 8                  # an adaptive one takes what it needs
  num_evaluations: int | None = None  # in place of num_steps: as many as so many network evaluations allow
  sigma_max: float = 80.0             # noise over signal at the first time
  sigma_min: float = 0.02             # and at the last
  rho: float = 7.0                    # of the grid (Karras et al. 2022, eq. 5)
  uniform: bool = False               # times uniform from 1 to t_min in place of that grid
  t_min: float = 1e-3


# Of the draws that a fit compares and differentiates: its few steps leave out noise that no pixel shows.
FIT_SAMPLER = Sampler(sigma_min=0.05, sigma_max=30.0)


@dataclasses.dataclass(frozen=True)
class Prediction:
  """Block `prediction`: what the raw network of a denoiser gives; see `diffusion.prediction`."""
  name: str = "edm"            # or "eps", "x0", "v"
  sigma_data: float = 1.0      # standard deviation of the states, "edm" only


@dataclasses.dataclass(frozen=True)
class Loss:
  """Block `loss` of task "generator"; see `train.denoising.make_objective`."""
  name: str = "edm"            # log-normal noise levels; or, t uniform: "prediction", "score", "likelihood"
  p_mean: float = 0.0          # of log sigma, "edm" only
  p_std: float = 1.4           # likewise
  t_min: float = 1e-5          # smallest time of all others
  cond_dropout: float = 0.0    # share of examples trained without their condition, "edm" only


@dataclasses.dataclass(frozen=True)
class StageLoss:
  """Block `loss` of task "cascade_stage"; see `train.sparse_diffusion.stage_task`."""
  p_mean: float = 0.4          # of log sigma
  p_std: float = 1.3
  cond_dropout: float = 0.1    # share of examples trained without their features


@dataclasses.dataclass(frozen=True)
class AutoencoderLoss:
  """Block `loss` of task "autoencoder": weights against the summed squared error."""
  kl_weight: float = 3e-4      # of the KL term, in nats
  charge_weight: float = 10.0  # of the squared relative error of the total charge


@dataclasses.dataclass(frozen=True)
class SegmentationLoss:
  """Block `loss` of task "ssnet"."""
  background_weight: float = 0.1  # of the pixels without charge; see `train.segmentation.pixel_cross_entropy`


@dataclasses.dataclass(frozen=True)
class GanLoss:
  """Block `loss` of task "gan"; see `train.adversarial`."""
  name: str = "relativistic"   # or "non_saturating"
  gamma: float = 1.0           # of the penalties R1 and R2, in units of the state; 0: none
  penalty_share: float = 0.25  # of the examples of a batch that they are taken on


@dataclasses.dataclass(frozen=True)
class CodesLoss:
  """Block `loss` of task "codes"; see `train.codes.codes_task`. The last three are of a learned codebook."""
  commitment: float = 0.25     # weight of the squared distance of a latent to its code
  decay: float = 0.99          # of the averages that make the codes
  revive_below: float = 0.1    # averaged latents of a batch, below which a code starts anew


@dataclasses.dataclass(frozen=True)
class PriorLoss:
  """Block `loss` of tasks "code_prior" and "pixel_sequence"."""
  cond_dropout: float = 0.1    # share of examples trained without their condition


@dataclasses.dataclass(frozen=True)
class Sequences:
  """Block `sequences` of task "pixel_sequence"; see `generators.pixel_sequence`."""
  order: str = "hilbert"       # of the pixels; or "raster"
  num_bins: int = 64           # of charge, equally filled
  short: int = 128             # pixels that the shorter images of a batch are padded to
  long: int = 320              # and the longer ones
  short_share: float = 0.75    # of a batch
  max_pixels: int = 640        # of a drawn image


@dataclasses.dataclass(frozen=True)
class GuideLoss:
  """Block `loss` of task "guide"; see `train.recognition.recognition_task`."""
  p_mean: float = -0.4         # of log sigma
  p_std: float = 1.6


LOSSES = {  # task -> class of its block `loss`
    "autoencoder": AutoencoderLoss, "cascade_stage": StageLoss, "code_prior": PriorLoss, "codes": CodesLoss,
    "gan": GanLoss, "generator": Loss, "guide": GuideLoss,
    "pixel_sequence": PriorLoss, "ssnet": SegmentationLoss}


@dataclasses.dataclass(frozen=True)
class DataSettings:
  """Block `data`. What does not apply to what the path names must keep its default."""
  path: str                         # see data.open
  batch_size: int
  num_holdout: int                  # events; crops of one event count once
  num_evaluation: int = 128         # held-out examples that evaluations look at
  prefetch_batches: int = 2
  contained_only: bool = False      # of rotated events: only those that never leave the window
  readout: Mapping = dataclasses.field(default_factory=lambda: {"on": False})  # see build.data.build_readout
  crop_px: int = 0                  # of exact pictures of voxels: see data.batches.voxel_pool
  order: str = ""                   # of images: "epochs" or "replacement"; "": as the task has it
  symmetries: bool = True           # of images: turn and flip them at random
  scale_mev: float = 0.0            # of images without calibration: MeV of value 1
  nan: str = "refuse"               # of the group's batches: or "skip" events whose images hold NaN
  five_classes: bool = False        # of pixel labels: see data.labels.pixel_table
  delta: str = "shower"
  michel: str = "shower"


def defaults(schema: type) -> dict:
  """Field -> default, of those fields that have one."""
  missing = dataclasses.MISSING
  return {field.name: field.default_factory() if field.default is missing else field.default
          for field in dataclasses.fields(schema) if not field.default is field.default_factory is missing}
