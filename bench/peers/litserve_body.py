"""How a LitServe API takes a request's body as it is: LitServe itself parses forms and JSON only."""

from fastapi import Depends, Request
from typing_extensions import Annotated


async def _body(request: Request) -> bytes:
    return await request.body()


#: What `decode_request` has as its argument's annotation, which LitServe hands to FastAPI.
Body = Annotated[bytes, Depends(_body)]
