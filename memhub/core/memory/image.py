"""What a machine's RAM holds, as a value: it never changes, and is compared and pickled.

An image of a machine in use keeps the frozen pages that the machine goes on from, and a copy of
what was written since, so that taking one costs little however much the machine holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memhub.abi import PAGE_SIZE
from memhub.core.memory.backing import Store
from memhub.core.memory.borders import pages_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memhub.core.memory.memfile import Frozen

_ZEROS: Final = bytes(PAGE_SIZE)


class MemoryImage:
    """The pages of a store at a moment.

    Args:
        pages: place in the store to the bytes of a page; a page that is not there is zeros.
        base: the pages below, where `pages` has only what differs from them.

    Attributes:
        base: the pages below, or None.
    """

    __slots__ = ("_layer", "base")

    def __init__(self, pages: Mapping[int, bytes], base: Frozen | None = None) -> None:
        self._layer = dict(pages)
        self.base = base

    @classmethod
    def of_store(cls, store: Store) -> MemoryImage | None:
        """The pages of a store as they are now; None where they have to be copied.

        Raises:
            OSError: the system cannot map that much, or has no descriptor left.
        """
        frozen = store.freeze()

        return None if frozen is None else cls(frozen[1], frozen[0])

    def pages(self) -> dict[int, bytes]:
        """The pages that hold something other than zeros, in order."""
        base = self.base
        found: dict[int, bytes] = {}
        if base is not None:
            for at in pages_in(base.borders):
                found[at] = base.read(at, PAGE_SIZE)

        found.update(self._layer)

        return {at: found[at] for at in sorted(found) if found[at] != _ZEROS}

    def make_store(self, size: int) -> Store:
        """A store that holds the pages.

        Args:
            size: bytes of the store.

        Raises:
            OSError: the system cannot map that much, or has no descriptor left.
        """
        store = Store(size, self.base)
        for at, page in self._layer.items():
            store.write(at, page)

        return store

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MemoryImage):
            return NotImplemented

        same = self.base is other.base and self._layer == other._layer

        return same or self.pages() == other.pages()

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return MemoryImage, (self.pages(),)

    def __repr__(self) -> str:
        return f"<MemoryImage of {len(self.pages())} pages>"
