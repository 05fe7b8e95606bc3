from __future__ import annotations

from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from concave import http_action, http_router

from . import events

http = http_router()


@http_action
async def hook(ctx, request):
    event = await request.json()
    await ctx.run_mutation(events.add, {"kind": event["kind"]})
    return JSONResponse({"url": str(request.url), "kinds": await ctx.run_query(events.kinds)}, status_code=201)


@http_action
async def preflight(ctx, request):
    return Response(status_code=204, headers={"access-control-allow-origin": request.headers["origin"]})


@http_action
async def upper(ctx, request):
    """Answers while it is being asked: one part for each part."""

    async def parts():
        async for part in request.stream():
            yield part.upper()

    return StreamingResponse(parts(), media_type="text/plain")


@http_action
async def halfway(ctx, request):
    async def parts():
        yield b"the first part"
        raise RuntimeError("broke off")

    return StreamingResponse(parts())


@http_action
async def size(ctx, request):
    return PlainTextResponse(str(len(await request.body())))


@http_action
async def zeros(ctx, request):
    return Response(bytes(int(request.query_params["size"])))


http.route(path="/hook", method="POST", handler=hook)
http.route(path="/hook", method="OPTIONS", handler=preflight)
http.route(path="/upper", method="POST", handler=upper)
http.route(path="/halfway", method="GET", handler=halfway)
http.route(path="/size", method="POST", handler=size)
http.route(path_prefix="/zeros/", method="GET", handler=zeros)
