"""What schemathesis is told about Orch, given by SCHEMATHESIS_HOOKS."""

import schemathesis


@schemathesis.hook
def before_call(context, case, kwargs):
    # Long polls do what they are for: a wait of a second shows as much as one of thirty, hundreds of times.
    # What is out of bounds is sent as it is.
    wait_s = str((case.query or {}).get("wait_s"))
    if wait_s.isdecimal() and 1 < int(wait_s) <= 30:
        case.query["wait_s"] = 1
