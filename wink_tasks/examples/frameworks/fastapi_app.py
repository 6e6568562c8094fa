"""The code reviewer behind FastAPI: nothing of it holds the event loop.

celery -A wink_tasks.examples.code_review worker
uvicorn wink_tasks.examples.frameworks.fastapi_app:web
"""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse

from wink_tasks import EvaluationFailedError, Run, RunTimeoutError, UnknownRunError, WinkError
from wink_tasks.core.codec import encode
from wink_tasks.examples.code_review import Review, review, wink

STATUS = {UnknownRunError: 404, EvaluationFailedError: 422, RunTimeoutError: 504, WinkError: 500}


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield
    await wink.aleave()


web = FastAPI(lifespan=lifespan)


@web.exception_handler(WinkError)
async def explain(_: Request, error: Exception) -> JSONResponse:
    status = next(status for kind, status in STATUS.items() if isinstance(error, kind))
    return JSONResponse({"error": type(error).__name__, "why": str(error)}, status)


@web.post("/reviews", status_code=202)
async def create(path: str = ".", security: bool = False) -> dict[str, str]:
    run = await review.adelay(path, security=security)
    return {"id": run.id}


@web.get("/reviews/{run_id}")
async def show(run_id: str, wait: float = 30.0) -> Review:
    run: Run[Review] = wink.run(run_id)
    return await run.aget(timeout=wait)


@web.get("/reviews/{run_id}/events")
async def follow(run_id: str) -> StreamingResponse:
    run = wink.run(run_id)
    await run.asession()  # an unknown run is answered before the stream begins

    async def lines() -> AsyncIterator[str]:
        async with aclosing(run.aevents()) as events:
            async for event in events:
                yield f"id: {event.seq}\nevent: {type(event.event).__name__}\ndata: {encode(event.event).decode()}\n\n"

    return StreamingResponse(lines(), media_type="text/event-stream")


@web.delete("/reviews/{run_id}", status_code=202)
async def cancel(run_id: str) -> None:
    await wink.run(run_id).acancel("cancelled over HTTP")
