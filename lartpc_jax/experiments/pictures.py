"""Pictures of an inference run: one an event, and one of all errors."""
import os
from pathlib import Path

import numpy as np

from lartpc_jax.experiments import chunks
from lartpc_jax.files import atomic_write
from lartpc_jax.inference.errors import fold, line_of_sight_angle, momentum_error
from lartpc_jax.inference.surface import from_plane, to_plane
from lartpc_jax.plotting.inference import Surface, event_figure, summary_figure

GRID = 13             # points a side of the loss surface
MIN_HALF_WIDTH = 0.2  # radians
MARGIN = 1.15


def save_figure(figure, path: str | os.PathLike, *, dpi: int = 110) -> Path:
  """Writes a PNG whole or not at all; makes its directory."""
  path = Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  with atomic_write(path, "wb") as file:
    figure.savefig(file, format="png", dpi=dpi, pil_kwargs={"optimize": True})
  return path


def draw_pictures(job, out: Path, directory: Path, momentum_mev: np.ndarray, *, num_pictures: int,
                  failed: list[int] = ()
         ) -> list[Path]:
  """Draws summary.png, the first `num_pictures` events of a `runs.infer.Job` and as many failures; what is
  there stays.

  Args:
    job: the run.
    out: where `summary.png` and `events` go.
    directory: of the chunks.
    momentum_mev: inferred momenta [n 3].
    num_pictures: events drawn.
    failed: events that failed, the worst first; their pictures go into `failures`.
  Returns:
    The paths, summary first.
  """
  paths = [save_figure(_summary(job, momentum_mev), out / "summary.png")]
  for folder, events in (("events", job.events[:num_pictures]), ("failures", failed[:num_pictures])):
    for event in events:
      path = out / folder / f"event_{event:05d}.png"
      if not path.exists():
        save_figure(_event(job, directory, int(np.flatnonzero(job.events == event)[0])), path)
      paths.append(path)
  return paths


def _summary(job, momentum_mev):
  true_mev, baselines = job.data.momentum_mev, job.baselines
  error = lambda p, reference: momentum_error(p, reference, job.views)
  if true_mev is None:
    reference, errors = momentum_mev, {"inferred - classical": error(momentum_mev, baselines["classical"])}
  else:
    reference = true_mev
    errors = {name: error(p, true_mev) for name, p in {"inferred": momentum_mev, **baselines}.items()}
  return summary_figure(errors, magnitude_mev=np.linalg.norm(reference, axis=1),
                        angle_degrees=line_of_sight_angle(reference, job.views),
                        of="inferred" if true_mev is None else "true")


def _event(job, directory: Path, index: int):
  event, targets = job.events[index], job.data.images[index]
  saved = chunks.load_fields(directory, job.events[[index]],
                             ["momentum_mev", "trajectory", "values", "images"],
                             identity=job.identity)
  saved = {name: array[0] for name, array in saved.items()}
  marks = {"start": saved["trajectory"][0], **{name: p[index] for name, p in job.baselines.items()},
           "inferred": saved["momentum_mev"]}
  if job.data.momentum_mev is not None:
    marks["truth"] = job.data.momentum_mev[index]
  title = f"event {event}: " + ",  ".join(
      f"{name} ({p[0]:.0f}, {p[1]:.0f}, {p[2]:.0f})" for name, p in marks.items()
      if name != "start") + " MeV/c"
  return event_figure(targets, saved["images"], views=job.views, values=saved["values"],
                      surface=_surface(job, targets, saved, marks), title=title)


def _surface(job, targets: np.ndarray, saved: dict, marks: dict) -> Surface | None:
  """The objective over directions around the result; None if there is no finite result."""
  centre = saved["momentum_mev"]
  if not np.isfinite(saved["trajectory"]).all():
    return None
  # of two mirror images in a single view, the one on the side of the result
  marks = {name: fold(p, job.views, like=centre) if name in ("truth", *job.baselines) else p
           for name, p in marks.items()}
  trajectory = to_plane(saved["trajectory"], centre)
  points = {name: to_plane(p[None], centre)[0] for name, p in marks.items()}
  farthest = np.abs(np.concatenate([trajectory, *(p[None] for p in points.values())])).max()
  half_width = min(max(MIN_HALF_WIDTH, MARGIN * farthest), np.pi)
  axis = np.linspace(-half_width, half_width, GRID)
  offsets = np.stack(np.meshgrid(axis, axis, indexing="xy"),
                     axis=-1)  # [rows: second coordinate, columns: first, 2]
  momenta = from_plane(offsets.reshape(-1, 2), centre).reshape(GRID, GRID, 3)
  return Surface(axis, job.surface(targets, momenta), trajectory, points)
