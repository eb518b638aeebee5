"""The strict test session: four CPU devices, no implicit promotion, no key used twice, shapes checked.

The shape annotations of lartpc_jax are checked by jaxtyping and beartype in tests only. Two checks have
known false alarms, with one way out each:

- optax and ott-jax promote ranks and dtypes in their own arithmetic. Tests that run them carry the marker
  `third_party`, and the name of the package.
- `vmap` of `grad` of a `scan` over per-example keys looks like key reuse. Wrap the call in
  `with jax.debug_key_reuse(False):`.
"""
import gc
import os
import shutil
import tempfile
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Most of the time of these tests is compilation, which is a third cheaper without optimisation. Processes
# that tests start inherit it.
if "xla_backend_optimization_level" not in os.environ.get("XLA_FLAGS", ""):
  os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_backend_optimization_level=0".strip()

# What one process of the session has compiled, the others need not: workers of xdist and commands that tests
# start.
_CACHE = None
if "PYTEST_XDIST_WORKER" not in os.environ and "JAX_COMPILATION_CACHE_DIR" not in os.environ:
  _CACHE = os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="lartpc_jax_tests_")
  os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.3"

# traces make objects that stay; looking at them often costs a twentieth of the time
gc.set_threshold(100_000, 50, 100)

import jax
import pytest
from jaxtyping import install_import_hook

install_import_hook("lartpc_jax", "beartype.beartype")  # before the first import of lartpc_jax

if "xla_force_host_platform_device_count" not in os.environ["XLA_FLAGS"]:
  jax.config.update("jax_num_cpu_devices", 4)  # here alone: what tests start has one device, as users do
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_debug_key_reuse", True)

REPO = Path(__file__).resolve().parent.parent


def pytest_unconfigure():
  if _CACHE is not None:
    shutil.rmtree(_CACHE, ignore_errors=True)


def pytest_collection_modifyitems(items):
  accelerated = any(device.platform != "cpu" for device in jax.devices())
  for item in items:
    if item.get_closest_marker("gpu") and not accelerated:
      item.add_marker(pytest.mark.skip(reason="no accelerator (set JAX_PLATFORMS to run on one)"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
  """Relaxes the promotion checks for marked tests, module-scoped fixtures included."""
  if item.get_closest_marker("third_party") is None:
    return (yield)
  with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
    return (yield)


@pytest.fixture
def x64():
  """Runs the test in float64, for finite differences. Make the arrays inside the test."""
  with jax.enable_x64(True):
    yield


@pytest.fixture(scope="session")
def repo() -> Path:
  """The root of the clone."""
  return REPO


@pytest.fixture(scope="session")
def shared_data() -> Path:
  """Large simulated samples beside the clone or in LARTPC_SHARED_DATA; skips where there are none."""
  path = Path(os.environ.get("LARTPC_SHARED_DATA", REPO.parent / "shared" / "data"))
  if not path.is_dir():
    pytest.skip("no shared data beside the clone (set LARTPC_SHARED_DATA)")
  return path
