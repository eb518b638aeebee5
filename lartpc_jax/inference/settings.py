"""Settings of a fit, and their defaults; the block `inference` of a config has the same keys. No jax.

A fit draws what a hypothesis looks like, compares it with the images of an event and goes down the
difference, in two stages: the first chooses among the starts that the screening found, the second refines the
one that won.
"""
import dataclasses

MAX_TRACKS = 4


@dataclasses.dataclass(frozen=True)
class Screening:
  """Where a fit from random starts begins; see `inference.screening`."""
  method: str = "distance"     # of pooled images: the "distance", for one track, or "squares", for sets
  num_candidates: int = 1024   # random tracks, drawn once and compared with every event
  beam: int = 256              # by squares: sets that a further track is added to
  num_screened: int = 32       # best on pooled images, which go on to full ones
  num_starts: int = 2          # best of them, refined in the first stage


@dataclasses.dataclass(frozen=True)
class Comparison:
  """What the objective adds up; see `inference.objective`."""
  charge_weight_px: float = 10.0   # pixels for a charge off by 100 %; scattering charge makes it rough
  charge_tolerance: float = 0.05   # draws that lose more than this share to a nucleus do not count
  vertex_radius_px: float = 2.0    # of the weights of the pixels, see `objective.vertex_weights`
  pictures: str = "each"           # view by itself, or their "sum" as one picture
  draws: str = "mean"              # over draws, or their "best"
  vertex_sigma_mm: float = 0.0     # prior width of the vertex, fitted if above 0; else it is the middle
  vertex_weight_px: float = 0.1    # pixels for a nat of that prior


@dataclasses.dataclass(frozen=True)
class Stage:
  """One descent; see `inference.descent`."""
  num_steps: int = 14
  num_draws: int = 4               # of the network, a view, step and track; each may be two images
  learning_rate: float = 0.04      # radians of direction, logits of energy
  final_rate_share: float = 0.1    # last learning rate over the first, on a cosine
  num_averaged: int = 6            # last iterates whose mean is the result
  energy_factor: float = 1.0       # of the rate, for the energy: small where a prior knows it sharply
  vertex_power: float = 3.0        # 0 sees the whole track, its length too; above, its beginning
  prior_weight_px: float = 0.0     # of the amortised density, pixels for a nat


@dataclasses.dataclass(frozen=True)
class Report:
  """How the end of a fit is judged, on draws that it has not seen."""
  num_draws: int = 4               # of the network, a view and track
  num_pixels: int = 128            # brightest pixels of each image that the reported distance sees
  judges_start: bool = True        # too, for the distance that the descent began with
  max_emd_px: float = 3.0          # a fit that ends above this, in any view, has not converged
  max_spread_mev: float = 25.0     # nor one of which the last iterates of a track scatter by more


@dataclasses.dataclass(frozen=True)
class FitSettings:
  """All of a fit. The defaults are those of one proton, from random starts."""
  screening: Screening = Screening()
  comparison: Comparison = Comparison()
  first: Stage = Stage(num_steps=10, num_draws=2, learning_rate=0.06, final_rate_share=2 / 3, num_averaged=1,
                       vertex_power=0.0)
  second: Stage = Stage()
  report: Report = Report()
  coordinates: str = "sphere"      # or "free": (px, py, pz), which needs "sgd"; see `chart.make_chart`
  kinetic_margin_mev: float = 2.0  # the chart reaches this far beyond the trained range
  optimizer: str = "adam"          # or "sgd"
  noise: str = "paired"            # see `draws.NOISES`
  skips_first: bool = True         # where there is one start alone: nothing is to be chosen
