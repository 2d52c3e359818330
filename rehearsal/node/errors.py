"""What can go wrong on the node, each with the reason a kubelet shows for it.

NodeError
├── ApiError            the API server refused or could not be reached
├── ImageError          an image reference leads to no image (ErrImagePull, ErrImageNeverPull, InvalidImageName)
├── LayoutError         the image layout on disk is not one
├── ConfigError         a container's environment cannot be made (CreateContainerConfigError)
├── MountError          a volume cannot be made or mounted (FailedMount)
└── HookError           a lifecycle hook failed (PostStartHookError)
"""

from __future__ import annotations


class NodeError(Exception):
    """Anything the node agent refuses, with a message fit for an event."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ApiError(NodeError):
    """The API server's refusal: `status` is the HTTP status, 0 when it could not be reached."""

    def __init__(self, message: str, *, status: int, reason: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason

    @property
    def is_transient(self) -> bool:
        """Whether the same request may succeed later: unreachable, throttled or a fault of the server's."""
        return self.status in {0, 429} or self.status >= 500


class ImageError(NodeError):
    """No image for a reference; `reason` is the waiting reason a kubelet shows."""

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class LayoutError(NodeError):
    """The folder holds no readable OCI image layout."""


class ConfigError(NodeError):
    """A container's environment names something that does not exist."""


class MountError(NodeError):
    """A volume names something that does not exist, or a kind that a process-based node cannot give."""


class HookError(NodeError):
    """A lifecycle hook did not succeed."""
