"""Counts the lock-prefixed instructions on the local path of wake and poll.

Disassembles the program built from `lock_probe.rs`, starts at the functions behind onbeat's waker and
at the one that polls a batch of tasks, follows their direct calls and jumps wherever they lead, and
counts the instructions that take a lock on the bus: a `lock` prefix, an `xchg` with memory (locked
without a prefix), and `mfence` (what a sequentially consistent fence may become).

Inside a function only those instructions count that control can come to from the entry. The landing
pads, to which only the unwinder jumps, stand outside: `catch_unwind` counts the panics of the process
there, with a locked decrement. What is not followed is listed in NOT_FOLLOWED, each with its reason.
A call through a pointer is not followed either: it leads to a task's future or to somebody else's
waker. Calls through the global offset table are direct ones in disguise, and are followed.

The script distrusts itself. It fails when a function is missing (renamed, or inlined away), and when
it does not find the locked instructions that the probe plants behind a call.
"""

import bisect
import json
import re
import subprocess
import sys
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import NamedTuple

# Where counting starts: what it is, the pattern of the demangled name, and whether it must be there.
# The compiler folds functions with equal bodies into one, so of the waker's functions one is enough.
LOCAL_PATHS = [
    ("waker: wake", r"onbeat::executor::waker::(wake|wake_by_ref)$", True),
    ("waker: clone, drop", r"onbeat::executor::waker::(clone|drop_nothing)$", False),
    ("round: poll of a batch", r"onbeat::executor::(.*::)?Executor>?::round$", True),
    ("poll of a boxed task", r"onbeat::executor::memory::poll_boxed\b", True),
]

# The foreign road takes locks by design. It is looked at to see that this script finds them.
FOREIGN = r"onbeat::executor::waker::wake_foreign$"

PLANTED = [
    ("a planted fetch_add behind a call", r"lock_probe::planted_fetch_add$"),
    ("a planted swap behind a call", r"lock_probe::planted_swap$"),
    ("a planted fence behind a call", r"lock_probe::planted_fence$"),
    ("a planted fetch_add in what catch_unwind runs", r"lock_probe::planted_in_caught$"),
    ("a planted fetch_add behind what catch_unwind runs", r"lock_probe::planted_behind_caught$"),
]
CLEAN = ("a planted function without any", r"lock_probe::planted_nothing$")

PANIC = "a panic"
NOT_FOLLOWED = [
    (FOREIGN, "a wake from another thread"),
    (r"^<?(core|std)::(panicking|panic|rt)::(?!.*(catch_unwind|AssertUnwindSafe))", PANIC),
    (r"^core::(\w+::)+(\w+_fail(ed)?|panic_\w+)\b", PANIC),
    (r"^alloc::(\w+::)+(handle_error|handle_alloc_error|capacity_overflow)\b", PANIC),
    (r"^(\w+::)?(rust_panic|_Unwind_|__rust_start_panic|__rust_panic_cleanup)", PANIC),
    (r"onbeat::executor::(.*::)?Executor>?::contain$", "what ends a task that panicked"),
    # It calls the user's destructor, of which the compiler may put a likely one in line.
    (r"onbeat::executor::memory::TaskCell::clear$", "the destructor of a future or an output"),
    (r"^(\w+::)?(__rust_(no_)?alloc|__rust_dealloc|__rust_realloc|__rdl_)", "the allocator"),
    (r"@plt$", "the C library"),
]

LOCKED = re.compile(r"^(lock\b|mfence\b)")
XCHG = re.compile(r"^xchg\s+(.*)$")
REGISTERS_ONLY = re.compile(r"^%\w+,\s*%\w+$")
PREFIXES = re.compile(r"^(?:(?:addr32|bnd|notrack|data16|cs)\s+)+")
DIRECT = re.compile(r"^(call|j\w+)\s+([0-9a-f]+)\b")
THROUGH_TABLE = re.compile(r"^(call|jmp)\s+\*0x[0-9a-f]+\(%rip\)\s+# ([0-9a-f]+)\b")
RELOCATION = re.compile(r"^([0-9a-f]+)\s+[0-9a-f]+\s+R_X86_64_RELATIVE\s+([0-9a-f]+)$")
COMPUTED_JUMP = re.compile(r"^jmp\s+\*")
END = re.compile(r"^(ret|ud2|hlt|int3)\b")
HEADER = re.compile(r"^([0-9a-f]+) <(.+)>:$")
HASH = re.compile(r"::h[0-9a-f]{16}$|\[[0-9a-f]{6,16}\]")


