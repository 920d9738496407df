"""The system calls of a machine's kernel that need no file, through an open device file."""

from __future__ import annotations

from typing import Any, Protocol


class AsyncKernelFile(Protocol):
    """The part of `memhub.handles.device_file.AsyncDeviceFile` that concerns other kernels."""

    async def call_kernel(self, op: str, /, **args: Any) -> Any:  # noqa: ANN401 - as the kernel answers
        """Make a system call of the machine's kernel that needs no file, as NetBSD's `set`.

        The process is that of the file; over a service it is the connection. To the kernel it ends
        as it closes its last file of the machine, and a connection closes its files as it ends.

        Args:
            op: the call.
            args: its arguments, as the kernel's `ServedKernel` lists them: numbers of 64 bits,
                texts, truth values, None, and lists of them.

        Returns:
            what the kernel answers.

        Raises:
            InvalidArgument: EINVAL; the kernel has no such call, or an argument is wrong.
            NotSupported: EOPNOTSUPP; the machine's kernel is FreeBSD, or a service is of an earlier
                version.
            DeviceError: the kernel's error; `moved` is how much was done before it.
        """


class KernelFile(Protocol):
    """The same for callers that block."""

    def call_kernel(self, op: str, /, **args: Any) -> Any:  # noqa: ANN401 - as the kernel answers
        """See `AsyncKernelFile.call_kernel`."""
