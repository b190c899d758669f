"""What the clinic sells."""

from typing import Annotated, Any

from fastapi import Depends, Response
from starlette.convertors import StringConvertor, register_url_convertor

from app.core.listing import PageQuery
from app.dependencies.access import ProductsWriter
from app.dependencies.idempotency import Idempotent
from app.dependencies.listing import page_query
from app.dependencies.resources import Catalogue, CursorsDep, Jobs, Products
from app.dependencies.session import IfMatch, IfNoneMatch, PublicRead, Read, Write
from app.routers.responses import PathId, accepted, conditional, created, paged, tagged
from app.routers.route import Router
from app.schemas.base import PageOut
from app.schemas.jobs import JobRead
from app.schemas.products import PRODUCTS, ProductCreate, ProductRead, ProductUpdate


class ProductConvertor(StringConvertor):
    """Anything but `sync`, whose method is its own: without it, `PATCH /products/sync` is an id that is no number."""

    regex = "(?!sync$)[^/]+"


register_url_convertor("product", ProductConvertor())
router = Router(prefix="/products", tags=["shop"])


@router.get("", response_model=PageOut[ProductRead])
async def list_products(
    query: Annotated[PageQuery, Depends(page_query(PRODUCTS))],
    products: Products,
    read: PublicRead,
    cursors: CursorsDep,
) -> Any:
    return paged(await products.page(read, query=query), query, PRODUCTS, cursors)


@router.post("", status_code=201, response_model=ProductRead)
async def create_product(
    data: ProductCreate,
    principal: ProductsWriter,
    _: Annotated[None, Idempotent],
    products: Products,
    session: Write,
    response: Response,
) -> Any:
    """Admins only. `409 sku_taken` when a product that is not deleted has this SKU."""
    return created(response, await products.create(session, principal=principal, data=data), "products")


@router.post("/sync", status_code=202, response_model=JobRead)
async def sync_products(
    principal: ProductsWriter,
    _: Annotated[None, Idempotent],
    catalogue: Catalogue,
    jobs: Jobs,
    session: Write,
    response: Response,
) -> Any:
    """Admins only. The answer is the job that pulls the marketplace's catalogue: the one that runs, if one does."""
    job_id = await catalogue.request(session, principal=principal)
    return accepted(response, await jobs.accepted(session, job_id=job_id))


@router.get("/{product_id:product}", response_model=ProductRead)
async def get_product(
    product_id: PathId, products: Products, read: Read, response: Response, if_none_match: IfNoneMatch = None
) -> Any:
    return conditional(response, await products.get(read, product_id=product_id), if_none_match)


@router.patch("/{product_id:product}", response_model=ProductRead)
async def update_product(
    product_id: PathId,
    data: ProductUpdate,
    principal: ProductsWriter,
    products: Products,
    session: Write,
    response: Response,
    if_match: IfMatch = None,
) -> Any:
    """Admins only. `price` is replaced as a whole; orders keep the price at which they were placed."""
    product = await products.update(session, principal=principal, product_id=product_id, data=data, if_match=if_match)
    return tagged(response, product)


@router.delete("/{product_id:product}", status_code=204, response_class=Response)
async def delete_product(
    product_id: PathId, principal: ProductsWriter, products: Products, session: Write, if_match: IfMatch = None
) -> None:
    """Admins only. The product is out of sight; orders of it stay, and its SKU is free again."""
    await products.delete(session, principal=principal, product_id=product_id, if_match=if_match)
