"""Addresses of the network, as 'host:port'."""

import socket

_PROBE_SECONDS = 2


def split(address: str) -> tuple[str, int]:
  """Returns host and port.

  Raises:
    ValueError: If the port is no number.
  """
  host, _, port = address.rpartition(':')
  return host, int(port)


def answers(address: str) -> bool:
  """Whether something listens there."""
  try:
    socket.create_connection(split(address), _PROBE_SECONDS).close()
  except (OSError, ValueError, OverflowError):
    return False
  return True
