import json
from uuid import uuid4

from django.db import transaction
from django.http import Http404, HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from wink_tasks import UnknownRunError
from wink_tasks.examples.frameworks.django_site.celery import wink
from wink_tasks.examples.frameworks.django_site.reviews.agents import review
from wink_tasks.examples.frameworks.django_site.reviews.models import Source


@csrf_exempt
@require_POST
def create(request: HttpRequest) -> JsonResponse:
    project, run_id = str(uuid4()), str(uuid4())
    with transaction.atomic():
        review.apply_async_on_commit((project,), task_id=run_id)  # the worker sees what is saved below
        for name, text in json.loads(request.body).items():
            Source.objects.create(project=project, name=name, text=text)
    return JsonResponse({"id": run_id}, status=202)


def show(_: HttpRequest, run_id: str) -> JsonResponse:
    run = wink.run(run_id)
    try:
        answer = {"status": run.status, "why": run.explain()}
    except UnknownRunError as error:
        raise Http404(str(error)) from error
    if run.successful():
        answer["review"] = run.get().model_dump()
    return JsonResponse(answer)
