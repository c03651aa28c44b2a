"""`python -m bench.baselines.runtime MODULE`: what Lambda's runtime does with a function, over stdin and stdout.

Only the standard library is imported, for this runs in another environment than the bench.
"""

from __future__ import annotations

import importlib
import json
import sys


def main() -> int:
    """Import the function, say that it is ready, answer an event a line."""
    handler = importlib.import_module(sys.argv[1]).handler
    print(json.dumps({"event": "ready"}), flush=True)
    for line in sys.stdin:
        print(json.dumps(handler(json.loads(line), None)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
