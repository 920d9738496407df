"""What requests are answered with, where it is more than a number or bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from memhub.abi import RangeDesc


class ClaimReply(Protocol):
    """A claim, as every face answers it."""

    @property
    def fence(self) -> int:
        """The fencing number."""

    @property
    def base(self) -> int:
        """First byte."""

    @property
    def end(self) -> int:
        """One past the last byte."""


class SharedMemory(Protocol):
    """Memory of a machine as a file to map."""

    @property
    def fd(self) -> int:
        """The file; it can be written only if that was asked for."""

    @property
    def rows(self) -> Sequence[tuple[int, int, int, str]]:
        """What lies in it: physical base, length, offset in the file, kind."""


class SetOutcome(NamedTuple):
    """What a MEMRANGE_SET changed.

    Attributes:
        slots: the slots it wrote or left different, ascending.
        before: the descriptor of each of `slots` before.
        after: the descriptor of each of `slots` after.
        msrs: registers that differ: number to values before and after.
        claimed: slots that the request newly claimed.
        released: slots whose claim the request ended.
        fence: fencing number of the claim that it took or wrote under, or None.
    """

    slots: tuple[int, ...]
    before: tuple[RangeDesc, ...]
    after: tuple[RangeDesc, ...]
    msrs: Mapping[int, tuple[int, int]]
    claimed: tuple[int, ...] = ()
    released: tuple[int, ...] = ()
    fence: int | None = None


class Explanation(NamedTuple):
    """Which memory type an address has, and why.

    Attributes:
        address: the address asked for.
        physical: the physical address that it means.
        type: `UC`, `WC`, `WT`, `WP`, `WB` or `undefined`.
        why: which descriptor or register decides it, in words.
        implementation_defined: the architecture leaves this combination to the CPU.
    """

    address: int
    physical: int
    type: str
    why: str
    implementation_defined: bool
