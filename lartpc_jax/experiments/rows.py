"""The metrics of a report as rows: one sample against the reference, part by part."""
import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from lartpc_jax.build.segmentation import build_image_classifier
from lartpc_jax.experiments.samples import Sample
from lartpc_jax.metrics import (
  c2st,
  frechet,
  gof,
  histograms,
  memorisation,
  momentum as closure,
  neighbours,
  particles,
)
from lartpc_jax.metrics.estimate import Estimate, mean_estimate, share_estimate
from lartpc_jax.transport.divergence import sinkhorn_divergence

UNMEASURABLE = (ValueError, ArithmeticError, np.linalg.LinAlgError)  # what degenerate samples raise


class Row(NamedTuple):
  """One number of one sample."""
  part: str
  name: str
  definition: str      # "published" or "corrected"
  worse: int           # 1: larger is worse, -1: smaller is worse, 0: neither (information)
  estimate: Estimate
  note: str = ""


def measured(part: str, name: str, definition: str, worse: int, measure: Callable, note: str = "") -> Row:
  """The row of `measure() -> Estimate`; NaN and the reason as its note where the samples do not allow it."""
  try:
    return Row(part, name, definition, worse, measure(), note)
  except UNMEASURABLE as error:
    return Row(part, name, definition, worse, Estimate(float("nan")), f"not measured: {error}")


class Extra(NamedTuple):
  """What figures need, beside the rows."""
  histograms: dict[str, tuple]   # name -> (edges, reference [n], sample [m])
  calibrations: dict             # classifier -> (Calibration, probability [n + m], number of real ones)


class Tools(NamedTuple):
  """What parts get from outside."""
  settings: dict                  # blocks of the config, by part
  level_mev: float
  training: np.ndarray | None     # images [n h w] MeV the generators were trained on
  index: object                   # EmdIndex of them, or None
  cache: dict                     # results on the reference alone, kept between columns


def physics(reference: Sample, sample: Sample, tools: Tools, extra: Extra) -> list[Row]:
  """Histograms of counts, certainty, length, width and shower charge."""
  rows = []
  widths = {"track length [px]": histograms.LENGTH_BIN_PX, "track width [px]": histograms.WIDTH_BIN_PX,
            "shower charge": histograms.CHARGE_BIN_LEVELS * tools.level_mev}
  for definition in ("published", "corrected"):
    real = particles.quantities(reference.particles[definition], definition=definition)
    fake = particles.quantities(sample.particles[definition], definition=definition)
    for name, values in real.items():
      if name in widths:
        edges = histograms.bin_edges(values, fake[name], width=widths[name])
      elif definition == "published":
        continue
      else:
        edges = histograms.quantile_bins(values, 20)
      if definition == "published":
        value = histograms.published_chi2(values, fake[name], edges)
        bins = max(int((np.histogram(values, edges)[0] > 0).sum()), 1)
        rows.append(Row("physics", f"{name}: chi2", definition, 1,
                        Estimate(value, float(np.sqrt(2.0 * bins)))))
        continue
      entries = f"{len(values)} and {len(fake[name])} entries"
      if len(edges) < 3:
        entries += ", all of the reference alike: no histogram"
      else:
        extra.histograms[name] = (edges, values, fake[name])
      rows.append(Row("physics", f"{name}: chi2/ndf", definition, 1,
                      histograms.reduced_chi2(values, fake[name], edges),
                      entries))
      rows.append(Row("physics", f"{name}: KS", definition, 1,
                      histograms.kolmogorov_smirnov(values, fake[name])))
  found = sample.particles["corrected"]
  rows.append(Row("physics", "track images, share", "corrected", 0, share_estimate(found.is_track)))
  if found.is_track.any():
    empty = share_estimate(particles.empty_tracks(found))
    rows.append(Row("physics", "tracks without a cluster, share", "corrected", 0, empty))
  rows.append(Row("physics", "label certainty, mean", "corrected", 0, mean_estimate(found.certainty)))
  return rows


