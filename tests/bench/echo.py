"""What a worker may be: it answers each line with a variable of its environment, until it is told to end."""

from __future__ import annotations

import os
import sys

for line in sys.stdin:
    if line.strip() == "end":
        sys.exit(3)
    print(os.environ[line.strip()], flush=True)
