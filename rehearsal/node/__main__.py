"""`python -m rehearsal.node`: run the node agent until SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rehearsal.node.agent import Agent, Settings
from rehearsal.node.errors import NodeError

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the agent and return its exit code: 0 after SIGTERM, 1 when it cannot run."""
    parser = argparse.ArgumentParser(prog="python -m rehearsal.node", description="Register a Node and run its pods.")
    parser.add_argument("--kubeconfig", type=Path, required=True, help="how to reach the API server")
    parser.add_argument("--state", type=Path, required=True, help="folder for logs, volumes and the node's images")
    parser.add_argument("--images", type=Path, required=True, help="OCI image layout that images are pulled from")
    parser.add_argument("--faults", type=Path, required=True, help="folder that containers get as STELLA_FAULTS_DIR")
    parser.add_argument("--node-ip", default="10.245.0.2", help="the node's InternalIP; the server listens there")
    parser.add_argument("--pod-cidr", default="10.244.0.0/16", help="the range that pods get their addresses from")
    parser.add_argument("--name", default="node-1", help="the node's name")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    settings = Settings(
        kubeconfig=given.kubeconfig,
        state=given.state.resolve(),
        images=given.images.resolve(),
        faults=given.faults.resolve(),
        node_ip=given.node_ip,
        pod_cidr=given.pod_cidr,
        name=given.name,
    )
    try:
        asyncio.run(Agent(settings).run())
    except (NodeError, OSError) as problem:
        logging.getLogger(__name__).error("the node agent cannot run: %s", problem)  # noqa: TRY400 - no traceback
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
