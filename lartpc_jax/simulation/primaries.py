"""What both simulations ask of the primaries of an event."""
from collections.abc import Sequence


def check_energies(particles: Sequence[str], kinetic_mev: Sequence[tuple[float, float]]) -> None:
  """Raises ValueError unless there is one range (low, high) of kinetic energies in MeV, or one for each
  particle."""
  if len(kinetic_mev) not in (1, len(particles)):
    raise ValueError(
        f"kinetic_mev needs one range, or one for each of {len(particles)} particles; got {len(kinetic_mev)}."
    )
  for low, high in kinetic_mev:
    if not 0.0 < low <= high < float("inf"):
      raise ValueError(
          f"The kinetic energies must satisfy 0 < minimum <= maximum; got {low:g} and {high:g} MeV.")
