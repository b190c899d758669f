"""The typed generic over one table: reads give rows, writes give objects and flush; nothing here commits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Row, Select, and_, func, or_, select, tuple_

from app.core.database import Base, ReadSession, WriteSession
from app.core.listing import Filter, PageQuery, Sort
from app.models.base import SoftDeleted, Versioned

ModelT = TypeVar("ModelT", bound=Base)


@dataclass(frozen=True, slots=True)
class Page:
    """`last` holds the sort values of the last row when there may be more; `total` only when it was asked for."""

    rows: Sequence[Row[Any]]
    last: tuple[Any, ...] | None
    total: int | None


class CRUDBase(Generic[ModelT]):
    """Reads and writes of one table. Soft-deleted rows are never seen."""

    def __init__(self, model: type[ModelT]) -> None:
        self.model = model
        self.columns = model.__table__.c

    def live(self) -> tuple[ColumnElement[bool], ...]:
        return (self.columns.deleted_at.is_(None),) if issubclass(self.model, SoftDeleted) else ()

    def select(self, *where: ColumnElement[bool]) -> Select[Any]:
        return select(self.model.__table__).where(*self.live(), *where)

    async def get(self, read: ReadSession, id_: int, *, where: Sequence[ColumnElement[bool]] = ()) -> Row[Any] | None:
        return await read.first(self.select(self.columns.id == id_, *where))

    async def page(self, read: ReadSession, query: PageQuery, *, where: Sequence[ColumnElement[bool]] = ()) -> Page:
        """Rows after the cursor in keyset order: page N costs what page 1 costs."""
        conditions = [*where, *(self._condition(one) for one in query.filters)]
        statement = self.select(*conditions)
        if query.after is not None:
            statement = statement.where(self._after(query.sort, query.after))
        order = [self._column(one).desc() if one.descending else self._column(one).asc() for one in query.sort]
        rows = await read.all(statement.order_by(*order).limit(query.limit + 1))
        more, rows = len(rows) > query.limit, rows[: query.limit]
        last = tuple(rows[-1]._mapping[one.field] for one in query.sort) if more else None
        total = None
        if query.count:
            total = await read.scalar(
                select(func.count()).select_from(self.model.__table__).where(*self.live(), *conditions)
            )
        return Page(rows, last, total)

    async def lock(
        self, session: WriteSession, id_: int, *, where: Sequence[ColumnElement[bool]] = ()
    ) -> ModelT | None:
        """The object, its row locked until the transaction ends; foreign keys to it stay free."""
        statement = select(self.model).where(self.columns.id == id_, *self.live(), *where)
        return (await session.execute(statement.with_for_update(key_share=True))).scalar_one_or_none()

    async def add(self, session: WriteSession, obj: ModelT) -> ModelT:
        session.add(obj)
        await session.flush()
        return obj

    async def patch(self, session: WriteSession, obj: ModelT, changes: Mapping[str, Any]) -> ModelT:
        """Set the fields and raise the version; the caller holds the row's lock. Changing nothing leaves the version."""
        changed = False
        for field, value in changes.items():
            if getattr(obj, field) != value:
                setattr(obj, field, value)
                changed = True
        if changed and isinstance(obj, Versioned):
            obj.version += 1
        await session.flush()
        return obj

    async def soft_delete(self, session: WriteSession, obj: ModelT) -> None:
        await self.patch(session, obj, {"deleted_at": func.now()})

    def _column(self, sort: Sort) -> ColumnElement[Any]:
        column: ColumnElement[Any] = self.columns[sort.field]
        return column

    def _condition(self, one: Filter) -> ColumnElement[bool]:
        column: ColumnElement[Any] = self.columns[one.field]
        match one.operator:
            case "eq":
                return column == one.value
            case "ne":
                return column != one.value
            case "gt":
                return column > one.value
            case "gte":
                return column >= one.value
            case "lt":
                return column < one.value
            case "lte":
                return column <= one.value
            case "in":
                return column.in_(one.value)
            case "contains":
                return column.icontains(one.value, autoescape=True)

    def _after(self, sort: tuple[Sort, ...], values: tuple[Any, ...]) -> ColumnElement[bool]:
        columns = [self._column(one) for one in sort]
        if len({one.descending for one in sort}) == 1:
            # A row comparison is the form that PostgreSQL can start an index scan from.
            left, right = tuple_(*columns), tuple_(*values)
            return left < right if sort[0].descending else left > right
        branches = []
        for position, one in enumerate(sort):
            same = [columns[before] == values[before] for before in range(position)]
            column, value = columns[position], values[position]
            branches.append(and_(*same, column < value if one.descending else column > value))
        return or_(*branches)
