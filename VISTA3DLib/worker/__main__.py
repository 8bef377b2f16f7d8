"""Entry point of the worker process. Standard output is claimed before anything heavy is imported."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> None:
    """Run the worker with the session folder given as the only argument."""
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        sys.stderr.write("usage: python -m VISTA3DLib.worker SESSION_FOLDER (an existing folder)\n")
        raise SystemExit(2)
    # What libraries print, in Python or C, must not get between the replies: it goes to stderr.
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    from VISTA3DLib.worker.server import WorkerServer

    WorkerServer(Path(sys.argv[1]), sys.stdin.buffer, replies).run()


if __name__ == "__main__":
    main()
