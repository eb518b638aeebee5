"""SIGTERM and Ctrl-C as a request to stop after the current step."""
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def stop_requests() -> Iterator[Callable[[], int | None]]:
  """Yields `requested() -> signal number or None`; a second signal interrupts at once, as KeyboardInterrupt.

  Outside the main thread, where Python allows no signal handlers, nothing is ever requested.
  """
  received = []

  def handle(number, frame):
    received.append(number)
    if len(received) > 1:
      raise KeyboardInterrupt

  if threading.current_thread() is not threading.main_thread():
    yield lambda: None
    return
  previous = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
  try:
    yield lambda: received[0] if received else None
  finally:
    for number, handler in previous.items():
      signal.signal(number, handler)
