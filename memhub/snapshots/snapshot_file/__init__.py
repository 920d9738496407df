"""The file form of a snapshot: text that describes the machines, then the pages of their memory.

The first line is `memhub-snapshot`, the format's number, and the SHA-256 of all that follows. The
second is JSON: each machine as the records of an audit log have it, with the places of its pages.
Behind it are the pages of all machines in turn, compressed with zlib. Times are relative, as in
`MachineSnapshot`. Reading makes values of it and executes nothing.

frame     the first line, and the file as a whole    pages   the pages
machines  one machine as JSON, both ways             caches  what its caches hold
shapes    what the JSON has to be
"""

from memhub.snapshots.snapshot_file.frame import FORMAT as FORMAT
from memhub.snapshots.snapshot_file.frame import MAGIC as MAGIC
from memhub.snapshots.snapshot_file.frame import SnapshotError as SnapshotError
from memhub.snapshots.snapshot_file.frame import decode_machines as decode_machines
from memhub.snapshots.snapshot_file.frame import encode_machines as encode_machines
