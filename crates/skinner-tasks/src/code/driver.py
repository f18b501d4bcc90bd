# Runs a program that nobody has read and answers calls of its functions, one line for each request.
# It knows inputs only. Whatever the program does to it, it can but answer, which is what the program was to do.
import os
import sys


def serve():
    channel = os.fdopen(int(os.environ.pop("SANDBOX_CHANNEL")), "r+b", buffering=0)
    requests = channel_lines(channel)
    handles = []
    module = type(sys)("solution")
    # What `dataclasses`, `typing` and `pickle` look for.
    sys.modules["solution"] = module
    constants = {"true": True, "false": False, "null": None}
    while True:
        line = next(requests, None)
        if line is None:
            return
        try:
            answer = perform(eval(line, dict(constants)), module.__dict__, handles)
        except BaseException as error:
            answer = report(error)
        rest = memoryview((answer + "\n").encode())
        while rest:
            rest = rest[channel.write(rest) :]


def channel_lines(channel):
    pending = []
    while True:
        part = channel.read(1 << 16)
        if not part:
            return
        *complete, rest = part.split(b"\n")
        for end in complete:
            pending.append(end)
            yield b"".join(pending).decode()
            pending = []
        pending.append(rest)


def report(error):
    try:
        text = str(error)[:500]
    except BaseException:
        text = ""
    return '{"error":[%s,%s]}' % (quote(type(error).__name__), quote(text))


def perform(request, names, handles):
    kind = request["kind"]
    if kind == "run":
        exec(compile(request["source"], "program.py", "exec"), names)
        value = None
    elif kind == "call":
        function = decode(request["function"], names, handles)
        arguments = [decode(argument, names, handles) for argument in request["arguments"]]
        keywords = {key: decode(value, names, handles) for key, value in request["keywords"]}
        value = function(*arguments, **keywords)
    elif kind == "attribute":
        value = getattr(decode(request["object"], names, handles), request["name"])
    elif kind == "assign":
        value = decode(request["value"], names, handles)
        setattr(decode(request["object"], names, handles), request["name"], value)
        value = None
    else:
        value = list(decode(request["object"], names, handles))
    return '{"value":%s}' % encode(value, handles)


def decode(value, names, handles):
    if isinstance(value, list):
        return [decode(item, names, handles) for item in value]
    if not isinstance(value, dict):
        return value
    ((tag, inside),) = value.items()
    if tag == "name":
        return eval(inside, names)
    if tag == "handle":
        return handles[inside]
    if tag == "int":
        return int(inside, 16)
    if tag == "float":
        return float(inside)
    if tag == "bytes":
        return bytes.fromhex(inside)
    if tag == "complex":
        return complex(*[decode(part, names, handles) for part in inside])
    if tag == "dict":
        return {
            decode(key, names, handles): decode(item, names, handles) for key, item in inside
        }
    kind = {"tuple": tuple, "set": set, "frozenset": frozenset}[tag]
    return kind(decode(item, names, handles) for item in inside)


def encode(value, handles):
    if value is None:
        return "null"
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, str):
        return quote(str(value))
    if isinstance(value, int):
        return int.__repr__(value) if abs(value) < 1 << 62 else '{"int":"%s"}' % hex(value)
    if isinstance(value, float):
        finite = value - value == 0
        return float.__repr__(value) if finite else '{"float":"%s"}' % float.__repr__(value)
    if isinstance(value, list):
        return "[%s]" % items(value, handles)
    for kind, tag in ((tuple, "tuple"), (set, "set"), (frozenset, "frozenset")):
        if isinstance(value, kind):
            return '{"%s":[%s]}' % (tag, items(value, handles))
    if isinstance(value, dict):
        pairs = ("[%s,%s]" % (encode(k, handles), encode(v, handles)) for k, v in value.items())
        return '{"dict":[%s]}' % ",".join(pairs)
    if isinstance(value, (bytes, bytearray)):
        return '{"bytes":"%s"}' % value.hex()
    if isinstance(value, complex):
        return '{"complex":[%s,%s]}' % (encode(value.real, handles), encode(value.imag, handles))
    return opaque(value, handles)


def items(values, handles):
    return ",".join([encode(value, handles) for value in values])


def opaque(value, handles):
    # Numbers and arrays of other libraries.
    if hasattr(type(value), "tolist"):
        return encode(value.tolist(), handles)
    if hasattr(type(value), "__index__"):
        return encode(int(value.__index__()), handles)
    handles.append(value)
    kind, truth = quote(type(value).__name__), "true" if value else "false"
    return '{"object":[%s,%d,%s]}' % (kind, len(handles) - 1, truth)


try:
    from _json import encode_basestring_ascii as quote
except ImportError:
    from json import dumps as quote

sys.path[:] = [path for path in sys.path if path]
serve()
