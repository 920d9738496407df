"""Write the page, the schema and the vectors to a folder: `python -m memhub.service.wire_page`."""

from __future__ import annotations

import sys
from pathlib import Path

from memhub.service.wire_page.files import files

for name, text in files().items():
    (Path(sys.argv[1]) / name).write_text(text, encoding="utf-8")
