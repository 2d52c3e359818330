"""A control plane and the node agent in the sandbox of one test; run by `unshare`, driven over standard input.

Each line of input is a JSON list: a command to run inside, answered by one line {"code", "out", "err"}. Two are its
own: ["agent", "kill"] and ["agent", "end"] end the agent by SIGKILL or SIGTERM, say which of the pods' processes are
left ("out") and how it ended ("code"), and start another.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rehearsal.environment import layout, parts, pki
from rehearsal.environment.supervisor import make_network
from rehearsal.node.images import ImageDescription, build_layout

if TYPE_CHECKING:
    from collections.abc import Callable

READY_BOUND_S = 40.0
GONE_BOUND_S = 5.0
SHELL = ImageDescription(
    repository="registry.stella.test/shell", tag="1", entrypoint=("sh", "-c"), env={"FROM": "image"}
)


class World:
    """The processes of the sandbox."""

    def __init__(self, root: Path, programs: dict[str, str]) -> None:
        self._place = layout.Place(name="live", root=root)
        self._programs = programs
        self._agent: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        """Start everything, and return once the node takes pods."""
        make_network()
        pki.write(self._place)
        build_layout(self._place.images, [SHELL])
        scene = parts.Scene(place=self._place, tools=parts.Tools(programs=self._programs), uid_is_root=True)
        for part in parts.control_plane(scene):
            self._start(part.name, part.argv)
            if part.ready is not None and part.name in {"etcd", "apiserver"}:
                wait(part.ready)
        self.start_agent()
        wait(lambda: self.run(["kubectl", "get", "node", "node-1", "-o", "jsonpath={.spec.taints}|"])["out"] == "|")
        wait(lambda: self.run(["kubectl", "get", "serviceaccount", "default"])["code"] == 0)

    def start_agent(self) -> None:
        """Start the node agent."""
        place = self._place
        folders = {"state": place.root / "node", "images": place.images, "faults": place.root / "faults"}
        options = [word for name, folder in folders.items() for word in (f"--{name}", str(folder))]
        command = (sys.executable, "-m", "rehearsal.node", "--kubeconfig", str(place.pki("node.kubeconfig")), *options)
        self._agent = self._start("agent", command)

    def agent(self, word: str) -> dict[str, object]:
        """End the agent, by SIGKILL or SIGTERM, see what it left, and start another."""
        assert self._agent is not None
        self._agent.send_signal(signal.SIGKILL if word == "kill" else signal.SIGTERM)
        code = self._agent.wait()
        deadline_s = time.monotonic() + GONE_BOUND_S
        while (left := self.run(["sh", "-c", "ps axo stat,args | grep '[s]leep 60' | grep -v ^Z"])["out"]) != "":
            if time.monotonic() > deadline_s:
                break
            time.sleep(0.05)
        self.start_agent()
        return {"code": code, "out": left, "err": ""}

    def run(self, command: list[str]) -> dict[str, object]:
        """Run a command inside, and return how it ended."""
        kubectl = self._programs["kubectl"]
        words = [kubectl if word == "kubectl" else word for word in command]
        environment = {**os.environ, "KUBECONFIG": str(self._place.kubeconfig)}
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=50)
        return {"code": done.returncode, "out": done.stdout, "err": done.stderr}

    def _start(self, name: str, command: tuple[str, ...]) -> subprocess.Popen[bytes]:
        with (self._place.root / f"{name}.log").open("ab") as log:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def wait(is_there: Callable[[], bool]) -> None:
    """Wait until it is there. Raises TimeoutError."""
    deadline_s = time.monotonic() + READY_BOUND_S
    while not is_there():
        if time.monotonic() > deadline_s:
            raise TimeoutError("the control plane did not become ready")
        time.sleep(0.05)


def main() -> None:
    """Begin, then answer commands until the input ends."""
    world = World(Path(sys.argv[1]), json.loads(sys.argv[2]))
    world.begin()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        command = json.loads(line)
        answer = world.agent(command[1]) if command[0] == "agent" else world.run(command)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
