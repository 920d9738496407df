"""A device is what is opened, not how it is spelt: paths of unmodified programs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from exec.exec_rig import TEXT, MakeNode, Opened


@pytest.mark.parametrize(
    "path",
    [
        "//dev/mem",
        "///dev//./mem",
        "/proc/self/root/dev/mem",
        "/proc/thread-self/root/dev/mem",
        "/proc/self/cwd/mem",
        "/proc/self/task/../root/dev/mem",
        "/proc/1/../../dev/mem",
        "/proc/self/../../dev/mem",
        "/dev/fd/../root/dev/mem",
        "./mem",
        "../dev/mem",
        "{tmp}/link",
        "{tmp}/chain",
        "{tmp}/relative",
        "{tmp}/folder/mem",
        "{tmp}/folder/../dev/mem",
        "{tmp}/through",
    ],
)
def test_every_spelling_of_the_device_is_the_machines(
    opened: Opened, tmp_path: Path, path: str
) -> None:
    """By links, linked directories, /proc and dots, in the main thread and in another."""
    (tmp_path / "link").symlink_to("/dev/mem")
    (tmp_path / "chain").symlink_to("link")
    (tmp_path / "relative").symlink_to(os.path.relpath("/dev/mem", tmp_path.resolve()))
    (tmp_path / "folder").symlink_to("/dev")
    (tmp_path / "through").symlink_to("/proc/thread-self/cwd/mem")
    shown = opened(
        f"""
chdir("/dev")
path = {path.format(tmp=tmp_path)!r}
thread = threading.Thread(target=lambda: print(opened(path), opened(path, O_RDWR | O_CREAT)))
thread.start()
thread.join()
print(opened(path))
"""
    )

    assert shown == ["hello hello", "hello"]


def test_descriptors_of_directories_lead_to_the_machines_device(
    opened: Opened, tmp_path: Path
) -> None:
    (tmp_path / "folder").symlink_to("/dev")
    shown = opened(
        f"""
for base, rest in (("/", "dev/mem"), ("/dev", "mem"), ("/proc/self/root", "dev/mem"),
                   ({str(tmp_path)!r}, "folder/mem"), ("/proc/self", "root/dev/mem")):
    print(opened(rest, dir_fd=open(base, O_RDONLY | O_DIRECTORY)))
print(opened("mem", dir_fd=open({str(tmp_path / "folder")!r}, O_PATH)))
"""
    )

    assert shown == ["hello"] * 6


def test_a_node_of_the_same_number_is_the_machines_device(
    opened: Opened, make_node: MakeNode, tmp_path: Path
) -> None:
    """Made outside or by the program itself; also by a descriptor that only names it."""
    path = make_node(1, 1)
    shown = opened(
        f"""
path, made = {path!r}, {path!r} + "-made"
mknod(made, 0o020600, makedev(1, 1))
link(made, made + "-linked")
named = open(path, O_PATH)
print(opened(path), opened(made), opened(made + "-linked"), opened(f"/proc/self/fd/{{named}}"))
"""
    )

    assert shown == ["hello hello hello hello"]


def test_a_handle_of_a_node_opens_the_machines_device(opened: Opened, make_node: MakeNode) -> None:
    """open_by_handle_at has no path to look at."""
    shown = opened(
        f"""
path = {make_node(1, 1)!r}
handle = ctypes.create_string_buffer(struct.pack("<Ii", 120, 0), 128)
mount = ctypes.c_int()
if libc.name_to_handle_at(-100, path.encode(), handle, ctypes.byref(mount), 0):
    print("no handles here")
else:
    folder = open(path.rpartition("/")[0], O_RDONLY)
    fd = libc.open_by_handle_at(folder, handle, O_RDONLY)
    print(pread(fd, 5, 4096) if fd >= 0 else errno.errorcode[ctypes.get_errno()])
"""
    )
    if shown == ["no handles here"]:
        pytest.skip("this file system has no handles")

    assert shown == [str(TEXT[:5])]


def test_other_roots_and_mounts_are_the_programs_own(
    opened: Opened, make_node: MakeNode, tmp_path: Path
) -> None:
    """After chroot, a path is looked up below the new root, links included."""
    if os.geteuid():
        pytest.skip("chroot needs root")

    root = tmp_path / "root"
    (root / "dev").mkdir(parents=True)
    (root / "folder").symlink_to("/dev")
    (root / "plain").write_text("x" * 4096 + "plain")
    (root / "odd").symlink_to("../../../../../plain")
    os.link(make_node(1, 1), root / "node")
    shown = opened(
        f"""
chroot({str(root)!r})
chdir("/")
for path in ("/dev/mem", "//dev/mem", "dev/mem", "../../dev/mem", "/folder/mem", "/node", "/odd"):
    print(opened(path))
"""
    )

    assert shown == ["hello"] * 6 + ["plain"]


def test_other_files_are_opened_as_ever(opened: Opened, tmp_path: Path) -> None:
    """Names that look like a device's, links and files of procfs that are none."""
    (tmp_path / "mem").write_text("x" * 4096 + "plain")
    (tmp_path / "link").symlink_to("mem")
    (tmp_path / "loop").symlink_to("loop")
    shown = opened(
        f"""
chdir({str(tmp_path)!r})
print(opened("mem"), opened("link"), opened("loop"), opened("/dev/mem/"), opened("mem/"))
print(opened("none"), opened("none/mem"), opened("link", O_RDONLY | O_NOFOLLOW), opened(""))
print(opened("new", O_RDWR | O_CREAT | O_EXCL) == "", opened("new", O_RDWR | O_CREAT | O_EXCL))
print(opened("mem", dir_fd=999), opened("mem", dir_fd=open("mem", O_RDONLY)))
print(b"Pid:\\t%d\\n" % getpid() in read(open("/proc/self/status", O_RDONLY), 4096))
"""
    )

    missing = "ENOTDIR" if Path("/dev/mem").exists() else "ENOENT"
    assert shown == [
        f"plain plain ELOOP {missing} ENOTDIR",
        "ENOENT ENOENT ELOOP ENOENT",
        "True EEXIST",
        "EBADF ENOTDIR",
        "True",
    ]


def test_restrictions_of_openat2_hold_for_a_device(opened: Opened, tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "link").symlink_to("/dev/mem")
    shown = opened(
        f"""
def restricted(path, resolve):
    how = struct.pack("<QQQ", O_RDONLY, 0, resolve)
    fd = call(437, folder, path, how, ctypes.c_size_t(24))
    return fd if isinstance(fd, str) else pread(fd, 5, 4096).decode()

folder = open({str(tmp_path)!r}, O_RDONLY)
for path, resolve in ((b"link", 0), (b"link", 4), (b"link", 8), (b"/dev/mem", 8), (b"link", 1),
                      (b"/proc/self/root/dev/mem", 2)):
    print(restricted(path, resolve))
"""
    )

    assert shown[:4] == ["hello", "ELOOP", "EXDEV", "EXDEV"]
    assert shown[5] == "ELOOP"
