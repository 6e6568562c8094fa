# One image for every service of docker-compose.yml: each names its own command.
FROM python:3.13-slim

RUN useradd --create-home wink
WORKDIR /srv/wink
COPY . .
# The versions that the tests ran with.
RUN pip install --no-cache-dir --constraint requirements-dev.lock '.[demo,flower,openai]' && rm -rf /srv/wink/*

USER wink
ENV PYTHONUNBUFFERED=1
# Exec form: Celery itself gets the SIGTERM of `docker stop`, and drains.
CMD ["celery", "-A", "workers.turns", "worker", "-Q", "turns", "-P", "threads", "-c", "200"]
