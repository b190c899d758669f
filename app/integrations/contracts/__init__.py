"""Contracts of partners, as they were agreed on. `laboratory_pb2` is made from its .proto (docs/decisions/0046)."""
