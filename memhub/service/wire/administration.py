"""The requests for whole machines: FAULTS and SNAPSHOT."""

from __future__ import annotations

from memhub.service.wire.greeting import FEATURE_FAULTS, FEATURE_SNAPSHOTS
from memhub.service.wire.layout import Message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar

    from memhub.service.wire.layout import rest, text

#: What FAULTS can ask for.
FAULT_WORDS = ("list", "add", "remove", "check", "reinit", "suspend", "resume")


class Faults(Message):
    """List, add or remove fault rules and sicknesses; DATA answers with a JSON array of them.

    Or suspend or resume a machine, or check or re-initialise the registers of its CPUs: DATA has
    an array of the CPUs that a check found out of step, else an empty one. It needs the right
    `inject-faults`: on the machine, or for every machine where a rule names none. A list has what
    the client may touch.

    Attributes:
        what: `list`, `add`, `remove`, `check`, `reinit`, `suspend` or `resume`.
        rule: to add, the rule or sickness as a JSON object, with the fields of docs/faults.md; to
            remove, its name; to list, empty (EINVAL otherwise); else the machine's name, empty for
            the default one. See "FAULTS" among the JSON bodies.

    Errors: EAGAIN, EBUSY, EINVAL, ENOENT, ENXIO, EOPNOTSUPP, EPERM.
    """

    TYPE: ClassVar[int] = 0x2E
    FEATURE: ClassVar[int] = FEATURE_FAULTS

    what: text
    rule: text


#: What SNAPSHOT can ask for.
SNAPSHOT_WORDS = ("take", "put", "restore", "reset", "load", "replace")


class Snapshot(Message):
    """Take machines as they are, let them go back to that, or to their start; DATA answers.

    `take` is answered with a file (docs/snapshots.md), and needs `read-memory` and `read-ranges`.
    `put` brings the next piece of such a file, and is answered with JSON: how many `bytes` have
    come. `restore` goes back to the file that was put, and forgets it, also if it fails; without
    a `put` before it is EINVAL. `reset` goes back to the start. Both are answered with JSON: the
    `machines` by name. `load` puts what the file that was put has (docs/images.md) into the RAM of
    one machine, and forgets it too, and `replace` lets the rest of that RAM be zero; they are
    answered with JSON: how many `bytes` were loaded. All but `take` need `restore-machines`, `put`
    on any machine.

    Attributes:
        what: `take`, `put`, `restore`, `reset`, `load` or `replace`.
        machine: one machine's name; empty is every machine, or all that the file has, and for
            `load` and `replace` the default one. Not looked at to put.
        data: to put, a piece of the file, of 2^28 bytes at most (ENOSPC, and it is forgotten);
            else not looked at.

    Errors: EINVAL, ENOENT, ENOMEM, ENOSPC, EPERM.
    """

    TYPE: ClassVar[int] = 0x30
    FEATURE: ClassVar[int] = FEATURE_SNAPSHOTS

    what: text
    machine: text
    data: rest
