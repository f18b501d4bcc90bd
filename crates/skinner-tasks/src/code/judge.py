# Runs tests that the data set gives. It never sees the program: its functions are calls to another sandbox, and what
# comes back is plain data, so that `==` here is Python's own. Each request is served by a process of its own.
import ast
import builtins
import json
import math
import os
import random
import sys


class Gone(BaseException):
    """The program answers no more."""


class Unsupported(BaseException):
    """These tests cannot be run apart from the program."""


class NotPlain(Exception):
    """A test looks into a result that is not plain data."""


class ProgramError(Exception):
    """The program raised something that is not one of RAISED."""


# What a program may raise here. Not StopIteration, which would end a test's loop as if all were well.
RAISED = {
    kind.__name__: kind
    for kind in (
        ArithmeticError,
        AssertionError,
        AttributeError,
        IndexError,
        KeyError,
        LookupError,
        NotImplementedError,
        OverflowError,
        RuntimeError,
        TypeError,
        UnicodeError,
        ValueError,
        ZeroDivisionError,
    )
}


# Methods of plain data that say yes or no: an object in its place could always say yes.
PREDICATES = {"startswith", "endswith"} | {
    name for kind in (str, bytes, set, float) for name in dir(kind) if name.startswith("is")
}


class Remote:
    """Something of the program's that is not plain data. It can be used, but not compared."""

    def __init__(self, program, reference, kind, truth=True):
        self.__dict__.update(_program=program, _reference=reference, _kind=kind, _truth=truth)

    def __bool__(self):
        # The program could as well have answered this.
        return self._truth

    def __call__(self, *arguments, **keywords):
        return self._program.ask(
            {
                "kind": "call",
                "function": self._reference,
                "arguments": [encode(argument) for argument in arguments],
                "keywords": [[key, encode(value)] for key, value in keywords.items()],
            }
        )

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        if name in PREDICATES:
            self.refuse()
        return self._program.ask({"kind": "attribute", "object": self._reference, "name": name})

    def __setattr__(self, name, value):
        request = {"kind": "assign", "object": self._reference, "name": name}
        self._program.ask({**request, "value": encode(value)})

    def __iter__(self):
        return iter(self._program.ask({"kind": "items", "object": self._reference}))

    def refuse(self, *_):
        raise NotPlain(f"the result is of type {self._kind}, which is not plain data")

    __hash__ = None
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = refuse
    __len__ = __getitem__ = __contains__ = refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = refuse
    __abs__ = __float__ = __int__ = __index__ = __str__ = __repr__ = __format__ = refuse


class Program:
    """The other sandbox, by way of the caller."""

    def __init__(self, channel):
        self.channel = channel

    def ask(self, request):
        self.channel.say("ask", request)
        try:
            answer = json.loads(self.channel.hear())
            if "gone" in answer:
                raise Gone
            if "value" in answer:
                return self.decode(answer["value"])
            kind, text = answer["error"]
        except (ValueError, TypeError, LookupError, RecursionError, AttributeError) as error:
            raise ProgramError(f"an answer that cannot be read: {type(error).__name__}") from None
        if kind in RAISED:
            raise RAISED[kind](text)
        raise ProgramError(f"{kind}: {text}")

    def decode(self, value):
        if isinstance(value, list):
            return [self.decode(item) for item in value]
        if not isinstance(value, dict):
            return value
        ((tag, inside),) = value.items()
        if tag == "object":
            return Remote(self, {"handle": int(inside[1])}, str(inside[0]), inside[2] is True)
        if tag == "int":
            return int(inside, 16)
        if tag == "float":
            return float(inside)
        if tag == "bytes":
            return bytes.fromhex(inside)
        if tag == "complex":
            return complex(*map(self.decode, inside))
        if tag == "dict":
            return {self.decode(key): self.decode(item) for key, item in inside}
        kind = {"tuple": tuple, "set": set, "frozenset": frozenset}[tag]
        return kind(map(self.decode, inside))


def encode(value):
    if isinstance(value, Remote):
        return value._reference
    kind = type(value)
    if value is None or kind in (bool, str):
        return value
    if kind is int:
        return value if abs(value) < 1 << 62 else {"int": hex(value)}
    if kind is float:
        return value if math.isfinite(value) else {"float": repr(value)}
    if kind is list:
        return [encode(item) for item in value]
    if kind in (tuple, set, frozenset):
        return {kind.__name__: [encode(item) for item in value]}
    if isinstance(value, dict):
        return {"dict": [[encode(key), encode(item)] for key, item in value.items()]}
    if kind is bytes:
        return {"bytes": value.hex()}
    if kind is complex:
        return {"complex": [encode(value.real), encode(value.imag)]}
    if kind is type and getattr(builtins, value.__name__, None) is value:
        return {"name": value.__name__}
    raise Unsupported(f"an argument is of type {kind.__name__}, which is not plain data")


class Names(dict):
    """The tests' global names; what the program defines is looked up when it is used."""

    def __init__(self, program, mine):
        super().__init__(mine)
        self.program, self.theirs = program, set()

    def __missing__(self, name):
        if name not in self.theirs:
            raise KeyError(name)
        return Remote(self.program, {"name": name}, name)


