"""What can go wrong while the embedded environment's binaries are made.

The tree:

    ToolsError                 exit code 3, a stable `code`, a `remedy` in one line
    ├── UnknownToolError            a name that no unit of the catalogue provides; exit code 2
    ├── PlatformUnsupportedError    not Linux, or a machine for which a wheel does not exist
    ├── CacheUnusableError          the user cache cannot be made, written or locked
    ├── NoSpaceError                not enough room for what is still to be made
    ├── DownloadFailedError         a package index or module proxy was not reached, or lacks the file
    ├── ChecksumMismatchError       bytes that are not the pinned ones
    ├── ArchiveDamagedError         a wheel without the programs that the catalogue expects in it
    ├── GoUnavailableError          no Go that is new enough, and none could be had
    └── BuildFailedError            `go build` ended with an error

They are click exceptions, so that every command shows one message and no traceback.
"""

from typing import ClassVar

import click


class ToolsError(click.ClickException):
    """The binaries could not be had: `message` says what and where, `remedy` what to do."""

    exit_code = 3
    code: ClassVar[str] = "tools"

    def __init__(self, message: str, *, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy

    def format_message(self) -> str:
        """Return the message with its remedy, as a terminal shows it."""
        return f"{self.message}\n  what to do: {self.remedy}"

    def __str__(self) -> str:
        return self.format_message()


class UnknownToolError(ToolsError):
    """A program or unit was asked for that the catalogue does not know."""

    exit_code = 2
    code = "tools.unknown"


class PlatformUnsupportedError(ToolsError):
    """The machine is of a kind for which a part does not exist."""

    code = "tools.platform"


class CacheUnusableError(ToolsError):
    """The cache folder cannot be made, written or locked."""

    code = "tools.cache"


class NoSpaceError(ToolsError):
    """The file system of the cache has too little room."""

    code = "tools.space"


class DownloadFailedError(ToolsError):
    """A package index or module proxy was not reached, or does not have the file."""

    code = "tools.download"


class ChecksumMismatchError(ToolsError):
    """What was fetched is not what the lock file pins."""

    code = "tools.checksum"


class ArchiveDamagedError(ToolsError):
    """An archive does not hold what the catalogue expects in it."""

    code = "tools.archive"


class GoUnavailableError(ToolsError):
    """There is no Go toolchain that is new enough."""

    code = "tools.go"


class BuildFailedError(ToolsError):
    """A compilation ended with an error; the message carries its last lines and the path of its log."""

    code = "tools.build"
