"""lartpc_jax: generate liquid-argon TPC images by diffusion, and invert the generator for particle
momenta."""
__version__ = "0.1.0"
