"""Detector response of a liquid-argon TPC, as pure JAX functions: from deposited energy to electrons in
pixels.

Recombination, attachment to impurities, diffusion on the way to the anode, electronics noise, threshold and
saturation. Nothing else in the package applies it unless it is asked to: images are in deposited MeV by
default. Left out: the dependence of recombination on the angle to the field (ICARUS, arXiv 2407.12969),
fluctuations of the number of electrons, induction, shaping in time, and space charge.
"""
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lartpc_jax.geometry.rasterize import ImageSpec, to_view, view_axes

MIP_DEDX_MEV_CM = 2.1  # of a minimum-ionising muon in liquid argon, most probable to mean (PDG 2024)
MEAN_CHORD = 2.0 / 3.0  # of a cube of edge 1 over isotropic lines, 4 volume / surface (Cauchy 1841)


class Range(NamedTuple):
  """A parameter and how far it is usually varied."""
  nominal: float
  down: float
  up: float


class ReadoutParams(NamedTuple):
  """Parameters of the response; a pytree of numbers, so that one can differentiate in all of them.

  Nominal, down and up values: PARAMETERS.
  """
  electric_field_kv_cm: float
  density_g_cm3: float
  ionisation_ev: float                  # energy per electron-ion pair
  box_alpha: float                      # modified box model, dimensionless
  box_beta: float                       # (kV/cm)(g/cm2)/MeV
  birks_ab: float                       # Birks' model, dimensionless
  birks_kb: float                       # (kV/cm)(g/cm2)/MeV
  electron_lifetime_us: float
  electron_drift_velocity_mm_us: float
  longitudinal_diffusion_mm2_us: float  # 1e-4 mm2/us is 1 cm2/s
  transverse_diffusion_mm2_us: float
  noise_electrons: float                # rms of a pixel
  threshold_electrons: float            # pixels below are zero
  saturation_electrons: float           # pixels above are cut


# Unless said otherwise the values of larnd-sim (github.com/DUNE/larnd-sim, consts/physics.py), with the
# ranges of its differentiable version (larnd-sim-jax, optimize/ranges.py).
PARAMETERS = ReadoutParams(
    electric_field_kv_cm=Range(0.5, 0.45, 0.55),
    density_g_cm3=Range(1.38, 1.37, 1.41),
    # Miyajima et al. 1974, Phys. Rev. A 9, 1438; range as electrons per MeV
    ionisation_ev=Range(23.6, 19.5, 28.7),
    box_alpha=Range(0.93, 0.85, 1.1),              # ArgoNeuT, JINST 8 (2013) P08005
    box_beta=Range(0.207, 0.18, 0.22),             # ArgoNeuT: 0.212 at 1.383 g/cm3
    birks_ab=Range(0.800, 0.78, 0.88),             # ICARUS, Amoruso et al., NIM A 523 (2004) 275
    birks_kb=Range(0.0486, 0.04, 0.07),            # the same
    electron_lifetime_us=Range(2200.0, 500.0, 5000.0),  # ProtoDUNE-SP: above 10,000 (JINST 15 (2020) P12004)
    electron_drift_velocity_mm_us=Range(1.596, 1.40, 1.80),
    # MicroBooNE: 3.74 cm2/s at 0.274 kV/cm, JINST 16 (2021) P09025
    longitudinal_diffusion_mm2_us=Range(4.0e-4, 2e-4, 9e-4),
    transverse_diffusion_mm2_us=Range(8.8e-4, 4e-4, 14e-4),
    # larnd-sim, fee.py, also 650; MicroBooNE, JINST 12 (2017) P08003
    noise_electrons=Range(500.0, 400.0, 650.0),
    # larnd-sim, fee.py, and its files of low and high thresholds
    threshold_electrons=Range(7e3, 6e3, 12e3),
    # larnd-sim, fee.py: reference voltage 1300 mV less pedestal 580 mV at 4 uV per electron; at 1/221 mV per
    # electron; above the common mode of 288 mV only.
    saturation_electrons=Range(180e3, 159e3, 253e3),
)


