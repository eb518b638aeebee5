"""Simulation by an Apache Beam pipeline: each worker makes parts of the shards, as a Slurm array's jobs do.

The workers need this package and the folder of the file (a shared file system). A part that fails is tried
again by the runner; whatever happens, the same command goes on with what is missing.
"""
import dataclasses
from collections.abc import Sequence

from lartpc_jax.data.readers.api import load_extra
from lartpc_jax.experiments import shards, simulate
from lartpc_jax.experiments.protocol import SILENT


def make_part(settings: simulate.Settings) -> tuple[int, int]:
  """What a worker does: makes the part that the settings name, and returns its index and the number of its
  events.
  """
  simulate.execute(settings)
  plan = simulate.make_plan(settings)
  return settings.part[0], sum(shard.count for shard in shards.part_of(plan.shards, settings.part))


def run_parts(settings: simulate.Settings, num_parts: int, options: Sequence[str]) -> None:
  """Simulates all parts of a file and joins them.

  Args:
    settings: without a part.
    num_parts: pieces of work; more than there are workers evens out their loads.
    options: of the pipeline, such as ["--runner=FlinkRunner", ...]; none runs it here (DirectRunner).
  Raises:
    ValueError: as `simulate.execute`; or without apache-beam; or if num_parts < 1.
    OSError: as `simulate.execute` and `simulate.merge`.
  """
  if num_parts < 1:
    raise ValueError(f"num_parts must be at least 1; got {num_parts}.")
  beam = load_extra("apache_beam", "beam")
  from apache_beam.options.pipeline_options import PipelineOptions
  simulate.check_simulation(settings)
  plan = simulate.make_plan(settings)
  if plan.path.exists():
    simulate.execute(settings, SILENT._replace(say=print))  # says that it is complete, or that it is another
    return
  parts = [dataclasses.replace(settings, part=(i, num_parts))
           for i in range(min(num_parts, len(plan.shards)))]
  parts = [dataclasses.replace(part, part=(part.part[0], len(parts))) for part in parts]
  with beam.Pipeline(options=PipelineOptions(list(options))) as pipeline:
    pipeline | beam.Create(parts) | beam.Reshuffle() | beam.Map(make_part)  # noqa: B018
  simulate.merge(plan.path, compress=settings.compress)
