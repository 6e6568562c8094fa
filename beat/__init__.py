"""`celery -A beat beat`: the application's own schedule. Recovery and retention need no beat: workers see to them."""

from workers import app

__all__ = ["app"]
