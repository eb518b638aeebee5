"""The count of network evaluations, against the published one and against a generator that counts itself."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import protons64_infer
from lartpc_jax.build import inference as config_lib
from lartpc_jax.inference.evaluations import PUBLISHED, count_evaluations
from lartpc_jax.inference.fit import make_fit
from lartpc_jax.inference.settings import FitSettings, Report, Screening, Stage
from tests import toy_generator as toy


def test_published_configuration_costs_what_is_published():
  """39 steps, 32 draws, 10 evaluations: 12,480 for one picture; ours are a small part of it."""
  count = config_lib.count_inference(protons64_infer.get_config("published").to_dict(), 1, "random")
  assert count.descent == PUBLISHED == 39 * 32 * 10
  ours = config_lib.count_inference(protons64_infer.get_config().to_dict(), 2, "random")
  # two starts, 10 steps, 2 draws; one, 14 steps, 4 draws; two views; 5 steps and the last evaluation
  assert ours.descent == (2 * 10 * 2 + 14 * 4) * 2 * 6 and ours.candidates == 1024 * 2 * 5
  one = config_lib.count_inference(protons64_infer.get_config("amortised").to_dict(), 2, "amortised")
  assert one.descent == 8 * 4 * 2 * 6 and one.candidates == 0


@pytest.mark.slow
@pytest.mark.third_party  # optax
@pytest.mark.parametrize("num_starts", [1, 2])
def test_as_many_draws_as_are_counted(num_starts):
  """A generator that reports every draw at run time, with one evaluation each."""
  settings = FitSettings(screening=Screening(num_candidates=4, num_screened=2, num_starts=num_starts),
                         first=Stage(num_steps=3, num_draws=2, num_averaged=1),
                         second=Stage(num_steps=4, num_draws=2, num_averaged=1), report=Report(num_draws=3))
  seen, toy_generate = [], toy.make_generate()

  def generate(noise, cond):
    jax.debug.callback(lambda x: seen.append(len(x)), jax.lax.stop_gradient(noise))
    return toy_generate(noise, cond)

  fit = make_fit(toy.imager()._replace(generate=generate), ("xy",), settings)
  truth = toy.random_momenta(1)
  starts = jnp.asarray(np.stack([toy.turn(truth, 0.1 * (i + 1)) for i in range(num_starts)], axis=1))[
      :, :, None]
  jax.block_until_ready(jax.jit(fit.refine)(toy.straight_images(truth), starts, jax.random.key(0)))
  jax.effects_barrier()
  count = count_evaluations(settings, num_views=1, num_starts=num_starts, a_draw=1, a_candidate=0)
  assert sum(seen) == count.descent + count.report, seen
