"""The code reviewer behind Flask: start a review, and ask for it until it is there.

celery -A wink_tasks.examples.code_review worker
flask --app wink_tasks.examples.frameworks.flask_app run
"""

from typing import Any

from flask import Flask, request

from wink_tasks import UnknownRunError
from wink_tasks.examples.code_review import review, wink

app = Flask(__name__)


@app.errorhandler(UnknownRunError)
def unknown(error: UnknownRunError) -> tuple[dict[str, str], int]:
    return {"why": str(error)}, 404


@app.post("/reviews")
def create() -> tuple[dict[str, Any], int]:
    run = review.delay(request.args.get("path", "."), security="security" in request.args)
    return {"id": run.id}, 202


@app.get("/reviews/<run_id>")
def show(run_id: str) -> dict[str, Any]:
    run = wink.run(run_id)
    answer = {"status": run.status, "why": run.explain()}
    if run.successful():
        answer["review"] = run.get().model_dump()
    return answer


@app.delete("/reviews/<run_id>")
def cancel(run_id: str) -> tuple[str, int]:
    wink.run(run_id).cancel("cancelled over HTTP")
    return "", 202
