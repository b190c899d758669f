"""The typed generic over one table: reads give rows, writes give objects and flush; nothing here commits."""

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Select, and_, any_, func, or_, select, tuple_

from app.core.database import AnyRow, AnySelect, Base, ReadSession, WriteSession
from app.core.listing import Filter, Operator, Page, PageQuery, Sort
from app.models.base import SoftDeleted, Versioned

ModelT = TypeVar("ModelT", bound=Base)
Where = Sequence[ColumnElement[bool]]
_CONDITIONS: Mapping[Operator, Callable[[ColumnElement[Any], Any], ColumnElement[bool]]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
    "in": lambda column, values: column.in_(values),
    "contains": lambda column, text: column.icontains(text, autoescape=True),
}


def one_choice(ids: Select[int]) -> ColumnElement[Any]:
    """What `ids`, a choice that locks its rows and has a limit, comes to: `column == one_choice(ids)`.

    As `column IN (SELECT … LIMIT n FOR UPDATE)` the choice may be made anew for each row of the outer table, which is
    the planner's to decide, and what is chosen the next time are other rows: more than n in the end.
    """
    return any_(func.array(ids.scalar_subquery()))


class CRUDBase(Generic[ModelT]):
    """Reads and writes of one table. Soft-deleted rows are never seen."""

    def __init__(self, model: type[ModelT]) -> None:
        self.model = model
        self.columns = model.__table__.c

    def live(self) -> tuple[ColumnElement[bool], ...]:
        return (self.columns.deleted_at.is_(None),) if issubclass(self.model, SoftDeleted) else ()

    def select(self, *where: ColumnElement[bool]) -> AnySelect:
        return select(self.model.__table__).where(*self.live(), *where)

    async def get(self, read: ReadSession, id_: int, *, where: Where = ()) -> AnyRow | None:
        return await read.first(self.select(self.columns.id == id_, *where))

    async def exists(self, session: WriteSession, id_: int | None = None) -> bool:
        """Whether there is that row, or any row at all."""
        where = () if id_ is None else (self.columns.id == id_,)
        return bool(await session.scalar(select(self.select(*where).exists())))

    async def written(self, session: WriteSession, id_: int) -> AnyRow:
        """The row as this transaction sees it; it must be there."""
        row: AnyRow = (await session.execute(self.select(self.columns.id == id_))).one()
        return row

    async def page(self, read: ReadSession, query: PageQuery, *, where: Where = ()) -> Page:
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

    async def lock(self, session: WriteSession, id_: int, *, where: Where = ()) -> ModelT | None:
        """The object, its row locked until the transaction ends; foreign keys to it stay free."""
        statement = select(self.model).where(self.columns.id == id_, *self.live(), *where)
        return (await session.execute(statement.with_for_update(key_share=True))).scalar_one_or_none()

    async def add(self, session: WriteSession, obj: ModelT) -> ModelT:
        session.add(obj)
        await session.flush()
        return obj

    async def patch(self, session: WriteSession, obj: ModelT, changes: Mapping[str, Any]) -> ModelT:
        """Set the fields and raise the version, under the row's lock. Changing nothing leaves the version."""
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
        # In one UPDATE with the version; the expression can't be compared with the present value, as `patch` does.
        obj.deleted_at = func.now()  # type: ignore[attr-defined]  # only called for a SoftDeleted model
        if isinstance(obj, Versioned):
            obj.version += 1
        await session.flush()

    def _column(self, sort: Sort) -> ColumnElement[Any]:
        column: ColumnElement[Any] = self.columns[sort.field]
        return column

    def _condition(self, one: Filter) -> ColumnElement[bool]:
        column: ColumnElement[Any] = self.columns[one.field]
        return _CONDITIONS[one.operator](column, one.value)

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
