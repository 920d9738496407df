"""The configuration of Sphinx; `python -m docs.build_site OUT` prepares what it reads."""

from __future__ import annotations

import re
from importlib.metadata import version as installed
from typing import TYPE_CHECKING, Final

from pygments.lexers.special import TextLexer

from docs.reference import import_for_types

if TYPE_CHECKING:
    from sphinx.application import Sphinx

import_for_types()

project = "memhub"
author = "The memhub developers"
release = version = installed("memhub")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = [".doctrees"]
html_theme = "furo"
# A line of code may be 100 characters long.
html_theme_options = {"light_css_variables": {"code-font-size": "75%"}}
html_title = f"memhub {version}"
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False
templates_path: list[str] = []

# Headings are the anchors that links name, as code hosts make them.
myst_heading_anchors = 4

# Docstrings quote code in single backticks, and leave types to the signature.
default_role = "code"
maximum_signature_line_length = 80
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_use_ivar = True
napoleon_use_rtype = False
python_use_unqualified_type_names = True

# Without a network nothing but memhub's own names can be looked up. These have no page: types
# mention them, and nobody makes one or looks into one.
nitpicky = True
nitpick_ignore_regex = [
    (r"py:.*", r"(?!memhub\b).*"),
    (
        r"py:class",
        r"memhub\.core\.(files|machine|served|deciding\.kernel_requests|holding\.\w+)\.\w+",
    ),
    (r"py:class", r"memhub\.core\.(caches\.content\.CachesContent|requests\.RefuseIoctl)"),
    (r"py:class", r"memhub\.(abi_layout\.Layout|engine\.engine\.Engine|escape\.EscapedMessage)"),
    (r"py:class", r"memhub\.handles\.async_shell\.Turns"),
    (r"py:class", r"memhub\.engine\.(listeners\.Interest|log_keeping\.LogKeeper)"),
    (r"py:class", r"memhub\.kvm\.(minidump|stretches)\.\w+"),
    (r"py:class", r"memhub\.rig\.hub_(faults|hardware)\.\w+"),
    (r"py:class", r"memhub\.core\.(health\.\w+|memory\.\w+|ranges\.(range_table|undo))\.\w+"),
    (r"py:class", r"memhub\.(compare\.(kernels|outcome)\.\w+|planner\.wanted\.StretchMap)"),
    (r"py:class", r"memhub\.core\.asking\.asked_driver\.CallMark"),
    (r"py:class", r"memhub\.audit\.(writing\.opening|seals\.seal_text|reading\.snapshots)\.\w+"),
    (r"py:(class|obj)", r"memhub\.hooks\.T"),
    (r"py:class", r"memhub\.rig\.(service_process\.ServiceStarter|pauses\.\w+)"),
    (r"py:class", r"memhub\.rig\.(traces|trace_steps)\.(\w*Step|KernelTrace)"),
    (r"py:class", r"memhub\.rig\.(transfer_traces\.TransferTrace|log_replay\.steps\.LogStep)"),
    (r"py:class", r"memhub\.service\.(blocking\.line\.Line|remote_replies\.HeldClaim)"),
    (r"py:class", r"memhub\.service\.(client\.caller\.Caller|wire\.\w+\.\w+)"),
    (r"py:class", r"memhub\.service\.(local\.(passing_time|snapshots)|server\.listening)\.\w+"),
]

# `type` is Python's own where a type is meant, and DuckDB's SQL has literals that others do not.
suppress_warnings = ["ref.python", "misc.highlighting_failure"]

#: A line of a table that is made of spaces.
_ALIGNED: Final = re.compile(r"\S {2,}\S")


def keep_tables(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Show the paragraphs of a docstring that are tables made of spaces as they are written."""
    written: list[str] = []
    for block in "\n".join(lines).split("\n\n"):
        rows = block.splitlines()
        aligned = sum(bool(_ALIGNED.search(row)) for row in rows)
        if rows and not rows[0].startswith(" ") and aligned * 2 > len(rows):
            written += ["::", "", *(f"    {row}" for row in rows), ""]
        else:
            written += [*rows, ""]

    lines[:] = written


def keep_colons(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Hide the first line of a property from napoleon, which takes `X: Y` for a type and a text."""
    if what in ("attribute", "data", "property") and ":" in lines[0]:
        lines[:0] = ["..", ""]


def hide_signature(
    app: Sphinx, what: str, name: str, obj: object, options: object, signature: str, returns: str
) -> tuple[str, str] | None:
    """Show no arguments of a protocol, which nobody makes."""
    return ("", "") if getattr(obj, "_is_protocol", False) else None


def setup(app: Sphinx) -> None:
    """Add what the pages need beyond the extensions."""
    app.add_lexer("hex", TextLexer)
    app.connect("autodoc-process-docstring", keep_tables)
    app.connect("autodoc-process-docstring", keep_colons, priority=400)
    app.connect("autodoc-process-signature", hide_signature)
