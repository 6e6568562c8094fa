"""A Django project: code is kept in its database, and reviewed when the transaction that brought it is committed.

export DJANGO_SETTINGS_MODULE=wink_tasks.examples.frameworks.django_site.settings
python -m django migrate --run-syncdb
celery -A wink_tasks.examples.frameworks.django_site worker
python -m django runserver
"""

from wink_tasks.examples.frameworks.django_site.celery import app

__all__ = ["app"]
