"""What the services rely on. Each port is a promise, and `tests/contracts/` checks its words."""

from __future__ import annotations

from ddx.ports.batches import (
    BatchStore,
)
from ddx.ports.callers import (
    Counts,
    Issuer,
    KeyShelf,
)
from ddx.ports.claims import (
    Claim,
    Claims,
    Held,
    Holder,
    Standing,
)
from ddx.ports.engines import (
    AdvisedEngine,
    Asker,
    Engine,
    OnDiagnosis,
    StreamingEngine,
    Terminology,
    Workers,
)
from ddx.ports.journal import (
    Event,
    Journal,
    JournalReader,
    Kept,
)
from ddx.ports.keys import (
    DataKey,
    Signer,
    Vault,
)
from ddx.ports.outside import (
    Check,
    Clock,
    Refusal,
    ServerFacts,
    Step,
)
from ddx.ports.tracking import (
    Books,
    DeliveryState,
    FoundRun,
    Ledger,
    RunEraser,
    Runs,
    Seen,
    TracePlaces,
    Traces,
)

__all__ = [
    "AdvisedEngine",
    "Asker",
    "BatchStore",
    "Books",
    "Check",
    "Claim",
    "Claims",
    "Clock",
    "Counts",
    "DataKey",
    "DeliveryState",
    "Engine",
    "Event",
    "FoundRun",
    "Held",
    "Holder",
    "Issuer",
    "Journal",
    "JournalReader",
    "Kept",
    "KeyShelf",
    "Ledger",
    "OnDiagnosis",
    "Refusal",
    "RunEraser",
    "Runs",
    "Seen",
    "ServerFacts",
    "Signer",
    "Standing",
    "Step",
    "StreamingEngine",
    "Terminology",
    "TracePlaces",
    "Traces",
    "Vault",
    "Workers",
]
