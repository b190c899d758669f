"""What the clinic sells."""

from datetime import datetime

from sqlalchemy import CheckConstraint, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database import Base
from app.core.enums import ProductSource
from app.models.base import Created, SoftDeleted, Versioned, WithId, enum_column, one_of

UNIQUE_SKU = "uq_products_sku"


class Product(WithId, Created, SoftDeleted, Versioned, Base):
    """A product. `price` in minor units of `currency`; `stock` is what can be ordered: orders take from it.

    `synced_in` is the marketplace run that saw it last, `withdrawn_at` since when the marketplace has it no more.
    """

    __tablename__ = "products"
    __table_args__ = (
        CheckConstraint(one_of("source", ProductSource), name="source"),
        CheckConstraint("price > 0", name="price"),
        CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency"),
        CheckConstraint("stock >= 0", name="stock"),
        Index(UNIQUE_SKU, "sku", unique=True, postgresql_where=text("deleted_at IS NULL")),
        Index(None, "sku", "id"),
        Index(None, "name", "id"),
    )

    sku: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    price: Mapped[int]
    currency: Mapped[str] = mapped_column(String(3))
    stock: Mapped[int] = mapped_column(server_default="0", default=0)
    source: Mapped[ProductSource] = mapped_column(
        enum_column(ProductSource), server_default=ProductSource.LOCAL.value, default=ProductSource.LOCAL
    )
    is_active: Mapped[bool] = mapped_column(server_default=text("true"), default=True)
    synced_in: Mapped[int | None]
    withdrawn_at: Mapped[datetime | None]
