"""The master key, the data key that it wraps, and the secrets that are wrapped under that.

docs/journal-format.md describes the bytes, docs/design/0004-master-key.md says why.
"""

from ddx.adapters.vault.command import CommandMaster
from ddx.adapters.vault.master import KeptMaster, Master, from_file, from_text
from ddx.adapters.vault.replacing import finish, leftovers, replace, target
from ddx.adapters.vault.ring import Ring, data_key_of, forget_ring, read_ring, write_ring
from ddx.adapters.vault.vault import FileVault, Key, alone, new_key, sealed, wrapped_by

__all__ = [
    "CommandMaster",
    "FileVault",
    "KeptMaster",
    "Key",
    "Master",
    "Ring",
    "alone",
    "data_key_of",
    "finish",
    "forget_ring",
    "from_file",
    "from_text",
    "leftovers",
    "new_key",
    "read_ring",
    "replace",
    "sealed",
    "target",
    "wrapped_by",
    "write_ring",
]