def nominal_params() -> ReadoutParams:
  """The nominal value of every parameter."""
  return ReadoutParams(*(value.nominal for value in PARAMETERS))


def varied_params(name: str, side: str) -> ReadoutParams:
  """Nominal values but for parameter `name`, which is "down" or "up". Raises ValueError naming what is
  unknown."""
  if name not in ReadoutParams._fields:
    raise ValueError(f"Unknown readout parameter {name!r}; choose from {sorted(ReadoutParams._fields)}.")
  if side not in ("down", "up"):
    raise ValueError(f"side must be 'down' or 'up'; got {side!r}.")
  return nominal_params()._replace(**{name: getattr(getattr(PARAMETERS, name), side)})


def check_params(params: ReadoutParams) -> None:
  """Raises ValueError naming the parameter and its value unless all are finite, and positive where they must
  be."""
  may_be_zero = ("longitudinal_diffusion_mm2_us", "transverse_diffusion_mm2_us", "noise_electrons",
                 "threshold_electrons")
  for name, value in params._asdict().items():
    bad = not value >= 0 if name in may_be_zero else not value > 0
    if bad or (not np.isfinite(value) and name not in ("electron_lifetime_us", "saturation_electrons")):
      wanted = "0 or positive" if name in may_be_zero else "positive"
      raise ValueError(
          f"{name} must be {wanted} and finite (lifetime and saturation may be infinite); got {value}.")
  if not params.threshold_electrons < params.saturation_electrons:
    raise ValueError(
        f"threshold_electrons must be below saturation_electrons; got {params.threshold_electrons} and "
        f"{params.saturation_electrons}.")


def modified_box(dedx_mev_cm: Float[Array, "*b"], params: ReadoutParams) -> Float[Array, "*b"]:
  """Share of electrons that escape recombination, R = ln(alpha + x) / x with x = beta dE/dx / (rho E).

  Modified box model, ArgoNeuT, JINST 8 (2013) P08005. Below x = 1 - alpha the formula is negative; there R is
  0, as in larnd-sim, although slow deposits recombine less: 0.2 MeV/cm nominally. Differentiable in all but
  that corner.
  """
  x = params.box_beta * dedx_mev_cm / (params.density_g_cm3 * params.electric_field_kv_cm)
  positive = params.box_alpha + x > 1.0
  safe = jnp.where(positive, x, 1.0)
  valid = jnp.where(safe > 0, safe, 1.0)  # alpha > 1 and dE/dx = 0
  return jnp.where(positive & (safe > 0), jnp.log(params.box_alpha + valid) / valid, 0.0)


def birks(dedx_mev_cm: Float[Array, "*b"], params: ReadoutParams) -> Float[Array, "*b"]:
  """Share of electrons that escape recombination, R = A / (1 + k dE/dx / (rho E)) (ICARUS, NIM A 523 (2004)
  275)."""
  return params.birks_ab / (1.0 + params.birks_kb * dedx_mev_cm /
                            (params.density_g_cm3 * params.electric_field_kv_cm))


RECOMBINATION = {
    "box": modified_box, "birks": birks, "none": lambda dedx_mev_cm, params: jnp.ones_like(dedx_mev_cm)
}


def electrons_from_energy(edep_mev: Float[Array, "*b"], params: ReadoutParams) -> Float[Array, "*b"]:
  """Electrons before recombination: deposited energy over the energy of an electron-ion pair."""
  return edep_mev * (1e6 / params.ionisation_ev)


def drift_time_us(electron_drift_mm: Float[Array, "*b"], params: ReadoutParams) -> Float[Array, "*b"]:
  """Time to drift a distance; distances behind the anode count as 0."""
  return jnp.maximum(electron_drift_mm, 0.0) / params.electron_drift_velocity_mm_us


