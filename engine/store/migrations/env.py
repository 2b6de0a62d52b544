"""Alembic's environment: run with the connection that `engine.store.schema` hands in."""

from alembic import context

from engine.store.metadata import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
