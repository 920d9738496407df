"""kvm(3): kernel memory by address and by symbol, of a machine that runs or of an image of one.

opening     on a hub, a client, an image     descriptor  `Kvm` and `AsyncKvm`
symbols     names of a kernel's file         session     the rules that both share
dead        images as `/dev/kmem`            dwarf       structures by their debug information
page_tables page tables in an image          stretches   contents of an image, by address
minidump    FreeBSD's minidumps of amd64
"""

from __future__ import annotations

from memhub.core.memory.kvm import Nlist as Nlist
from memhub.kvm.descriptor import AsyncKvm as AsyncKvm
from memhub.kvm.descriptor import Kvm as Kvm
from memhub.kvm.dwarf import KernelTypes as KernelTypes
from memhub.kvm.failure import KvmError as KvmError
from memhub.kvm.opening import open_blocking as open_blocking
from memhub.kvm.opening import open_image as open_image
from memhub.kvm.opening import open_live as open_live
from memhub.kvm.page_tables import TableFormat as TableFormat
from memhub.kvm.symbols import read_symbols as read_symbols
from memhub.kvm.types import CType as CType
from memhub.kvm.types import Member as Member
