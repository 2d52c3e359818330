"""Makes ``python -m rehearsal.platform.stella`` the command `stella`."""

from rehearsal.platform.stella.cli import main

main()
