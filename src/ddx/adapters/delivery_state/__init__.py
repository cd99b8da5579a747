"""How far each journal is delivered: a small SQLite file beside the journals.

A journal has one writer, its server, so the deliverer keeps its own notes. They stay small: a
cursor for each journal, and a row only for what is under way, in doubt or refused. Several
deliverers share the file; a journal's rows are written by the one that holds its lease.
"""

from ddx.adapters.delivery_state.lease import Lease
from ddx.adapters.delivery_state.reader import DeliveryStatusReader
from ddx.adapters.delivery_state.share import Share, chores_of
from ddx.adapters.delivery_state.state import SqliteDeliveryState

__all__ = ["DeliveryStatusReader", "Lease", "Share", "SqliteDeliveryState", "chores_of"]
