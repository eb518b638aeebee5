"""What setup.cfg cannot say: `configs` and `launch` ship inside the package, as lartpc_jax/shipped, and not
beside it, where other packages' folders of these names would meet them; see lartpc_jax/entry_points.py."""
from setuptools import find_packages, setup

SHIPPED = {f"lartpc_jax.shipped.{name}": name for name in ("configs", "launch")}

setup(packages=[*find_packages(include=["lartpc_jax*"]), *SHIPPED], package_dir=SHIPPED)
