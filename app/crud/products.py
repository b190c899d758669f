"""Products."""

from app.crud.base import CRUDBase
from app.models import Product


class ProductCRUD(CRUDBase[Product]):
    pass


products = ProductCRUD(Product)
