from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ListRequest(_message.Message):
    __slots__ = ("order_number",)
    ORDER_NUMBER_FIELD_NUMBER: _ClassVar[int]
    order_number: str
    def __init__(self, order_number: _Optional[str] = ...) -> None: ...

class Result(_message.Message):
    __slots__ = ("test", "value", "unit", "abnormal", "taken_at_unix")
    TEST_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    ABNORMAL_FIELD_NUMBER: _ClassVar[int]
    TAKEN_AT_UNIX_FIELD_NUMBER: _ClassVar[int]
    test: str
    value: float
    unit: str
    abnormal: bool
    taken_at_unix: int
    def __init__(self, test: _Optional[str] = ..., value: _Optional[float] = ..., unit: _Optional[str] = ..., abnormal: _Optional[bool] = ..., taken_at_unix: _Optional[int] = ...) -> None: ...

class ListResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[Result]
    def __init__(self, results: _Optional[_Iterable[_Union[Result, _Mapping]]] = ...) -> None: ...
