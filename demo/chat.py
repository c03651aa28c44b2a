"""`python -m demo.chat DIR [--port 8080]`: serve an artefact and open its page, until Ctrl-C."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import webbrowser
from collections.abc import Mapping, Sequence
from pathlib import Path

from demo.serving import ServerEnded, served


def has_screen(environ: Mapping[str, str]) -> bool:
    """Whether a browser would have a window; without one, it might take the terminal."""
    return bool(environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m demo.chat", description="Chat with an artefact in a browser.")
    parser.add_argument("model_dir", type=Path, metavar="DIR")
    parser.add_argument("--port", type=int, default=8080, help="(%(default)s)")
    args = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever ends this means the server too
    try:
        with served(args.model_dir, args.port) as server:
            opened = has_screen(os.environ) and webbrowser.open(server.url)
            what = "is open in your browser" if opened else "is what to open in a browser"
            print(f"{server.url} {what}; Ctrl-C ends {server.model}", flush=True)
            return server.process.wait()
    except ServerEnded as ended:
        return ended.code
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
