import pytest

# The contract's assertions are in modules that pytest does not collect by itself.
for name in ("appending", "reading", "rebuilding", "access", "cursors", "digest", "pruning"):
    pytest.register_assert_rewrite(f"tests.server.store.{name}_contract")
