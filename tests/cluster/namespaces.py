"""Several nodes on one machine: network namespaces, joined by a bridge, that can be cut off."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

NETWORK = "10.213.77"


def missing() -> str | None:
    """Return why there can be no namespaces here; None if there can."""
    if shutil.which("ip", path=os.environ["PATH"] + ":/usr/sbin:/sbin") is None:
        return "no ip: install the package iproute2"
    return None if os.geteuid() == 0 else "network namespaces need root"


@dataclass(frozen=True)
class Node:
    """One namespace.

    Arguments
    ---------
    name : str
        Of the namespace.
    address : str
        Its own, on the interface eth0.
    port : str
        Its end at the bridge.
    hub : str
        Namespace of the bridge.
    """

    name: str
    address: str
    port: str
    hub: str

    def command(self, *words: str) -> list[str]:
        """Return a command that runs on this node."""
        return ["ip", "netns", "exec", self.name, *words]

    def cut_off(self) -> None:
        """Unplug the node: nothing comes or goes, and nobody is told."""
        _ip("-n", self.hub, "link", "set", self.port, "down")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


@contextmanager
def nodes(num: int) -> Iterator[list[Node]]:
    """Make some nodes on one network; they are gone at the end, with all their processes' sockets.

    Arguments
    ---------
    num : int
        Nodes.

    Yields
    ------
    list of Node
        Node k has the address 10.213.77.(k + 1).
    """
    hub = f"hub{os.getpid()}"
    made = [hub]
    _ip("netns", "add", hub)
    try:
        _ip("-n", hub, "link", "add", "bridge", "type", "bridge")
        _ip("-n", hub, "link", "set", "bridge", "up")
        found = []
        for number in range(num):
            node = Node(f"n{os.getpid()}x{number}", f"{NETWORK}.{number + 1}", f"port{number}", hub)
            _ip("netns", "add", node.name)
            made.append(node.name)
            pair = ("type", "veth", "peer", "name", node.port, "netns", hub)
            _ip("-n", node.name, "link", "add", "eth0", *pair)
            _ip("-n", hub, "link", "set", node.port, "master", "bridge", "up")
            _ip("-n", node.name, "address", "add", f"{node.address}/24", "dev", "eth0")
            for interface in ("lo", "eth0"):
                _ip("-n", node.name, "link", "set", interface, "up")
            found.append(node)
        yield found
    finally:
        for name in reversed(made):
            subprocess.run(["ip", "netns", "del", name], check=False)
