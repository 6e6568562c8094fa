"""Deployable Celery apps for the application that WINK_APP names (package.module:wink)."""

import os

from wink_tasks.app import find_wink

app = find_wink(os.environ.get("WINK_APP")).app
