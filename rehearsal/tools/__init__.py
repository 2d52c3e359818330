"""The binaries that the embedded environment runs: built or unpacked once, kept in the user cache.

`ensure` is all that the rest of the environment needs: it returns the programs, making them first where they are
missing. Where they come from is in `catalogue`; why a certain one was chosen, `cutover tools status` says.
"""

from rehearsal.tools.errors import ToolsError
from rehearsal.tools.provision import Choice, Postgres, Tools, ensure

__all__ = ["Choice", "Postgres", "Tools", "ToolsError", "ensure"]