def goodness_of_fit(reference: Sample, sample: Sample, tools: Tools, extra: Extra, *, num_permutations: int,
                    num_projections: int, transport_batch: int, transport_batches: int, sinkhorn_batch: int,
                    sinkhorn_batches: int, sinkhorn_epsilon: float, published_sinkhorn: bool) -> list[Row]:
  """MMD, energy distance, sliced and exact Wasserstein, Sinkhorn divergence on flattened images in MeV;
  occupancy.
  """
  x, y = (s.images.reshape(len(s.images), -1) for s in (reference, sample))
  if "within" not in tools.cache:
    tools.cache["within"] = gof.distances_within(x)
  pooled = gof.pooled_distances(x, y, within_x=tools.cache["within"])
  test = dict(num_permutations=num_permutations)
  row = functools.partial(measured, "gof")
  rows = [row("MMD^2, Gaussians", "corrected", 1, lambda: gof.mmd(pooled, len(x), kernel="gauss", **test)),
          row("MMD^2, Laplacian", "corrected", 1, lambda: gof.mmd(pooled, len(x), kernel="laplace", **test)),
          row("MMD^2, six Gaussians", "published", 1,
              lambda: gof.published_mmd(x, y, level=tools.level_mev, **test)),
          row("energy distance [MeV]", "corrected", 1, lambda: gof.energy_distance(pooled, len(x), **test))]
  scale = gof.median_distance(pooled)
  pooled = None  # before the transports need memory
  rows.append(row("sliced W1 [MeV]", "corrected", 1,
                  lambda: gof.sliced_wasserstein(x, y, num_projections=num_projections)))
  rows.append(row("occupancy of pixels: chi2/pixel", "corrected", 1,
                  lambda: gof.occupancy_test(x, y, **test)))
  rows.append(row("W1 [MeV]", "published", 1,
                  lambda: gof.wasserstein(x, y, batch_size=transport_batch, max_batches=transport_batches),
                  f"batches of {min(transport_batch, len(x), len(y))}"))
  settings = [("corrected", 2, 0.5 * (sinkhorn_epsilon * scale)**2, {})]
  if published_sinkhorn:
    settings.append(("published", 1, 0.1 * tools.level_mev,
                     dict(double=True, threshold=1e-8, max_iterations=20_000)))
  for definition, p, epsilon, how in settings:
    divergence = lambda *costs, epsilon=epsilon, how=how: sinkhorn_divergence(*costs, epsilon=epsilon, **how)
    errors = []

    def sinkhorn(divergence=divergence, p=p, epsilon=epsilon, errors=errors):
      estimate, error = gof.sinkhorn(x, y, divergence, p=p, batch_size=sinkhorn_batch,
                                     max_batches=sinkhorn_batches)
      errors.append(f"eps {epsilon:.3g}, batches of {sinkhorn_batch}, marginal error {error:.1g}")
      return estimate
    found = row(f"Sinkhorn divergence, p={p}", definition, 1, sinkhorn)
    rows.append(found._replace(note=errors[0]) if errors else found)
  return rows


def frechet_rows(reference: Sample, sample: Sample, tools: Tools, extra: Extra, *,
                 num_published: int) -> list[Row]:
  """SSNet-FID as published and pooled and extrapolated, KPD."""
  stages = [s.stage.reshape(len(s.stage), -1)[:num_published] for s in (reference, sample)]
  pooled = [s.stage.mean((1, 2)) for s in (reference, sample)]
  row = functools.partial(measured, "frechet")
  rows = [row("SSNet-FID", "published", 1, lambda: Estimate(frechet.frechet_distance(*stages)),
              f"{stages[0].shape[1]} dimensions, {len(stages[0])} and {len(stages[1])} images")]
  dimension = pooled[0].shape[1]
  enough = min(len(p) for p in pooled) >= 3 * dimension
  rows.append(row("SSNet-FID, infinite N", "corrected", 1,
                  lambda: frechet.extrapolated_frechet(*pooled) if enough else Estimate(float("nan")),
                  f"{dimension} dimensions" + ("" if enough else f": needs {3 * dimension} images")))
  rows.append(row("KPD", "corrected", 1, lambda: frechet.kernel_distance(*pooled)))
  return rows


