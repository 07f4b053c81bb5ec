"""Everything that can go wrong, sorted by what the caller does next.

ServiceError
├── BadInput            change the request (422 unless it says otherwise)
├── NotFound            there is no such thing for this caller (404)
├── Conflict            it clashes with what is there (409)
├── NotSignedIn         say who you are (401)
├── NotAllowed          this caller may not (403)
├── TooOften            wait, then ask again (429)
├── SetupProblem        change a setting or a file, then start again (exit code 2)
├── Unavailable         the database does not answer; try again soon (503)
├── LeaseLost           another worker owns this work now; change nothing
├── IllegalMove         our bug: a cart was asked to make a move its state does not have
├── PlatformError       what a store's answer means for its poll
│   ├── TryLater        the same call may succeed later, perhaps at a named time
│   ├── FixCredentials  the company must act: credentials, rights, or a locked store
│   └── BadRecord       this one record cannot be read; skip it and go on
└── OutboundError       an HTTP exchange gave no usable answer
    ├── OurFault        our side failed; never counts against the other side
    │   ├── AddressBlocked   the address guard refused the target
    │   └── ResolverDown     our resolver did not answer
    ├── DeadlinePassed  the total deadline ran out, body included
    ├── ConnectionFailed  refused, reset, closed early, or TLS did not agree
    ├── BodyTooLarge    more bytes than allowed, raw or inflated
    └── BadBody         the body is not what its headers say, or not safe JSON
"""

from __future__ import annotations

from datetime import timedelta


class ServiceError(Exception):
    """Base of every error this product raises on purpose."""

    code = "error"


class BadInput(ServiceError):
    """The request cannot be carried out as it stands."""

    code = "bad_input"

    def __init__(self, message: str, *, field: str = "", remedy: str = "") -> None:
        super().__init__(message)
        self.field = field
        self.remedy = remedy


class NotFound(ServiceError):
    """There is no such thing, or it belongs to somebody else."""

    code = "not_found"


class Conflict(ServiceError):
    """It clashes with something that is already there."""

    code = "conflict"

    def __init__(self, message: str, *, field: str = "", remedy: str = "") -> None:
        super().__init__(message)
        self.field = field
        self.remedy = remedy


class NotSignedIn(ServiceError):
    """The caller did not say who they are, or said it wrongly."""

    code = "not_signed_in"


class SecondFactorNeeded(NotSignedIn):
    """The password is right; the code of the second factor is missing or was taken before."""

    code = "second_factor_needed"


class NotAllowed(ServiceError):
    """The caller is known and may not do this."""

    code = "not_allowed"


class TooOften(ServiceError):
    """The caller asks more often than it may; `retry_after` says when to ask again."""

    code = "too_many_requests"

    def __init__(self, message: str, *, retry_after: timedelta) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class SetupProblem(ServiceError):
    """The installation cannot start as it is set up."""

    code = "setup_problem"


class Unavailable(ServiceError):
    """Something this service needs does not answer at this moment."""

    code = "unavailable"


class LeaseLost(ServiceError):
    """The lease on this work ran out; nothing was changed."""

    code = "lease_lost"


class IllegalMove(ServiceError):
    """A cart has no such move from its present state."""

    code = "illegal_move"


class PlatformError(ServiceError):
    """A store's answer, read as a decision. `code` is stable, the message is for people."""

    code = "platform_error"

    def __init__(self, message: str, *, code: str = "", remedy: str = "") -> None:
        super().__init__(message)
        self.code = code or type(self).code
        self.remedy = remedy


class TryLater(PlatformError):
    """The same call may succeed later; `retry_after` is the store's own word, if it gave one."""

    code = "try_later"

    def __init__(self, message: str, *, code: str = "", remedy: str = "", retry_after: timedelta | None = None) -> None:
        super().__init__(message, code=code, remedy=remedy)
        self.retry_after = retry_after


class FixCredentials(PlatformError):
    """The store refuses us until the company changes something."""

    code = "fix_credentials"


class BadRecord(PlatformError):
    """One record cannot be read."""

    code = "bad_record"


class OutboundError(ServiceError):
    """An HTTP exchange gave no usable answer."""

    code = "outbound_error"


class OurFault(OutboundError):
    """Our own side failed; the other side is not to blame."""

    code = "our_fault"


class AddressBlocked(OurFault):
    """The address guard refused the target."""

    code = "address_blocked"


class ResolverDown(OurFault):
    """The name could not be looked up because our resolver did not answer."""

    code = "resolver_down"


class DeadlinePassed(OutboundError):
    """The total deadline ran out before the whole answer was read."""

    code = "timeout"


class ConnectionFailed(OutboundError):
    """The connection was refused, reset, closed early, or TLS did not agree."""

    code = "connection_failed"


class BodyTooLarge(OutboundError):
    """The answer holds more bytes than allowed."""

    code = "body_too_large"


class BadBody(OutboundError):
    """The answer's body cannot be read as what it should be."""

    code = "bad_body"
