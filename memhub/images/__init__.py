"""Images of physical memory: files and patterns that a machine begins with, or is loaded with.

reading   a file of any format            raw files: `sparse`
records   Intel HEX, Motorola S-records   elf     kernels and cores     lime    LiME's dumps
patterns  contents without a file         dump    memory saved: `writing`, `whole_file`

Libraries of the extra `memhub[images]` (bincopy, pyelftools) are imported where they are needed.
"""

from __future__ import annotations

from memhub.images.dump import DUMP_FORMATS as DUMP_FORMATS
from memhub.images.dump import DumpFormat as DumpFormat
from memhub.images.dump import MemoryDump as MemoryDump
from memhub.images.failure import ExtraMissing as ExtraMissing
from memhub.images.failure import ImageError as ImageError
from memhub.images.patterns import address_words as address_words
from memhub.images.patterns import fill as fill
from memhub.images.patterns import repeat as repeat
from memhub.images.reading import FORMATS as FORMATS
from memhub.images.reading import ImageFormat as ImageFormat
from memhub.images.reading import load_image as load_image