class Failure(Exception):
    """The check cannot say yes."""


class Kind(Enum):
    """What an instruction does to the flow of control, and whether it is locked."""

    PLAIN = auto()
    LOCKED = auto()
    CALL = auto()
    BRANCH = auto()
    JUMP = auto()
    COMPUTED_JUMP = auto()
    END = auto()


class Step(NamedTuple):
    """One instruction. `text` is kept for locked ones only."""

    address: int
    kind: Kind
    target: int = 0
    text: str = ""


@dataclass
class Function:
    """One function of the program."""

    name: str
    steps: list = field(default_factory=list)


def is_locked(instruction):
    """Whether the instruction takes a lock on the bus."""
    if LOCKED.match(instruction):
        return True
    exchange = XCHG.match(instruction)
    return bool(exchange) and not REGISTERS_ONLY.match(exchange.group(1).split("#")[0].strip())


def disassemble(program):
    """The functions of `program` by their start address."""
    command = ["objdump", "-d", "--no-show-raw-insn", program]
    pointers = relocated_pointers(program)
    functions, current = {}, None
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as objdump:
        for line in objdump.stdout:
            header = HEADER.match(line)
            if header:
                current = Function(header.group(2))
                functions[int(header.group(1), 16)] = current
                continue
            address, tab, instruction = line.rstrip().partition(":\t")
            if not tab or current is None:
                continue
            current.steps.append(read(int(address, 16), instruction.strip(), pointers))
    if objdump.returncode != 0 or not functions:
        raise Failure(f"objdump could not read {program}")
    demangle(functions.values())
    return functions


def relocated_pointers(program):
    """The pointers into the program that its loader writes, by the address where each stands."""
    command = ["readelf", "--relocs", "--wide", program]
    table = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found = (RELOCATION.match(line) for line in table.splitlines())
    pointers = {int(at, 16): int(to, 16) for at, to in (match.groups() for match in found if match)}
    if not pointers:
        raise Failure(f"{program} has no relocations, so its calls through tables cannot be followed")
    return pointers


def read(address, instruction, pointers):
    """The step that `instruction` is."""
    if is_locked(instruction):
        return Step(address, Kind.LOCKED, text=" ".join(instruction.split()))
    instruction = PREFIXES.sub("", instruction)
    kinds = {"call": Kind.CALL, "jmp": Kind.JUMP}
    direct = DIRECT.match(instruction)
    if direct:
        return Step(address, kinds.get(direct.group(1), Kind.BRANCH), int(direct.group(2), 16))
    through = THROUGH_TABLE.match(instruction)
    if through:
        target = pointers.get(int(through.group(2), 16))
        if target is not None:
            return Step(address, kinds[through.group(1)], target)
        # A function of a shared library: the C library's, or the unwinder's.
        leaves = through.group(1) == "jmp"
        return Step(address, Kind.END if leaves else Kind.PLAIN)
    if COMPUTED_JUMP.match(instruction):
        return Step(address, Kind.COMPUTED_JUMP)
    return Step(address, Kind.END if END.match(instruction) else Kind.PLAIN)


