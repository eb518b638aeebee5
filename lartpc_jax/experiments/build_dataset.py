"""Builds a dataset (tensorflow-datasets, array_record) from files that are there."""
import dataclasses

from lartpc_jax.experiments.protocol import Console, setting


@dataclasses.dataclass(frozen=True)
class Settings:
  """What to build, from where, to where."""
  dataset: str | None = setting(None, "What to build.", required=True, choices=(
      "larcv_png64", "lartpc_crops", "lartpc_events512", "protons512", "protons64"))
  manual_dir: str | None = setting(None, "Directory of the source files.", required=True)
  data_dir: str | None = setting(None, "Directory that gets DATASET/VERSION.", required=True)
  num_shards: int | None = setting(None, "Files of a split; default: by size.", lower=1)
  beam: tuple[str, ...] | None = setting(None, "Do the work by Apache Beam, with these options.")


def run(settings: Settings, console: Console) -> None:
  """Builds it and says what it holds."""
  from lartpc_jax.data.datasets.builders import build  # imports tensorflow-datasets, which takes a second
  options = None if settings.beam is None else list(settings.beam)
  builder = build(settings.dataset, settings.manual_dir, settings.data_dir, num_shards=settings.num_shards,
                  beam_options=options)
  sizes = ", ".join(f"{name} {split.num_examples}" for name, split in builder.info.splits.items())
  console.say(f"Built {builder.info.full_name} in {builder.data_dir}: {sizes}.")
