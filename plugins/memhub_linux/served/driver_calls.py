"""The calls of a machine's drivers to Linux' ranges: their arguments by name, and their answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memhub_linux.mtrr import write_combining

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from memhub_linux.mtrr.layer import LinuxMtrr

    Args = Mapping[str, Any]


def _add(kernel: LinuxMtrr, op: str, args: Args) -> int:
    add = kernel.add_page if op == "add_page" else kernel.add

    return add(args["base"], args["size"], args["type"], increment=args.get("increment", True))


def _delete(kernel: LinuxMtrr, op: str, args: Args) -> int:
    delete = kernel.delete_page if op == "del_page" else kernel.delete

    return delete(args.get("reg", -1), args["base"], args["size"])


def _add_write_combining(kernel: LinuxMtrr, _op: str, args: Args) -> int:
    return write_combining.add_write_combining(kernel, args["base"], args["size"])


def _delete_write_combining(kernel: LinuxMtrr, _op: str, args: Args) -> None:
    write_combining.delete_write_combining(kernel, args["handle"])


def _look_up(kernel: LinuxMtrr, _op: str, args: Args) -> dict[str, Any]:
    type_, uniform = kernel.look_up(args["start"], args["end"])

    return {"type": type_, "uniform": None if uniform is None else int(uniform)}


def _save_fixed(kernel: LinuxMtrr, _op: str, _args: Args) -> None:
    kernel.save_fixed()


def _table(kernel: LinuxMtrr, _op: str, _args: Args) -> list[list[int]]:
    return kernel.table()


#: What answers each call, given the kernel, the call's name and its arguments.
DRIVER_CALLS: Final[Mapping[str, Callable[[LinuxMtrr, str, Args], Any]]] = {
    "add": _add,
    "add_page": _add,
    "del": _delete,
    "del_page": _delete,
    "wc_add": _add_write_combining,
    "wc_del": _delete_write_combining,
    "lookup": _look_up,
    "save_fixed": _save_fixed,
    "table": _table,
}