def demangle(functions):
    """Replaces the symbols by the names of the source, without the compiler's hashes."""
    functions = list(functions)
    symbols = "\n".join(function.name for function in functions) + "\n"
    names = subprocess.run(
        ["c++filt"], input=symbols, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    for function, name in zip(functions, names, strict=True):
        function.name = HASH.sub("", name)


class Program:
    """The functions of a program, and where control goes from each."""

    def __init__(self, functions):
        self.functions = functions
        self.starts = sorted(functions)

    def function_at(self, address):
        """The start of the function that holds `address`, or None."""
        index = bisect.bisect_right(self.starts, address) - 1
        return self.starts[index] if index >= 0 else None

    def roots(self, pattern):
        """The starts of the functions whose name matches."""
        return [at for at, function in self.functions.items() if re.search(pattern, function.name)]

    def why_not_followed(self, start):
        """The reason to stop at a function, or None."""
        name = self.functions[start].name
        return next((reason for pattern, reason in NOT_FOLLOWED if re.search(pattern, name)), None)

    def flow(self, start):
        """The steps of one function that control comes to from its entry.

        A call that leads to a panic does not come back. A computed jump (the table of a `match`) may
        lead to any place that no other instruction falls into.
        """
        steps = self.functions[start].steps
        place = {step.address: index for index, step in enumerate(steps)}
        open_ends = [0] if steps else []
        if any(step.kind is Kind.COMPUTED_JUMP for step in steps):
            open_ends += [
                index + 1 for index, step in enumerate(steps[:-1]) if not self.falls_through(step)
            ]
        seen = set()
        while open_ends:
            index = open_ends.pop()
            if index in seen or index >= len(steps):
                continue
            seen.add(index)
            step = steps[index]
            if step.kind in (Kind.BRANCH, Kind.JUMP) and step.target in place:
                open_ends.append(place[step.target])
            if self.falls_through(step):
                open_ends.append(index + 1)
        return [steps[index] for index in sorted(seen)]

    def falls_through(self, step):
        """Whether control may come to the next instruction."""
        if step.kind is Kind.CALL:
            callee = self.function_at(step.target)
            return callee is None or self.why_not_followed(callee) != PANIC
        return step.kind not in (Kind.JUMP, Kind.COMPUTED_JUMP, Kind.END)

    def locked_from(self, root):
        """How many functions `root` leads to, itself included, the reasons why some were not followed,
        and the locked instructions with the functions they stand in."""
        reached, reasons, found, waiting = {root}, set(), [], [root]
        while waiting:
            start = waiting.pop()
            for step in self.flow(start):
                if step.kind is Kind.LOCKED:
                    found.append(f"{self.functions[start].name}: {step.address:x}: {step.text}")
                if step.kind not in (Kind.CALL, Kind.BRANCH, Kind.JUMP):
                    continue
                target = self.function_at(step.target)
                if target is None or target in reached:
                    continue
                reason = self.why_not_followed(target)
                if reason:
                    reasons.add(reason)
                else:
                    reached.add(target)
                    waiting.append(target)
        return len(reached), sorted(reasons), found


def check_itself(program):
    """Fails unless what the probe plants is found, and nothing where nothing is."""
    for label, pattern in [*PLANTED, ("the foreign wake's own", FOREIGN)]:
        places = program.roots(pattern)
        if not places:
            raise Failure(f"{label}: no function matches {pattern}")
        if not all(program.locked_from(place)[2] for place in places):
            raise Failure(f"{label}: not found, so a zero from this script would mean nothing")
        print(f"self-test: {label}: found")
    label, pattern = CLEAN
    places = program.roots(pattern)
    if not places or any(program.locked_from(place)[2] for place in places):
        raise Failure(f"{label}: missing, or something was found in it")
    print(f"self-test: {label}: none found")


def check_local_paths(program):
    """Prints the count of each function on the local path. Fails unless all are zero."""
    locked = []
    print(f"\n{'locked':>6} {'functions':>9}  from")
    for label, pattern, required in LOCAL_PATHS:
        places = program.roots(pattern)
        if not places and required:
            raise Failure(
                f"{label}: no function matches {pattern}: it was renamed (then this script is to be "
                "told) or inlined away (then it needs #[inline(never)])"
            )
        for place in places:
            count, stopped, found = program.locked_from(place)
            limits = f" (stops at: {', '.join(stopped)})" if stopped else ""
            print(f"{len(found):>6} {count:>9}  {label}: {program.functions[place].name}{limits}")
            locked += [where for where in found if where not in locked]
    for where in locked:
        print(f"  {where}")
    if locked:
        raise Failure(f"{len(locked)} locked instructions on the local path")


def build(manifest):
    """Builds the probe as the benches are built, and gives the path of the program."""
    command = ["cargo", "build", "--profile", "bench", "--bench", "lock_probe"]
    command += ["--manifest-path", manifest, "--message-format", "json-render-diagnostics"]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if output.returncode != 0:
        raise Failure("the probe does not build")
    for line in output.stdout.splitlines():
        message = json.loads(line)
        if message.get("target", {}).get("name") == "lock_probe" and message.get("executable"):
            return message["executable"]
    raise Failure("cargo names no program for the bench lock_probe")


def main(arguments):
    """The exit status: 0 nothing is locked, 1 something is, or the check could not be made."""
    manifest, *built = arguments
    try:
        program = Program(disassemble(built[0] if built else build(manifest)))
        check_itself(program)
        check_local_paths(program)
    except Failure as failure:
        print(f"lock_prefix: FAILED: {failure}", file=sys.stderr)
        return 1
    print("\nlock_prefix: no locked instruction on the local path of wake and poll")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
