"""Runs the application in this process until a signal ends it."""
import socket


def listen(host: str, port: int) -> socket.socket:
  """A socket of the address; port 0 takes a free one.

  Raises:
    ValueError: for a number that is no port.
    OSError: naming the address, if it is taken or none of this machine.
  """
  if not 0 <= port <= 65535:
    raise ValueError(f"--port must be from 0 to 65535; got {port}.")
  family = socket.AF_INET6 if ":" in host else socket.AF_INET
  sock = socket.socket(family, socket.SOCK_STREAM)
  sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
  try:
    sock.bind((host, port))
    sock.listen(1024)
  except OSError as error:
    sock.close()
    raise OSError(f"Cannot listen on {host}:{port}: {error.strerror or error} (--host, --port).") from error
  return sock


def serve(app, sock: socket.socket) -> None:
  """Serves until SIGINT or SIGTERM; answers that were taken are in the store already."""
  import uvicorn
  config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False, date_header=False,
                          timeout_keep_alive=30, timeout_graceful_shutdown=3)
  uvicorn.Server(config).run(sockets=[sock])
