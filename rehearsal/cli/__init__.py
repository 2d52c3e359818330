"""Commands that the embedded environment adds to `./cutover`: env, rehearse, faults.

Attached by the entry point group `cutover.commands`; the engine imports none of this by name.
"""

from rehearsal.cli.environment import env
from rehearsal.cli.faults import faults
from rehearsal.cli.rehearse import rehearse

__all__ = ["env", "faults", "rehearse"]
