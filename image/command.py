"""What every command line of this package does with errors: one line on stderr and an exit code, never a traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable

from handler.errors import StartupError
from image.errors import ImageError

INTERRUPTED = 130


def exit_code(work: Callable[[], None]) -> int:
    """Do a command's work.

    Returns:
        0; 2 if something that the user can mend prevented it; 130 after Ctrl-C.
    """
    try:
        work()
    except (ImageError, StartupError) as error:
        print(f"firebrick: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:  # a full disk, a folder that can't be written
        print(f"firebrick: {error}", file=sys.stderr)
        return ImageError.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0
