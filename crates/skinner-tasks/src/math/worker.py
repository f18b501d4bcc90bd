"""Compares answers with math-verify: a line of JSON in, a line of JSON out."""

import json
import sys

try:
    from math_verify import parse, verify
except ImportError as error:
    print(json.dumps({"error": f"import: {error}"}), flush=True)
    sys.exit(1)

# What a library prints must not come between the replies.
replies, sys.stdout = sys.stdout, sys.stderr
print(json.dumps({"ready": True}), file=replies, flush=True)
for line in sys.stdin:
    try:
        item = json.loads(line)
        # Time is limited by the parent; math-verify's own limits need the main thread's signals.
        expected = parse("$" + item["expected"] + "$", parsing_timeout=None)
        given = parse("$" + item["given"] + "$", parsing_timeout=None)
        reply = {"id": item["id"], "equal": bool(verify(expected, given, timeout_seconds=None))}
    except Exception as error:
        reply = {"id": item.get("id"), "error": f"{type(error).__name__}: {error}"[:200]}
    print(json.dumps(reply), file=replies, flush=True)
