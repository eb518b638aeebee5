"""GANs: convolutions of stride 2, losses and penalties against finite differences, gradients of each part,
optimisers."""
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import crops64_gan
from lartpc_jax.build import tasks
from lartpc_jax.config.schema import GanLoss, Optim, Other
from lartpc_jax.generators.gan import gan_noise, state_of
from lartpc_jax.generators.sparse_state import GapScale, gap_state, image_from_gap_state
from lartpc_jax.metrics.collapse import neighbour_shares
from lartpc_jax.networks import api, gan as networks
from lartpc_jax.train import adversarial, optimizer
from tests.toy_weights import toy_params

GAP = GapScale(threshold_mev=0.09, charge_scale_mev=0.1, gap=0.8, scale=0.5416)
SMALL = dict(name="residual", latent=3, side=64, num_features=2,
             generator=dict(widths=(4, 4, 2, 2), head_features=2), discriminator=dict(widths=(2, 2, 4, 4)))


@pytest.fixture(scope="module")
def pair():
  network = api.make_gan(**SMALL)
  draw = np.random.default_rng(0)
  params = toy_params(lambda: network.init(jax.random.key(0)))
  state = gap_state(jnp.asarray(np.where(draw.uniform(size=(4, 64, 64)) < 0.05, 1.0, 0.0), jnp.float32), GAP)
  features = jnp.asarray(draw.normal(size=(4, 2)), jnp.float32)
  return network, params, state, features


