"""Importers of other distributions read what memhub's own refuse."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from memhub import MachineSpec
from memhub.config import Imported, ImportRefused, import_dump
from memhub.config.importers.added import (
    Importer,
    ImporterBook,
    ImportSource,
    hookimpl,
    load_importers,
)

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
PROC = "reg00: base=0x000000000 (    0MB), size= 2048MB, count=1: write-back\n"


def read_hob(source: ImportSource) -> Imported | None:
    if not source.text.startswith("HOB"):
        return None

    return Imported(
        spec=MachineSpec(name=source.name, arch=source.arch), oddities=("short",), format="x"
    )


def book(**reads: Callable[[ImportSource], Any]) -> ImporterBook:
    plugin = SimpleNamespace()
    made = [Importer(name, "", read) for name, read in reads.items()]
    plugin.memhub_importers = hookimpl(specname="memhub_importers")(lambda: made)

    return load_importers(plugins=[("mine", plugin)], installed=False)


def test_a_text_that_memhub_does_not_know_is_shown_to_added_importers() -> None:
    imported = import_dump("HOB 1", name="box", arch="i386", added=book(hob=read_hob))

    assert (imported.spec.name, imported.spec.arch) == ("box", "i386")
    assert imported.format == "hob"
    assert imported.oddities == ("short",)


def test_the_importer_of_the_page_works() -> None:
    page = (ROOT / "docs" / "rigs.md").read_text()
    (code,) = re.findall(r"```python importer\n(.*?)```", page, re.DOTALL)
    plugin = ModuleType("page")
    exec(compile(code, "docs/rigs.md", "exec"), plugin.__dict__)
    added = load_importers(plugins=[("page", plugin)], installed=False)

    imported = import_dump("MYDUMP c06", arch="i386", added=added)

    assert (imported.format, dict(imported.spec.msrs or {})) == ("mydump", {0x2FF: 0xC06})


def test_memhub_s_own_formats_come_first() -> None:
    def never(source: ImportSource) -> Imported:
        pytest.fail("the added importer is asked")

    assert import_dump(PROC, added=book(hob=never)).format == "proc_mtrr"


def test_a_format_can_be_asked_for() -> None:
    both = "HOB\n" + PROC

    assert import_dump(both, added=book(hob=read_hob)).format == "proc_mtrr"
    assert import_dump(both, form="hob", added=book(hob=read_hob)).format == "hob"
    assert import_dump(both, form="proc_mtrr").format == "proc_mtrr"


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ("hob", "the text is not of the format 'hob'"),
        ("elf", "there is no format 'elf': dmesg, proc_mtrr, memcontrol, msr, hob"),
        ("msr", "the text has no msr lines; it has proc_mtrr lines"),
    ],
)
def test_a_text_of_another_format_is_refused(form: str, says: str) -> None:
    with pytest.raises(ImportRefused, match=says):
        import_dump(PROC, form=form, added=book(hob=read_hob))


def refuse(source: ImportSource) -> None:
    raise ImportRefused("checksum 7, not 9")


def fail(source: ImportSource) -> None:
    raise KeyError("x")


@pytest.mark.parametrize(
    ("read", "says"),
    [
        (refuse, "importer 'odd' of plugin 'mine': checksum 7, not 9"),
        (fail, "importer 'odd' of plugin 'mine' failed: KeyError: 'x'"),
        (lambda _: 5, "importer 'odd' of plugin 'mine' returned 5, which is not an Imported"),
        (lambda _: None, "the text has nothing to make a machine of"),
    ],
)
def test_an_importer_that_makes_no_machine_is_named(
    read: Callable[[ImportSource], Any], says: str
) -> None:
    with pytest.raises(ImportRefused, match=says):
        import_dump("HOB", added=book(odd=read))


def test_an_importer_that_fails_costs_the_others_nothing() -> None:
    imported = import_dump("HOB", added=book(odd=fail, odder=refuse, hob=read_hob))

    assert imported.format == "hob"
