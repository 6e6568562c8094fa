import os

BASE = "wink_tasks.examples.frameworks.django_site"

ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
CELERY_BROKER_URL = os.environ.get("CELERY_BROKER_URL", "redis://localhost:6379/1")
DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ.get("SITE_DATABASE", "site.sqlite3")}
}
DEBUG = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [f"{BASE}.reviews"]
ROOT_URLCONF = f"{BASE}.urls"
SECRET_KEY = os.environ.get("SITE_SECRET", "for development only")
USE_TZ = True
