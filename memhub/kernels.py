"""Find the kernels that are installed: what others than FreeBSD do with a machine's registers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from memhub.core.drivers.served_kernel import FREEBSD
from memhub.core.spec_rules import suggest
from memhub.hook_values import refuse_value
from memhub.hooks import HookKind, PluginFailure, keep_single, load_hook
from memhub.plugin import kernels
from memhub.plugin.kernels import KernelProfile

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from memhub.core.drivers.served_kernel import ServedKernel

#: Kernels: a module with the hook `memhub_kernels`.
KERNEL_HOOK: Final = HookKind("kernels", kernels.GROUP, kernels, "memhub_kernels", KernelProfile)


@dataclass(frozen=True, slots=True)
class KernelBook:
    """The kernels by name, and the plugins that failed.

    Attributes:
        kernels: by name.
        failures: what could not be loaded.
    """

    kernels: Mapping[str, KernelProfile]
    failures: tuple[PluginFailure, ...] = ()

    def find(self, name: str) -> KernelProfile:
        """A kernel by its name.

        Raises:
            ValueError: there is none of that name; the error names those that there are.
        """
        if name in self.kernels:
            return self.kernels[name]

        have = ", ".join(sorted({FREEBSD, *self.kernels}))
        hint = suggest(name, [FREEBSD, *self.kernels])
        failed = "".join(f"; {it}" for it in self.failures)
        raise ValueError(f"kernel {name!r} is not installed (installed: {have}){hint}{failed}")

    def find_recorded(self, kernel: str) -> KernelProfile | None:
        """The kernel that recorded answers are of, or None."""
        return next((it for it in self.kernels.values() if kernel in it.recorded), None)


def find_served(name: str) -> ServedKernel:
    """An installed kernel that a hub can serve.

    Raises:
        ValueError: there is none of that name, or a hub cannot serve it.
    """
    book = _installed()
    served = book.find(name).served
    if served is None:
        able = ", ".join([FREEBSD, *(it.name for it in book.kernels.values() if it.served)])
        raise ValueError(
            f"kernel {name!r} cannot be the kernel of a machine (those that can: {able})"
        )

    return served


@lru_cache(maxsize=1)  # each machine of another kernel asks
def _installed() -> KernelBook:
    return load_kernels()


def load_kernels(
    *, plugins: Iterable[tuple[str, object]] = (), installed: bool = True
) -> KernelBook:
    """The kernels that are installed.

    Args:
        plugins: more plugins, as `(name, module or object)`, for tests and embedders.
        installed: also load the entry points of the group `memhub.kernels`.

    Returns:
        the kernels; of two plugins that name one kernel neither is used, since their order would
        be an accident.
    """
    loaded = load_hook(KERNEL_HOOK, plugins=plugins, installed=installed)
    kept = keep_single(
        (loaded,), "kernel", own=(FREEBSD,), refuse=lambda it: refuse_value(it, "replay")
    )

    return KernelBook(kept.values, kept.failures)