def test_convolutions_of_stride_two_are_those_of_jax():
  """The masked taps in their places of a 4x4 kernel: cell m, pixel i of it is tap 2 m + i - 1."""
  x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 8, 8, 3)), jnp.float32)
  module = networks.DownConv(5)
  params = toy_params(lambda: module.init(jax.random.key(0), x))
  cells = np.asarray(params["params"]["kernel"])  # [3 3 2 2 c o]
  kernel = np.stack([[cells[(a + 1) // 2, (b + 1) // 2, (a + 1) % 2, (b + 1) % 2] for b in range(4)]
                     for a in range(4)])
  wanted = jax.lax.conv_general_dilated(x, jnp.asarray(kernel), (2, 2), ((1, 1), (1, 1)),
                                        dimension_numbers=("NHWC", "HWIO", "NHWC"))
  np.testing.assert_allclose(module.apply(params, x), wanted, atol=1e-5)
  module = networks.UpConv(5)
  params = toy_params(lambda: module.init(jax.random.key(0), x))
  # [3 3 c 2 2 o]; output pixel p of a cell sees input m - 1 + cell
  cells = np.asarray(params["params"]["kernel"])
  y = np.zeros((2, 16, 16, 5))
  padded = np.pad(np.asarray(x), ((0, 0), (1, 1), (1, 1), (0, 0)))
  for i, j in np.ndindex(16, 16):  # a transposed convolution: input r reaches outputs 2 r - 1 to 2 r + 2
    for r, c in np.ndindex(8, 8):
      if 2 * r - 1 <= i <= 2 * r + 2 and 2 * c - 1 <= j <= 2 * c + 2:
        tap = cells[r - i // 2 + 1, c - j // 2 + 1, :, i % 2, j % 2]
        y[:, i, j] += padded[:, r + 1, c + 1] @ tap
  np.testing.assert_allclose(module.apply(params, x), y, atol=1e-4)


def test_losses_are_least_where_the_other_is_fooled():
  real, fake = jnp.array([0.3, -1.0]), jnp.array([-0.5, 2.0])
  of_generator, of_discriminator = adversarial.non_saturating(real, fake)
  np.testing.assert_allclose(of_generator, np.log1p(np.exp([0.5, -2.0])), rtol=1e-5)
  np.testing.assert_allclose(of_discriminator, np.log1p(np.exp([-0.3, 1.0])) + np.log1p(np.exp([-0.5, 2.0])),
                             rtol=1e-5)
  of_generator, of_discriminator = adversarial.relativistic(real, fake)
  np.testing.assert_allclose(of_discriminator, np.log1p(np.exp(-np.array([0.8, -3.0]))), rtol=1e-5)
  np.testing.assert_allclose(of_generator, np.log1p(np.exp(np.array([0.8, -3.0]))), rtol=1e-5)


def test_penalties_are_those_of_finite_differences(x64):
  """R1 of a judge on 3 x 3 pixels, one pixel after the other; and its gradient in the weights."""
  draw = np.random.default_rng(0)
  first, second, x = (jnp.asarray(draw.normal(size=shape)) for shape in ((9, 5), (5,), (2, 3, 3, 1)))
  judge = lambda first, x: jnp.tanh(x.reshape(len(x), -1) @ first) @ second
  found = adversarial.gradient_penalty(lambda x: judge(first, x), x)
  step, wanted = 1e-5, np.zeros(2)
  for i, j in np.ndindex(3, 3):
    move = jnp.zeros(x.shape).at[:, i, j].set(step)
    wanted += np.asarray((judge(first, x + move) - judge(first, x - move)) / (2 * step))**2
  np.testing.assert_allclose(found, wanted, rtol=1e-7)
  penalty = lambda first: adversarial.gradient_penalty(lambda x: judge(first, x), x).sum()
  slope = jax.grad(penalty)(first)
  for i, j in ((0, 0), (4, 3), (8, 1)):
    move = jnp.zeros(first.shape).at[i, j].set(step)
    np.testing.assert_allclose(slope[i, j], (penalty(first + move) - penalty(first - move)) / (2 * step),
                               rtol=1e-5)


def test_states_are_those_of_images_and_their_gradient_is_that_of_the_probability():
  raw = jnp.asarray(np.random.default_rng(0).normal(size=(2, 4, 4, 2)), jnp.float32)
  state = state_of(raw, GAP)
  image = image_from_gap_state(state, GAP)
  np.testing.assert_allclose(gap_state(image, GAP), state, rtol=1e-4, atol=1e-5)
  assert set(np.unique(np.asarray(image > 0) == np.asarray(raw[..., 0] > 0))) == {True}
  slope = jax.grad(lambda raw: state_of(raw, GAP).sum())(raw)
  p = 1.0 / (1.0 + np.exp(-np.asarray(raw[..., 0])))
  y = GAP.faintest + np.log1p(np.exp(np.asarray(raw[..., 1])))
  np.testing.assert_allclose(slope[..., 0], p * (1 - p) * y / GAP.scale, rtol=1e-4)


def test_each_part_has_its_own_gradient(pair):
  """Those of the sum are the gradients of the generator's loss in its parameters, of the discriminator's in
  its."""
  network, params, state, features = pair
  noise = gan_noise(jax.random.split(jax.random.key(1), 4), 3, 64)
  loss = GanLoss(gamma=0.7, penalty_share=0.5)
  total = lambda params: adversarial.adversarial_losses(network, params, state, features, noise, gap=GAP,
                                                        loss=loss)
  found, metrics = jax.jit(jax.grad(total, has_aux=True))(params)

  def parts(generator, discriminator):
    raw, _ = network.generate_training({**params, "generator": generator}, *noise, features)
    fake = state_of(raw, GAP)
    judge = lambda x, f: network.judge(discriminator, x, f)
    of_generator, of_discriminator = adversarial.relativistic(judge(state, features), judge(fake, features))
    norms = [adversarial.gradient_penalty(lambda x: judge(x, features[:2]), x[:2]).mean()
             for x in (state, fake)]
    return of_generator.mean(), of_discriminator.mean() + 0.35 * sum(norms)

  both = params["generator"], params["discriminator"]
  wanted = (jax.jit(jax.grad(lambda *x: parts(*x)[0]))(*both),
            jax.jit(jax.grad(lambda *x: parts(*x)[1], 1))(*both))
  for name, want in zip(("generator", "discriminator"), wanted):
    for a, b in zip(jax.tree.leaves(found[name]), jax.tree.leaves(want)):
      np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * max(1.0, float(jnp.abs(b).max())))
  assert float(metrics["r1"]) > 0.0 and metrics["assigned"] == {"batch_stats": {}}


@pytest.mark.third_party  # optax
def test_two_optimisers_step_two_parts():
  params = {"generator": {"kernel": jnp.ones((2, 2))}, "discriminator": {"kernel": jnp.ones((2, 2))}}
  optim = Optim(1e-2, schedule="constant", b1=0.5, b2=0.9, grad_clip_norm=None,
                other=Other("^discriminator/", 3e-2, 0.0, 0.99))
  tx = optimizer.make_optimizer(optim, 10)
  state, slope = tx.init(params), jnp.array([[1.0, 2.0], [-1.0, 0.5]])
  alone = {"generator": optax.adam(1e-2, b1=0.5, b2=0.9), "discriminator": optax.adam(3e-2, b1=0.0, b2=0.99)}
  states = {name: one.init(params[name]) for name, one in alone.items()}
  for _ in range(3):
    updates, state = tx.update({name: {"kernel": slope} for name in params}, state, params)
    for name, one in alone.items():
      wanted, states[name] = one.update({"kernel": slope}, states[name])
      np.testing.assert_allclose(updates[name]["kernel"], wanted["kernel"], rtol=1e-5)
  with pytest.raises(ValueError, match="optim.other.pattern = 'nobody' matches no"):
    optimizer.make_optimizer(Optim(1e-2, other=Other("nobody", 1e-2)), 10).init(params)


def test_nearest_neighbours_tell_a_collapse():
  draw = np.random.default_rng(0)
  distances = lambda x: np.linalg.norm(x[:, None] - x[None], axis=-1)
  real, alike, one = draw.normal(size=(200, 2)), draw.normal(size=(200, 2)), 1e-3 * draw.normal(size=(200, 2))
  near_real, near_generated = neighbour_shares(distances(np.concatenate([real, alike])), 200)
  assert abs(near_real - 0.5) < 0.12 and abs(near_generated - 0.5) < 0.12
  near_real, near_generated = neighbour_shares(distances(np.concatenate([real, one])), 200)
  assert near_real < 0.1 and near_generated > 0.9


@pytest.mark.parametrize("changes,message", [
    (dict(loss=dict(name="wasserstein", gamma=1.0)), "Unknown loss.name 'wasserstein'; choose from"),
    (dict(loss=dict(gamma=-1.0)), "Need loss.gamma >= 0"),
    (dict(network=dict(name="stylegan", latent=3)), "Unknown network.name 'stylegan'"),
    (dict(network=dict(name="dcgan", latent=3)), "'dcgan' takes no condition"),
    (dict(network=dict(name="residual", latent=3, generator=dict(widht=3))),
     "Unknown config key network.widht")])
def test_bad_configs_are_named(changes, message):
  with pytest.raises(ValueError, match=message):
    tasks.build_task(crops64_gan.get_config("tiny").to_dict() | changes)
