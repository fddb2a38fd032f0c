"""What Alembic runs: migrations on the connection that the program hands over."""

from alembic import context

from cloudsignal.server.store.schema import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
context.run_migrations()