def survival(electron_drift_mm: Float[Array, "*b"], params: ReadoutParams) -> Float[Array, "*b"]:
  """Share of electrons that are not caught by impurities on their way, exp(-t / lifetime)."""
  return jnp.exp(-drift_time_us(electron_drift_mm, params) / params.electron_lifetime_us)


def diffusion_sigma_mm(electron_drift_mm: Float[Array, "*b"], params: ReadoutParams
                       ) -> tuple[Float[Array, "*b"], Float[Array, "*b"]]:
  """Standard deviations (longitudinal, transverse) of a point of electrons after the drift, sqrt(2 D t), in
  mm.

  Einstein 1905. At no drift the gradient is that of the first nanosecond, not infinite.
  """
  time_us = jnp.maximum(drift_time_us(electron_drift_mm, params), 1e-3)
  spread = lambda diffusion: jnp.sqrt(2.0 * jnp.maximum(diffusion, 1e-12) * time_us)
  return spread(params.longitudinal_diffusion_mm2_us), spread(params.transverse_diffusion_mm2_us)


def diffused_image(position_mm: Float[Array, "v 2"], electrons: Float[Array, " v"],
                   sigma_mm: Float[Array, "v 2"], *,
                   num_pixels: int = 64, pitch_mm: float = 3.0) -> Float[Array, "n n"]:
  """Electrons per pixel of points with a Gaussian width each; exact pixel integrals. The origin is the image
  centre.

  Differentiable in positions, electrons and widths (forward and reverse). What falls outside is lost.
  """
  edges = (jnp.arange(num_pixels + 1, dtype=position_mm.dtype) - num_pixels / 2) * pitch_mm
  z = (edges[None, None, :]
       - position_mm[:, :, None]) / (sigma_mm[:, :, None] * np.sqrt(2.0).astype(position_mm.dtype))
  share = 0.5 * jnp.diff(jax.lax.erf(z), axis=-1)
  return jnp.einsum("vi,v,vj->ij", share[:, 0], electrons, share[:, 1])


def add_noise(key: Array, electrons: Float[Array, "*b"], params: ReadoutParams) -> Float[Array, "*b"]:
  """Adds independent Gaussian noise of `noise_electrons` to every pixel."""
  return electrons + params.noise_electrons * jax.random.normal(key, electrons.shape, electrons.dtype)


def digitize(electrons: Float[Array, "*b"], params: ReadoutParams) -> Float[Array, "*b"]:
  """Zero below threshold, cut at saturation. Gradient 1 between the two and 0 outside; none for the two
  themselves."""
  kept = jnp.where(electrons >= params.threshold_electrons, electrons, 0.0)
  return jnp.minimum(kept, params.saturation_electrons)


def calibrated_mev(electrons: Float[Array, "*b"], params: ReadoutParams, *, recombination: str = "box",
                   dedx_mev_cm: float = MIP_DEDX_MEV_CM) -> Float[Array, "*b"]:
  """Electrons as the energy of a minimum-ionising particle that leaves them near the anode, in MeV.

  Raises:
    ValueError: for an unknown recombination model.
  """
  share = _recombination(recombination)(jnp.asarray(dedx_mev_cm, electrons.dtype), params)
  return electrons * (params.ionisation_ev * 1e-6 / share)


def _recombination(name: str) -> Callable:
  if name not in RECOMBINATION:
    raise ValueError(f"Unknown recombination {name!r}; choose from {sorted(RECOMBINATION)}.")
  return RECOMBINATION[name]


