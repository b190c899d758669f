"""Products, as the staff keep them and as everybody sees them."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy.exc import IntegrityError

from app.core.audit import audit, difference
from app.core.database import AnyRow, ReadSession, WriteSession, constraint_of
from app.core.errors import NotFound, SkuTaken
from app.core.etag import check_if_match, version_tag
from app.core.listing import Page, PageQuery
from app.crud.products import products
from app.models import Product
from app.models.product import UNIQUE_SKU
from app.schemas.products import ProductCreate, ProductUpdate
from app.services.principal import Principal, require_admin


@dataclass(frozen=True, slots=True)
class ProductService:
    async def page(self, read: ReadSession, *, query: PageQuery) -> Page:
        return await products.page(read, query)

    async def get(self, read: ReadSession, *, product_id: int) -> AnyRow:
        product = await products.get(read, product_id)
        if product is None:
            raise NotFound
        return product

    async def create(self, session: WriteSession, *, principal: Principal, data: ProductCreate) -> Product:
        """SkuTaken when a product that is not deleted has this SKU."""
        require_admin(principal)
        try:
            product = await products.add(session, Product(**_columns(data.model_dump())))
        except IntegrityError as error:
            raise _refusal(error) from None
        await audit(
            session,
            action="product.created",
            object_type="product",
            object_id=product.id,
            changes=data.model_dump(mode="json"),
        )
        return product

    async def update(
        self, session: WriteSession, *, principal: Principal, product_id: int, data: ProductUpdate, if_match: str | None
    ) -> Product:
        """Orders keep the price at which they were placed."""
        product = await self._locked(session, principal, product_id, if_match)
        changes = _columns(data.model_dump(exclude_unset=True))
        if made := difference(product, changes):
            await audit(session, action="product.updated", object_type="product", object_id=product.id, changes=made)
        try:
            return await products.patch(session, product, changes)
        except IntegrityError as error:
            raise _refusal(error) from None

    async def delete(
        self, session: WriteSession, *, principal: Principal, product_id: int, if_match: str | None
    ) -> None:
        """Take a product out of sight; orders of it stay, and its SKU is free again."""
        product = await self._locked(session, principal, product_id, if_match)
        await products.soft_delete(session, product)
        await audit(session, action="product.deleted", object_type="product", object_id=product.id)

    async def _locked(
        self, session: WriteSession, principal: Principal, product_id: int, if_match: str | None
    ) -> Product:
        require_admin(principal)
        product = await products.lock(session, product_id)
        if product is None:
            raise NotFound
        check_if_match(if_match, version_tag(product.version))
        return product


def _columns(values: dict[str, Any]) -> dict[str, Any]:
    """On the wire the price is an object; in the table, two columns."""
    price = values.pop("price", None)
    return values | ({"price": price["amount"], "currency": price["currency"]} if price else {})


def _refusal(error: IntegrityError) -> Exception:
    return SkuTaken() if constraint_of(error) == UNIQUE_SKU else error
