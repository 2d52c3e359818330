"""Commands that the embedded environment adds to `./cutover`: env, rehearse, faults.

Attached by the entry point group `cutover.commands`; the engine imports none of this by name.
"""

from rehearsal.cli.environment import env

__all__ = ["env"]
