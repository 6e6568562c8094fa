"""A Celery app with nothing of ours."""

from __future__ import annotations

import os

from celery import Celery

app = Celery("bare", broker=os.environ["HOP_REDIS_URL"], backend=os.environ["HOP_REDIS_URL"])
app.conf.broker_connection_retry_on_startup = True
