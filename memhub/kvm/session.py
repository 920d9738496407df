"""What a kvm descriptor is, without what it reads: both faces, `Kvm` and `AsyncKvm`, have one.

Sources: FreeBSD kvm_open(3), kvm_nlist(3), kvm_read(3), kvm_geterr(3); `lib/libkvm/kvm.c`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memhub.abi import U64_MAX, Errno
from memhub.arguments import take_buffer, take_integer, take_names
from memhub.core.memory.kvm import Nlist, kvm_nlist
from memhub.kvm.failure import KvmError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from memhub.abi import Buffer
    from memhub.errors import DeviceError

#: What libkvm says, word for word.
NOT_FOR_DEAD: Final = "kvm_write not implemented for dead kernels"


class Session:
    """Symbols, the last error, and the rules of kvm(3).

    Args:
        symbols: addresses by name.
        alive: whether the kernel runs; an image of one is dead.
        where: what is open, for messages.

    Attributes:
        symbols: addresses by name.
        alive: whether the kernel runs.
        where: what is open, for messages.
        error: what kvm_geterr(3) says; empty where nothing went wrong.
        closed: whether it is closed.
    """

    __slots__ = ("alive", "closed", "error", "symbols", "where")

    def __init__(self, symbols: Mapping[str, int], *, alive: bool, where: str) -> None:
        self.symbols = symbols
        self.alive = alive
        self.where = where
        self.error = ""
        self.closed = False

    def nlist(self, names: Iterable[str]) -> tuple[Nlist, ...]:
        """Look names up; those that are not there make an error text, and no exception."""
        self.check_open("kvm_nlist")
        found = kvm_nlist(self.symbols, _take_all(names))
        missing = [it.n_name for it in found if not it.found]
        if missing:
            self.error = f"kvm_nlist: {', '.join(missing)}: No such file or directory"

        return found

    def check_open(self, call: str) -> None:
        """Refuse what comes after close: EBADF."""
        if self.closed:
            raise self.refuse(call, f"{self.where} is closed", Errno.EBADF)

    def begin_read(self, address: int, length: int) -> tuple[int, int]:
        """The arguments of a read, as integers.

        Raises:
            KvmError: EBADF; closed. EFAULT; no kernel address. EINVAL; a length below 0.
        """
        self.check_open("kvm_read")
        address, length = take_integer("address", address), take_integer("length", length)
        self._check_address(address)
        if length < 0:
            raise self.refuse("kvm_read", f"length {length} is below 0", Errno.EINVAL)

        return address, length

    def end_read(self, data: bytes, length: int) -> bytes:
        """What a read answers; a short one leaves its error text."""
        if len(data) < length:
            self.error = "short read"

        return data

    def begin_write(self, address: int, data: Buffer) -> tuple[int, Buffer]:
        """The arguments of a write.

        Raises:
            KvmError: EBADF; closed. EOPNOTSUPP; the kernel is dead. EFAULT; no kernel address.
        """
        self.check_open("kvm_write")
        address, data = take_integer("address", address), take_buffer("data", data)
        if not self.alive:
            self.error = NOT_FOR_DEAD
            raise KvmError(NOT_FOR_DEAD, code=Errno.EOPNOTSUPP)

        self._check_address(address)

        return address, data

    def end_write(self, moved: int, length: int) -> int:
        """What a write answers; a short one leaves its error text."""
        if moved < length:
            self.error = "short write"

        return moved

    def failed(self, call: str, error: DeviceError) -> KvmError:
        """A refusal of the device as kvm(3) says it."""
        return self.refuse(call, error.reason, error.code, error.moved)

    def refuse(self, call: str, reason: str, code: Errno, moved: int = 0) -> KvmError:
        """An error of a call, which kvm_geterr(3) repeats."""
        self.error = f"{call}: {reason}"

        return KvmError(self.error, code=code, moved=moved)

    def _check_address(self, address: int) -> None:
        if not 0 <= address <= U64_MAX:
            self.error = f"invalid address ({address:#x})"
            raise KvmError(self.error, code=Errno.EFAULT)


def _take_all(names: Iterable[str]) -> tuple[str, ...]:
    """The names to look up; a text alone is refused, since its letters would be looked up."""
    given = names if isinstance(names, str) or not hasattr(names, "__iter__") else tuple(names)
    take_names("names", given)

    return tuple(given)
