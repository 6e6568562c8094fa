"""`celery -A beat beat`: the application's own schedule. Recovery and retention need no beat: workers see to them."""

import os

from wink_tasks.app import find_wink

app = find_wink(os.environ.get("WINK_APP")).app