def classifiers(reference: Sample, sample: Sample, tools: Tools, extra: Extra, *, cnn_folds: int,
                cnn_epochs: int, cnn_images: int, boosting_folds: int, augment: bool,
                progress: Callable = lambda share: None) -> list[Row]:
  """Classifier two-sample tests."""
  boosting = c2st.cross_validated_test(reference.features, sample.features, c2st.gradient_boosting(),
                                       num_folds=boosting_folds)
  progress(0.1)
  share = lambda done: progress(0.1 + 0.9 * done / (cnn_epochs * cnn_folds))
  fit = build_image_classifier(num_epochs=cnn_epochs, augment=augment, progress=share)
  cnn = c2st.cross_validated_test(reference.images[:cnn_images], sample.images[:cnn_images], fit,
                                  num_folds=cnn_folds)
  rows = []
  for name, result, count in (("boosting on physics", boosting, len(reference.features)),
                              ("CNN on images", cnn, min(cnn_images, len(reference.images)))):
    extra.calibrations[name] = (result.calibration, result.probability, count)
    rows.append(Row("c2st", f"AUC, {name}", "corrected", 1, result.auc,
                    f"calibration error {result.calibration.expected_error:.3f}"))
  return rows


def memory(reference: Sample, sample: Sample, tools: Tools, extra: Extra, *, num_neighbours: int,
           num_emd_queries: int,
           progress: Callable = lambda share: None) -> list[Row]:
  """Copies of training images, duplicates, precision, recall, density, coverage."""
  flat = lambda images: images.reshape(len(images), -1)
  rows = [Row("memorisation", "duplicates, share", "corrected", 1,
              memorisation.duplicate_rate(flat(sample.images)))]
  cover = memorisation.coverage(reference.stage.mean((1, 2)), sample.stage.mean((1, 2)),
                                num_neighbours=num_neighbours)
  rows += [Row("memorisation", name, "corrected", -1, estimate) for name, estimate in cover._asdict().items()]
  if tools.training is None:
    return rows
  training, queries = flat(tools.training), flat(sample.images)
  if "distinct" not in tools.cache:
    tools.cache["distinct"] = neighbours.distinct(training)
  nearest, _ = neighbours.nearest_l2(queries, tools.cache["distinct"], num_neighbours=2)
  size = min(len(training), len(reference.images))
  chosen = np.random.default_rng(0).permutation(len(training))[:size]
  pool = np.concatenate([training[chosen], flat(reference.images)[:size]])
  closeness = memorisation.closer_to_training(*neighbours.nearest_l2(queries, pool, num_neighbours=20), size,
                                              size)
  rows += [Row("memorisation", "copies of training images, share", "corrected", 1,
               memorisation.copy_rate(nearest, np.linalg.norm(queries, axis=1))),
           Row("memorisation", "closer to training than to held-out, share", "corrected", 1,
               closeness.share, f"{size} images each"),
           Row("memorisation", "distance ratio, training / (training + held-out)", "corrected", -1,
               closeness.ratio,
               f"{size} images each")]
  if num_emd_queries and tools.index is not None:
    found = neighbours.nearest_emd(tools.index, neighbours.build_index(sample.images[:num_emd_queries]),
                                   num_neighbours=5,
                                   progress=lambda done: progress(done / num_emd_queries))
    rows.append(Row("memorisation", "EMD to the nearest training image [px]", "corrected", -1,
                    mean_estimate(found.distance[:, 0]),
                    f"{num_emd_queries} queries, {found.num_exact.mean():.0f} exact distances each of "
                    f"{len(training)}"))
    rows.append(Row("memorisation", "EMD ratio to the second, mean", "corrected", -1,
                    mean_estimate(found.distance[:, 0] / np.maximum(found.distance[:, 1], 1e-9))))
    tools.cache[("emd", sample.name)] = found
  return rows


def momentum(reference: Sample, sample: Sample, tools: Tools, extra: Extra) -> list[Row]:
  """Momentum closure, where both know their momenta."""
  if "regression" not in tools.cache:
    tools.cache["regression"] = closure.fit_regression(reference.features, reference.momentum_mev)
  result = closure.momentum_closure(*tools.cache["regression"], sample.features, sample.momentum_mev)
  rows = []
  for name in closure.COMPONENTS:
    bias, width = result.bias[name], result.width[name]
    rows += [Row("momentum", f"bias of {name} [MeV/c]", "corrected", 0, bias),
             Row("momentum", f"|bias| of {name} [MeV/c]", "corrected", 1,
                 bias._replace(value=abs(bias.value))),
             Row("momentum", f"pull width of {name}", "corrected", 1, width)]
  return rows
