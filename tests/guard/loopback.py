"""Refuse every connection beyond this machine, in this process and (by sitecustomize beside this file) its children."""

from __future__ import annotations

import ipaddress
import sys
from typing import Any

REFUSED: list[str] = []
"""What was tried in this process."""


def _is_local(host: Any) -> bool:
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    if host in (None, "", "localhost"):
        return True
    try:
        return ipaddress.ip_address(str(host).partition("%")[0]).is_loopback
    except ValueError:
        return False


def _is_address(host: Any) -> bool:
    """Looking up a literal address asks nobody."""
    try:
        ipaddress.ip_address(str(host).partition("%")[0])
    except ValueError:
        return False
    return True


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("socket.connect", "socket.sendto"):
        address = arguments[1]
        # A text or bytes address is a socket in the file system.
        host = address[0] if isinstance(address, tuple) and address else None
        refused = not _is_local(host)
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
        refused = not (_is_local(host) or _is_address(host))
    else:
        return
    if refused:
        REFUSED.append(f"{event} {host}")
        raise ConnectionRefusedError(f"the tests connect to nothing beyond loopback: {event} {host}")


def refuse_strangers() -> None:
    """Install the audit hook, once in a process; it cannot be taken out again."""
    if not getattr(sys, "_morlaif_guarded", False):
        sys._morlaif_guarded = True  # type: ignore[attr-defined]
        sys.addaudithook(_hook)
