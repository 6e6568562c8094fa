"""`celery -A workers.tools worker -Q tools`: tools in processes of their own, with time limits."""

from workers import app

__all__ = ["app"]
