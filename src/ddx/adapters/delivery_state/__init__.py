"""How far each journal is delivered: a small SQLite file beside the journals.

A journal has one writer, its server, so the deliverer keeps its own notes. They stay small: a
cursor for each journal, and a row only for what is under way, in doubt or refused.
"""

from ddx.adapters.delivery_state.lease import Lease
from ddx.adapters.delivery_state.reader import DeliveryStatusReader
from ddx.adapters.delivery_state.state import SqliteDeliveryState

__all__ = ["DeliveryStatusReader", "Lease", "SqliteDeliveryState"]
