"""`celery -A workers.turns worker -Q turns -P threads -c 200`: hundreds of model calls wait at once."""

from workers import app

__all__ = ["app"]