def make_readout(params: ReadoutParams | None = None, *, recombination: str = "box", drift_axis: int = 0,
                 drift_mm: float = 500.0, num_pixels: int = 64, pitch_mm: float = 3.0,
                 pixel_sigma_mm: float = 0.0) -> Callable:
  """Builds `readout(key, position_mm [v 3], edep_mev [v], dedx_mev_cm [v]) -> electrons [n n]` of the xy
  view.

  Images of other views: permute the coordinates before (`geometry.rasterize.to_view`) and name the drift axis
  of the view.

  Args:
    params: default `nominal_params()`.
    recombination: "box", "birks" or "none".
    drift_axis: coordinate along the drift: 0 or 1 in the image plane, 2 along the line of sight.
    drift_mm: drift distance of the origin; that of a point is less by its coordinate along the drift axis.
    num_pixels: pixels of a side.
    pitch_mm: edge of a pixel.
    pixel_sigma_mm: further Gaussian smearing, in both directions.
  Returns:
    The function, for a single event; differentiable in positions, energies and dE/dx up to threshold and
    saturation.
  Raises:
    ValueError: for parameters out of range, an unknown model or axis, or sizes that are not positive.
  """
  params = nominal_params() if params is None else params
  check_params(params)
  share = _recombination(recombination)
  if drift_axis not in (0, 1, 2):
    raise ValueError(f"drift_axis must be 0, 1 or 2; got {drift_axis}.")
  if not drift_mm >= 0 or not pixel_sigma_mm >= 0:
    raise ValueError(
        f"drift_mm and pixel_sigma_mm must not be negative; got {drift_mm} and {pixel_sigma_mm}.")
  if num_pixels < 1 or not pitch_mm > 0:
    raise ValueError(f"Need num_pixels >= 1 and pitch_mm > 0; got {num_pixels=}, {pitch_mm=}.")

  def readout(key: Array, position_mm: Float[Array, "v 3"], edep_mev: Float[Array, " v"],
              dedx_mev_cm: Float[Array, " v"]) -> Float[Array, "n n"]:
    distance_mm = drift_mm - position_mm[:, drift_axis]
    electrons = electrons_from_energy(edep_mev, params) * share(dedx_mev_cm, params) * survival(
        distance_mm, params)
    longitudinal, transverse = diffusion_sigma_mm(distance_mm, params)
    widths = [longitudinal if axis == drift_axis else transverse for axis in (0, 1)]
    sigma_mm = jnp.sqrt(jnp.stack(widths, axis=-1) ** 2 + pixel_sigma_mm**2)
    image = diffused_image(position_mm[:, :2], electrons, sigma_mm, num_pixels=num_pixels, pitch_mm=pitch_mm)
    return digitize(add_noise(key, image, params), params)

  return readout


def make_view_readout(params: ReadoutParams | None = None, *, views: tuple[str, ...], spec: ImageSpec,
                      voxel_mm: float, recombination: str = "box", drift_mm: float = 500.0) -> Callable:
  """Builds `readout(key, position_mm [b v 3], edep_mev [b v]) -> images [b k n n]` of a detector, calibrated
  to MeV.

  Electrons drift along x. Energies are those of minimum-ionising particles that leave as many electrons near
  the anode, so dense deposits come out low. The dE/dx of a deposit is its energy over the mean chord of its
  voxel.

  Args:
    params, recombination, drift_mm: as for `make_readout`.
    views: names; views along the axes only.
    spec: geometry of the images; sigma_mm smears on top of diffusion, the threshold is that of `params`.
    voxel_mm: edge of the voxels that the deposits are from.
  """
  params = nominal_params() if params is None else params
  single = [
      make_readout(params, recombination=recombination, drift_axis=view_axes(view).index(0),
                   drift_mm=drift_mm, num_pixels=spec.num_pixels, pitch_mm=spec.pitch_mm,
                   pixel_sigma_mm=spec.sigma_mm) for view in views
  ]

  def readout(key: Array, position_mm: Float[Array, "b v 3"],
              edep_mev: Float[Array, "b v"]) -> Float[Array, "b k n n"]:
    dedx_mev_cm = edep_mev * (10.0 / (MEAN_CHORD * voxel_mm))
    keys = jax.random.split(key, (len(views), edep_mev.shape[0]))
    images = [jax.vmap(one)(keys[i], to_view(position_mm, view), edep_mev, dedx_mev_cm)
              for i, (view, one) in enumerate(zip(views, single, strict=True))]
    return calibrated_mev(jnp.stack(images, axis=1), params, recombination=recombination)
  return readout
