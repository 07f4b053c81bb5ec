"""The only writes and claims across companies: take due work under a lease, renew it, settle it.

A claim locks due rows (skipping what others are taking, on PostgreSQL), stamps them with a lease token and returns
them. Whoever settles says which token they hold; a lease that ran out matches no row. Claims go round the companies:
when there is more due than a worker has room for, each company's oldest comes before anybody's second.
"""

from backend.domain.work import Scope
from backend.store.work.carts import CartQueue
from backend.store.work.deliveries import DeliveryQueue
from backend.store.work.leases import Lease, Room, renew
from backend.store.work.polls import AGENT_COLUMNS, MOST_CLAIMS, PollQueue, agent_card

__all__ = [
    "AGENT_COLUMNS",
    "MOST_CLAIMS",
    "CartQueue",
    "DeliveryQueue",
    "Lease",
    "PollQueue",
    "Room",
    "Scope",
    "agent_card",
    "renew",
]
