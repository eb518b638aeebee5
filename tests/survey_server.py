"""A survey in a process of its own, to be loaded and killed: python survey_server.py FOLDER NUM PORT."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lartpc_jax.survey.app import make_app
from lartpc_jax.survey.serve import listen, serve
from tests.survey_site import make_survey

if __name__ == "__main__":
  folder, num, port = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
  sock = listen("127.0.0.1", port)
  app = make_app(make_survey(folder, images_each=num))
  print(sock.getsockname()[1], flush=True)
  serve(app, sock)
