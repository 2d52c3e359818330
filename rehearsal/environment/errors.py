"""What can go wrong around the embedded environment, each with a remedy.

EnvironmentFault
├── NamespacesRefused   the machine gives no user, network, mount or process namespaces
├── NotRunning          the environment named is not up
└── PartFailed          a part ended, or was not ready in its time, while the environment came up
"""

from __future__ import annotations


class EnvironmentFault(Exception):  # noqa: N818 - an error is its caller's, a fault is ours
    """The environment could not do what was asked; says what was seen and what to do.

    `exit_code` is the one of the project's contract: 2 wrong input, 3 could not measure.
    """

    exit_code = 3

    def __init__(self, message: str, *, do: str = "", seen: str = "", exit_code: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.do = do
        self.seen = seen
        if exit_code is not None:
            self.exit_code = exit_code

    def render(self) -> str:
        """One block for a terminal: the message, what was seen, what to do."""
        lines = [self.message]
        if self.seen:
            lines += [
                f"     seen      {line}" if not at else f"               {line}"
                for at, line in enumerate(self.seen.splitlines())
            ]
        if self.do:
            lines.append(f"     do        {self.do}")
        return "\n".join(lines)


class NamespacesRefused(EnvironmentFault):
    """This machine does not let the user make the namespaces that the sandbox is built of."""


class NotRunning(EnvironmentFault):
    """The named environment is not up."""

    exit_code = 2


class PartFailed(EnvironmentFault):
    """A part of the environment ended or did not become ready."""
