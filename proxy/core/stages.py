"""Which stage of the data path gives a reason, for people who look for a refusal.

The order of stages is in ``Pipeline.handle``; here is only what each of them says.
"""

import enum

from proxy.core.reasons import Party, Reason


class Stage(enum.Enum):
    """A stage of the data path, by the name that people are told."""

    MESSAGE = "message"
    MATCH = "match"
    AUTHENTICATE = "authenticate"
    AUTHORISE = "authorise"
    LIMITS = "limits"
    ENCRYPT = "encrypt"
    EXCHANGE = "exchange"
    DECRYPT = "decrypt"


_OF: dict[Reason, Stage] = {
    Reason.PATH_AMBIGUOUS: Stage.MATCH,
    Reason.NO_RULE: Stage.MATCH,
    Reason.METHOD_NOT_ALLOWED: Stage.MATCH,
    Reason.ORIGIN_NOT_ALLOWED: Stage.MATCH,
    Reason.LOGIN_TOO_WEAK: Stage.AUTHORISE,
    Reason.RATE_LIMITED: Stage.LIMITS,
    Reason.LOGINS_DELAYED: Stage.LIMITS,
    Reason.BODY_TOO_LARGE: Stage.ENCRYPT,
    Reason.KEYS_UNAVAILABLE: Stage.ENCRYPT,
    Reason.MEDIA_TYPE_NOT_ALLOWED: Stage.ENCRYPT,
    Reason.BODY_NOT_JSON: Stage.ENCRYPT,
    Reason.PARAMETER_AMBIGUOUS: Stage.ENCRYPT,
    Reason.FILTER_NOT_ALLOWED: Stage.ENCRYPT,
    Reason.FIELD_UNDECRYPTABLE: Stage.DECRYPT,
    Reason.RESPONSE_UNREADABLE: Stage.DECRYPT,
}
_BY_STATUS = {401: Stage.AUTHENTICATE, 403: Stage.AUTHORISE, 422: Stage.ENCRYPT}
_BY_PARTY = {
    Party.CLIENT: Stage.MESSAGE,
    Party.BACKEND: Stage.EXCHANGE,
    Party.STORE: Stage.LIMITS,
    Party.ISSUER: Stage.AUTHENTICATE,
    Party.PROXY: Stage.EXCHANGE,
}


def stage_of(reason: Reason) -> Stage:
    """Return the stage that refuses for a reason.

    Example:
        >>> stage_of(Reason.TOKEN_EXPIRED).value
        'authenticate'
    """
    stage = _OF.get(reason) or _BY_STATUS.get(reason.status)
    return stage or _BY_PARTY[reason.party]
