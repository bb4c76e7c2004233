"""The only importer of SQLite: open, migrate, read, write in immediate transactions.

Two SQLite libraries on one file in one process break its locks, hence one module. ``pysqlite3`` brings a
SQLite without the WAL-reset corruption bug (sqlite.org/wal.html, fixed in 3.51.3); an older one is refused.
"""

from mlops_box.db.compact import compact
from mlops_box.db.embedded import EmbeddedDatabase
from mlops_box.db.engine import Database, Row, Transaction, sqlite_version
from mlops_box.db.foreign import read_table

__all__ = ["Database", "EmbeddedDatabase", "Row", "Transaction", "compact", "read_table", "sqlite_version"]
