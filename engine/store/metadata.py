"""The tables as SQLAlchemy knows them: what Alembic compares and creates. Nothing else imports it."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from engine.store.tables import TABLES, Column, Index, Table, Type, UniqueConstraint

_TYPES: dict[Type, Any] = {
    "id": sa.BigInteger().with_variant(sa.Integer, "sqlite"),
    "big": sa.BigInteger(),
    "integer": sa.Integer(),
    "text": sa.Text(),
    "json": sa.JSON(),
}


def _made(table: Table, metadata: sa.MetaData) -> sa.Table:
    return sa.Table(table.name, metadata, *map(_part, table.parts))


def _part(part: Column | Index | UniqueConstraint) -> sa.schema.SchemaItem:
    if isinstance(part, Column):
        nullable = part.nullable and not part.primary_key
        kind = _TYPES[part.type]
        return sa.Column(part.name, kind, primary_key=part.primary_key, nullable=nullable, unique=part.unique or None)
    if isinstance(part, UniqueConstraint):
        return sa.UniqueConstraint(*part.columns, name=part.name)
    where = sa.text(part.where) if part.where is not None else None
    return sa.Index(part.name, *part.columns, sqlite_where=where)


metadata = sa.MetaData()
for _table in TABLES.values():
    _made(_table, metadata)
