"""Pictures of fits of several tracks."""
import numpy as np
from matplotlib.figure import Figure

from lartpc_jax.plotting.images import show_image
from lartpc_jax.plotting.style import legend_above, log_axis


def hypotheses_figure(targets: np.ndarray, generated: dict[str, np.ndarray], *, views: tuple[str, ...],
                      title: str) -> Figure:
  """Figure with the target of each view beside one draw of every hypothesis.

  Args:
    targets: images [v n n] in MeV.
    generated: label -> images [v n n].
    views: names.
    title: above all.
  """
  figure = Figure(figsize=(2.4 * (1 + len(generated)), 2.5 * len(views) + 0.5), layout="constrained")
  figure.suptitle(title, fontsize=9)
  for axes, v in zip(figure.subplots(len(views), 1 + len(generated), squeeze=False), range(len(views)),
                     strict=True):
    for axis, (label, images) in zip(axes, {"target": targets, **generated}.items(), strict=True):
      show_image(axis, images[v], top=float(targets[v].max()))
      axis.set_title(f"{label}\n{images[v].sum():.0f} MeV" if v == 0 else f"{images[v].sum():.0f} MeV",
                     fontsize=8)
    axes[0].set(xlabel=views[v][0], ylabel=views[v][1])
  return figure


def angle_figure(entries: list[dict]) -> Figure:
  """Figure with efficiency and errors against the opening angle, one entry a bin as of
  `metrics.counted_tracks.by_angle`."""
  middle = np.array([0.5 * (e["low"] + e["high"]) for e in entries])
  half = np.array([0.5 * (e["high"] - e["low"]) for e in entries])
  counted, refined = "efficiency" in entries[0], "q50_dp_mev" in entries[0]
  figure = Figure(figsize=(9 if counted and refined else 4.6, 3.4), layout="constrained")
  axes = figure.subplots(1, max(counted + refined, 1), squeeze=False)[0]
  if counted:
    axes[0].errorbar(middle, [100 * e["efficiency"] for e in entries], xerr=half,
                     yerr=[100 * e["efficiency_error"] for e in entries], fmt="o", color="tab:blue")
    axes[0].set(ylabel="counted as two or more, %", ylim=(0, 104))
  if refined:
    axes[-1].errorbar(middle, [e["q50_dp_mev"] for e in entries], xerr=half, fmt="o", color="tab:red",
                      label="median")
    axes[-1].errorbar(middle, [e["q95_dp_mev"] for e in entries], xerr=half, fmt="s", color="tab:orange",
                      label="95 %")
    axes[-1].set(ylabel="|dp| of matched tracks, MeV/c")
    log_axis(axes[-1], "y")
    legend_above(axes[-1], columns=2)
  for axis in axes:
    axis.set(xlabel="opening angle, degrees", xlim=(0, 180))
    axis.grid(alpha=0.3)
  return figure
