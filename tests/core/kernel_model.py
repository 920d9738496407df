"""FreeBSD's memrw functions, written out one page at a time, as a model for memhub's rules.

Nothing here is shared with memhub: each function follows the shape of the kernel's own loop.
"""

from __future__ import annotations

from dataclasses import dataclass, field

PAGE = 4096
U32 = (1 << 32) - 1
U64 = (1 << 64) - 1
Buffers = list[tuple[int, int]]


@dataclass
class World:
    """A machine: RAM, map entries `(start, end, rights)`, pages by virtual page number."""

    phys_bits: int
    ram: list[tuple[int, int]]
    entries: list[tuple[int, int, str]]
    pages: dict[int, tuple[int, bool]]
    map_max: int
    base: int
    direct: int | None = None
    direct_limit: int = 0
    moved: int = 0
    runs: list[tuple[int, int]] = field(default_factory=list)

    def kernacc(self, address: int, length: int, right: str) -> bool:
        if address + length > self.map_max:
            return False

        page = address - address % PAGE
        while page < address + length:
            if not any(s <= page < e and right in r for s, e, r in self.entries):
                return False

            page += PAGE

        return True

    def extract(self, address: int) -> int:
        """pmap_extract: 0 for none."""
        found = self.pages.get(address // PAGE)

        return 0 if found is None else found[0] + address % PAGE

    def copy(self, physical: int, length: int) -> None:
        self.moved += length
        if self.runs and sum(self.runs[-1]) == physical:
            self.runs[-1] = (self.runs[-1][0], self.runs[-1][1] + length)
        else:
            self.runs.append((physical, length))


def amd64(world: World, kmem: bool, offset: int, buffers: Buffers, right: str) -> bool:
    """Whether it fails (10.4 and later)."""
    limit = world.direct_limit
    assert world.direct is not None
    for _, length in buffers:
        end = offset + length
        while offset < end:
            c = min(end - offset, PAGE - offset % PAGE)
            v = offset
            if kmem and world.direct <= v < world.direct + limit:
                world.copy(v - world.direct, c)
                offset += c
                continue

            if kmem:
                if not world.kernacc(v, c, right):
                    return not world.moved

                v = world.extract(v)
                if v == 0:
                    return not world.moved

            if v > (1 << world.phys_bits) - 1:
                return not world.moved

            world.copy(v, c)
            offset += c

    return False


def i386(
    world: World, kmem: bool, offset: int, buffers: Buffers, right: str, *, release: str, pae: bool
) -> bool:
    """Whether it fails."""
    total = sum(length for _, length in buffers)
    if kmem and total:
        signed = offset - (1 << 64) if offset >> 63 else offset
        if release in ("9.3", "10.4") and signed < 0xBFC00000:
            return True

        if not world.kernacc(offset & U32, total, right):
            return True

    last = (1 << world.phys_bits) - 1 if pae else U32
    for _, length in buffers:
        left = length
        while left:
            c = min(left, PAGE - offset % PAGE)
            if kmem:
                page = world.extract(offset & U32) // PAGE
                if page == 0:
                    return True

                physical = page * PAGE + offset % PAGE
            else:
                signed = offset - (1 << 64) if offset >> 63 else offset
                compared = offset if pae or release == "14" else signed
                if release != "9.3" and compared > last:
                    return True

                physical = offset if pae else offset & U32

            world.copy(physical, c)
            offset = (offset + c) & U64
            left -= c

    return False


def arm64(world: World, kmem: bool, offset: int, buffers: Buffers, right: str) -> bool:
    """Whether it fails; a panic counts as a failure."""
    assert world.direct is not None
    start = min(low for low, _ in world.ram) >> 30 << 30
    for _, length in buffers:
        end = offset + length
        while offset < end:
            c = min(end - offset, PAGE - offset % PAGE)
            v = offset
            if kmem and v >= world.direct:
                v = v - world.direct + start
            elif kmem:
                if not world.kernacc(v, c, right):
                    return True

                v = world.extract(v)
                if v == 0:
                    return True

            block = v >> 21 << 21
            if not any(low < block + (1 << 21) and block < high for low, high in world.ram):
                return True

            world.copy(v, c)
            offset += c

    return False


def powerpc64(
    world: World, kmem: bool, offset: int, buffers: Buffers, right: str, *, release: str
) -> bool:
    """Whether it fails."""
    later = release == "14"
    for address, length in buffers:
        user, left = address, length
        while left:
            outside = not world.base <= offset <= world.map_max
            if kmem and not (outside and (not later or world.direct is not None)):
                missing = _fails_whole(world, offset, left, right, outside)
                if missing:
                    return not (later and world.moved)

                while left:
                    c = min(left, PAGE - offset % PAGE)
                    world.copy(world.extract(offset), c)
                    offset, left = offset + c, left - c

                break

            v = offset
            if kmem and later and world.direct is not None:
                v &= ~world.direct

            c = min(PAGE - user % PAGE, PAGE - offset % PAGE, left)
            if not any(low <= v and v + c <= high for low, high in world.ram):
                return not (later and world.moved)

            world.copy(v, c)
            offset, user, left = offset + c, user + c, left - c

    return False


def _fails_whole(world: World, offset: int, length: int, right: str, outside: bool) -> bool:
    """powerpc's checks of one buffer, before it is copied at once."""
    page = offset - offset % PAGE
    pages = []
    while page < offset + length:
        pages.append(page)
        page += PAGE

    if any(world.extract(page) == 0 for page in pages):
        return True

    if not outside and not world.kernacc(offset, length, right):
        return True

    return right == "w" and not all(world.pages[page // PAGE][1] for page in pages)
