"""Makes a list's grammar a FastAPI dependency, so that OpenAPI names every parameter that it allows."""

from collections.abc import Callable
from inspect import Parameter, Signature
from typing import Annotated, Any

from fastapi import Depends, Query
from pydantic import BaseModel

from app.core.listing import Cursors, Listing, PageQuery
from app.dependencies.resources import get_cursors


def page_query(listing: Listing) -> Callable[..., Any]:
    """The dependency that reads and checks `listing`'s query parameters and gives a PageQuery."""

    async def read(params: BaseModel, cursors: Cursors) -> PageQuery:
        return listing.parse(params, cursors)

    read.__signature__ = Signature(  # type: ignore[attr-defined]
        [
            Parameter("params", Parameter.KEYWORD_ONLY, annotation=Annotated[listing.model, Query()]),
            Parameter("cursors", Parameter.KEYWORD_ONLY, annotation=Annotated[Cursors, Depends(get_cursors)]),
        ]
    )
    return read
