"""Optional packages: which extra of setup.cfg brings which, and an error with the line to type before work is
lost."""
import importlib.util

# extra -> module that is imported -> package of pip
EXTRAS = {
    "eval": {"ot": "POT", "sklearn": "scikit-learn"},
    "io": {"h5py": "h5py", "uproot": "uproot", "PIL": "pillow"},
    "sampling": {"blackjax": "blackjax"},
    "train": {"tensorboardX": "tensorboardX"},
    "survey": {"starlette": "starlette", "jinja2": "jinja2", "uvicorn": "uvicorn"},
    "display": {"plotly": "plotly", "ot": "POT"},
    "geant4": {"geant4_pybind": "geant4-pybind"},
    "beam": {"apache_beam": "apache-beam", "dill": "dill"},
}


def require_extra(extra: str, what: str) -> None:
  """Raises ValueError naming the packages of an extra that `what` needs and that are not installed; imports
  nothing."""
  missing = [package for module, package in EXTRAS[extra].items() if importlib.util.find_spec(module) is None]
  if missing:
    raise ValueError(
        f"{what} needs {' and '.join(missing)}, of the extra [{extra}]: pip install {' '.join(missing)}")
