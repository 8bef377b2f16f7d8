"""Fetching weights from the Hugging Face Hub, or a mirror of it, and checking what arrived.

``huggingface_hub`` does the transfer (cache, resuming, proxies, tokens) and is imported only when it is needed. Here
are: the licence, progress and cancel, the check of size and SHA-256, and what to tell a person when it fails.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import hashlib
import os
import re
import shutil
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from VISTA3DLib.download_errors import explained
from VISTA3DLib.errors import CancelledError, DownloadError, LicenceError, OutputError, VISTA3DError
from VISTA3DLib.progress import Cancel, Progress, ProgressCallback, ignore_progress
from VISTA3DLib.weights import Origin, WeightsEntry, accept, is_accepted