class Asserts(ast.NodeTransformer):
    """Counts each assert, and goes on after one that fails."""

    def __init__(self):
        self.count = 0

    def visit_Assert(self, node):
        number, self.count = self.count, self.count + 1
        passed = ast.parse(f"__verdict__({number}, None)").body
        failed = ast.parse(f"__verdict__({number}, __error__)").body
        handler = ast.ExceptHandler(ast.Name("Exception", ast.Load()), "__error__", failed)
        wrapped = ast.Try(body=[node], handlers=[handler], orelse=passed, finalbody=[])
        return ast.fix_missing_locations(ast.copy_location(wrapped, node))


def loaded(tree):
    return [n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)]


def defined(trees):
    names = set()
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            names.add(node.id)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.alias):
            names.add((node.asname or node.name).split(".")[0])
        elif isinstance(node, ast.ExceptHandler) and node.name:
            names.add(node.name)
    return names


def called(trees):
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                yield node.func.id


def outside_of_calls(tree, functions):
    """The names that a test uses apart from arguments of the functions under test."""
    if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) and tree.func.id in functions:
        return set()
    if isinstance(tree, ast.Name):
        return {tree.id}
    return set().union(*(outside_of_calls(child, functions) for child in ast.iter_child_nodes(tree)))


def find_entry(trees, names):
    """The function under test, where the task does not name it: the first called that nobody else defines."""
    mine = set(names) | defined(trees)
    unknown = [name for name in called(trees) if name not in mine and not hasattr(builtins, name)]
    # A program may have a function with the name of a built-in one.
    first = next((name for name in called(trees) if name not in mine), None)
    return unknown[0] if unknown else first


def judge(request, program):
    names = Names(program, {"__name__": "tests", "__builtins__": builtins})
    try:
        exec(compile(request["preamble"], "preamble", "exec"), names)
    except Exception:
        # It is the beginning of a program, and may end where it pleases.
        pass
    run_setup(request["setup"], names)
    trees = [ast.parse(test) for test in request["tests"]]
    entry = request["entry_point"] or find_entry(trees, names)
    if entry is None:
        raise Unsupported("the tests call no function")
    root = entry.split("(")[0].split(".")[0]
    check_names(trees, names, root)
    names.pop(root, None)
    asserts = Asserts()
    codes = [compile(asserts.visit(tree), "tests", "exec") for tree in trees]
    verdicts = {}

    def verdict(number, error):
        verdicts[number] = verdicts.get(number) or (describe(error) if error else None)

    names["__verdict__"] = verdict
    broken = run(codes, names, Remote(program, {"name": entry}, entry))
    return summary(verdicts, broken, asserts.count)


def run_setup(text, names):
    """It may build arguments from what the program defines, such as the nodes of a tree."""
    tree = ast.parse(text)
    names.theirs = set(loaded(tree)) - defined([tree]) - set(names) - set(dir(builtins))
    exec(compile(tree, "setup", "exec"), names)


def check_names(trees, names, entry):
    names.theirs = {name for tree in trees for name in loaded(tree)}
    names.theirs -= set(names) | defined(trees) | set(dir(builtins))
    outside = set().union(*(outside_of_calls(tree, {entry, "candidate"}) for tree in trees))
    strangers = sorted((names.theirs & outside) - {entry})
    if strangers:
        raise Unsupported(f"they use {', '.join(strangers)}, which only the program could define")
    names.theirs.add(entry)


def run(codes, names, candidate):
    """Runs the tests; says what stopped them before their end."""
    try:
        for code in codes:
            exec(code, names)
        if "check" in names:
            names["check"](candidate)
    except Gone:
        return "the program answers no more"
    except Exception as error:
        return describe(error)
    return None


def describe(error):
    text = str(error)[:300]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def summary(verdicts, broken, count):
    wrong = [f"assert {n + 1}: {v}" for n, v in sorted(verdicts.items()) if v is not None]
    passed = len(verdicts) - len(wrong)
    if broken is not None:
        wrong.append(broken)
    # Asserts that were not reached count, unless the tests ran to their end without them.
    total = count if broken is not None else len(verdicts)
    return {"passed": passed, "total": total, "first": wrong[0] if wrong else None}


class Channel:
    def __init__(self, number):
        self.file = os.fdopen(number, "r+b", buffering=0)
        self.rest = b""

    def say(self, kind, value):
        data = memoryview(json.dumps({kind: value}, ensure_ascii=False).encode() + b"\n")
        while data:
            data = data[self.file.write(data) :]

    def hear(self):
        parts = [self.rest]
        while b"\n" not in parts[-1]:
            part = self.file.read(1 << 16)
            if not part:
                os._exit(0)
            parts.append(part)
        line, _, self.rest = b"".join(parts).partition(b"\n")
        return line.decode("utf-8", "replace")


def serve_one(channel, request):
    # What tests print is of no use, and would add up.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    random.seed(0)
    try:
        answer = {"done": judge(request, Program(channel))}
    except Unsupported as error:
        answer = {"unsupported": str(error)}
    except BaseException as error:
        answer = {"unsupported": f"they do not run: {describe(error)}"}
    ((kind, value),) = answer.items()
    channel.say(kind, value)


def main():
    channel = Channel(int(os.environ.pop("SANDBOX_CHANNEL")))
    while True:
        request = json.loads(channel.hear())
        child = os.fork()
        if child == 0:
            serve_one(channel, request)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status != 0:
            channel.say("broken", f"status {status}")


sys.path[:] = [path for path in sys.path if path]
main()
