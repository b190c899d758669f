"""Makes a list's grammar a FastAPI dependency, so that OpenAPI names every parameter that it allows."""

from collections.abc import Callable
from inspect import Parameter, Signature
from typing import Annotated, Any

from fastapi import Depends, Query, Request
from pydantic import BaseModel

from app.core.errors import Invalid
from app.core.listing import Cursors, Listing, PageQuery
from app.dependencies.resources import get_cursors


async def given_once(request: Request) -> None:
    """Refuse a query string that gives a parameter twice which takes one value: whichever won, one would be ignored."""
    given: set[str] = set()
    for name, _ in request.query_params.multi_items():
        if name in given and not name.endswith("__in"):
            raise Invalid("is given more than once", loc=("query", name), kind="repeated")
        given.add(name)


GivenOnce = Depends(given_once)


def page_query(listing: Listing) -> Callable[..., Any]:
    """The dependency that reads and checks `listing`'s query parameters and gives a PageQuery."""

    async def read(params: BaseModel, cursors: Cursors, _: None) -> PageQuery:
        return listing.parse(params, cursors)

    read.__signature__ = Signature(  # type: ignore[attr-defined]
        [
            Parameter("params", Parameter.KEYWORD_ONLY, annotation=Annotated[listing.model, Query()]),
            Parameter("cursors", Parameter.KEYWORD_ONLY, annotation=Annotated[Cursors, Depends(get_cursors)]),
            Parameter("_", Parameter.KEYWORD_ONLY, annotation=Annotated[None, GivenOnce]),
        ]
    )
    return read
