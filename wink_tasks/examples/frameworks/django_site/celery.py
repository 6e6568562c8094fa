import os

from celery import Celery

from wink_tasks import Wink

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "wink_tasks.examples.frameworks.django_site.settings")

app = Celery("django_site")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.autodiscover_tasks(related_name="agents")

wink = Wink(app)
