#!/usr/bin/env python3
"""Explores small kernels of the protocols under the C++20 memory model (RC11), exhaustively.

Spin knows one order of everything; this is for what depends on the orders that mem/shared.hpp names. A kernel is two
or three threads, generators that yield accesses. Executions are graphs: events, who reads from whom, the order of the
writes of each word. From each consistent graph every thread's next event is added in every possible way - a load reads
from any write, a store goes to any place in its word's order - and the axioms are checked (coherence, atomicity, and
one order of seq_cst: R. Lahav et al., "Repairing sequential consistency in C/C++11", 2017, with the release sequences
of C++20). Graphs that were seen before, in whatever order they came about, are not continued. What this leaves out are
executions in which a load reads from a store that depends on it (load buffering).

Each kernel must be clean, and each weakened variant of it must be caught: tests/model/weak.py
"""
import sys

EVENTS_MAX = 16  # of one thread; a longer one is a loop that makes no progress, and is cut


class Violation(Exception):
    pass


ACQUIRES, RELEASES = {"acq", "ar", "sc"}, {"rel", "ar", "sc"}


class Event:
    __slots__ = ("thread", "kind", "word", "value", "order", "source")

    def __init__(self, thread, kind, word, value, order, source=None):
        self.thread, self.kind, self.word = thread, kind, word
        self.value, self.order, self.source = value, order, source

    reads = property(lambda self: self.kind in "RU")
    writes = property(lambda self: self.kind in "WU")


def close(graph):
    for k in range(len(graph)):
        bit, through = 1 << k, graph[k]
        for i in range(len(graph)):
            if graph[i] & bit:
                graph[i] |= graph[k]
    return graph


def bits(mask):
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


class Graph:
    """Events by number; the initial writes come first and belong to thread -1."""

    def __init__(self, initial):
        self.events, self.modification = [], {}
        for word, value in initial.items():
            self.modification[word] = [len(self.events)]
            self.events.append(Event(-1, "W", word, value, "rlx"))

    def copy(self):
        other = Graph({})
        other.events = list(self.events)
        other.modification = {w: list(m) for w, m in self.modification.items()}
        return other

    def key(self):
        names, counts = [], {}
        for e in self.events:
            counts[e.thread] = counts.get(e.thread, 0) + 1
            names.append((e.thread, counts[e.thread]))
        sources = [names[e.source] if e.source is not None else None for e in self.events]
        kinds = [e.kind for e in self.events]
        orders = tuple((word, tuple(names[i] for i in writes)) for word, writes in sorted(self.modification.items()))
        return tuple(sorted(zip(names, sources, kinds))), orders

    def consistent(self):
        events, n = self.events, len(self.events)
        before = [0] * n  # sequenced before
        for i, a in enumerate(events):
            for j in range(i + 1, n):
                if a.thread == events[j].thread or a.thread == -1:
                    before[i] |= 1 << j
        hb = list(before)
        for r, reader in enumerate(events):
            if not reader.reads:
                continue
            heads, w = [], reader.source
            while True:  # release sequences that the write read from belongs to
                heads.append(w)
                if events[w].kind != "U":
                    break
                w = events[w].source
            targets = [r] if reader.order in ACQUIRES else []
            targets += [f for f in bits(before[r]) if events[f].kind == "F" and events[f].order in ACQUIRES]
            for head in heads:
                sources = [head] if events[head].order in RELEASES else []
                sources += [f for f in range(head)
                            if events[f].kind == "F" and events[f].order in RELEASES and before[f] >> head & 1]
                for s in sources:
                    for t in targets:
                        hb[s] |= 1 << t
        close(hb)
        order, read_before, eco = [0] * n, [0] * n, [0] * n
        for writes in self.modification.values():
            for at, w in enumerate(writes):
                for later in writes[at + 1:]:
                    order[w] |= 1 << later
                if events[w].kind == "U" and (at == 0 or writes[at - 1] != events[w].source):
                    return False  # atomicity
        for r, reader in enumerate(events):
            if reader.reads:
                eco[reader.source] |= 1 << r
                read_before[r] = order[reader.source] & ~(1 << r)
        for i in range(n):
            eco[i] |= order[i] | read_before[i]
        close(eco)
        for i in range(n):
            if hb[i] >> i & 1 or eco[i] >> i & 1 or any(eco[j] >> i & 1 for j in bits(hb[i])):
                return False  # coherence
        strong = [i for i, e in enumerate(events) if e.order == "sc"]
        if len(strong) < 2:
            return True
        same = [sum(1 << j for j, b in enumerate(events) if b.word == a.word and a.word is not None) for a in events]
        base = []
        for i in range(n):
            elsewhere = before[i] & ~same[i]
            reach = 0
            for j in bits(elsewhere):
                for k in bits(hb[j]):
                    reach |= before[k] & ~same[k]
            base.append(before[i] | reach | hb[i] & same[i] | order[i] | read_before[i])
        partial = [0] * n
        for a in strong:
            starts = 1 << a | (hb[a] if events[a].kind == "F" else 0)
            reached = 0
            for s in bits(starts):
                reached |= base[s]
            behind = reached
            for t in bits(reached):
                behind |= hb[t]
            through = hb[a]
            for t in bits(hb[a]):
                for u in bits(eco[t]):
                    through |= hb[u]
            for b in strong:
                fence = events[b].kind == "F"
                fences = fence and events[a].kind == "F"
                if reached >> b & 1 or fence and behind >> b & 1 or fences and through >> b & 1:
                    partial[a] |= 1 << b
        close(partial)
        return not any(partial[i] >> i & 1 for i in range(n))


def replay(kernel, graph, thread):
    """The thread's next access after what the graph has of it, or None at its end or at an assumption that fails."""
    own = [e for e in graph.events if e.thread == thread]
    run, at, answer = kernel.threads[thread](), 0, None
    while True:
        try:
            access = run.send(answer)
        except StopIteration:
            return None
        if access[0] == "assume":
            if not access[1]:
                return None
            answer = None
            continue
        if at == len(own):
            return access
        event = own[at]
        at += 1
        read = graph.events[event.source].value if event.reads else None
        answer = (event.kind == "U", read) if access[0] == "cas" else read


def extensions(graph, thread, access):
    what = access[0]
    if what == "fence":
        more = graph.copy()
        more.events.append(Event(thread, "F", None, None, access[1]))
        yield more
    elif what == "st":
        _, word, value, order = access
        for at in range(1, len(graph.modification[word]) + 1):
            more = graph.copy()
            more.modification[word].insert(at, len(more.events))
            more.events.append(Event(thread, "W", word, value, order))
            yield more
    else:
        word, order = access[1], access[-1]
        for at, w in enumerate(graph.modification[word]):
            seen = graph.events[w].value
            more = graph.copy()
            if what == "xchg" or what == "cas" and seen == access[2]:
                value = access[2] if what == "xchg" else access[3]
                more.modification[word].insert(at + 1, len(more.events))
                more.events.append(Event(thread, "U", word, value, order, w))
            else:
                failed = {"ar": "acq"}.get(order, order)
                more.events.append(Event(thread, "R", word, None, failed if what == "cas" else order, w))
            yield more


def explore(kernel):
    """Returns (graphs, first violation or None)."""
    start = Graph(kernel.initial)
    stack, seen = [start], {start.key()}
    while stack:
        graph = stack.pop()
        for thread in range(len(kernel.threads)):
            if sum(e.thread == thread for e in graph.events) >= EVENTS_MAX:
                continue
            try:
                access = replay(kernel, graph, thread)
            except Violation as violation:
                return len(seen), str(violation)
            if access is None:
                continue
            for more in extensions(graph, thread, access):
                if (key := more.key()) not in seen and more.consistent():
                    seen.add(key)
                    stack.append(more)
    return len(seen), None


def check(ok, text):
    if not ok:
        raise Violation(text)


class Kernel:
    def __init__(self, initial, *threads):
        self.initial, self.threads = initial, threads


# --- The kernels. `weak` names what is left out or weakened; None is the protocol. ---


def hazard(weak):
    """H1-H3 against unlink, T1, Q1-Q4 (reclaim.hpp)."""

    def client():
        if (yield "ld", "slot", "acq") != 1:
            return
        yield "st", "hz", 1, "rel"  # H1
        if weak != "no H2":
            yield "fence", "sc"
        if (yield "ld", "slot", "sc") != 1:  # H3
            return
        check((yield "ld", "hdr", "rlx") != "free", "a protected record was freed")

    def reclaimer():
        yield "cas", "slot", 1, 0, "ar" if weak == "unlink acq_rel, no Q2" else "sc"  # X1, X3
        yield "cas", "hdr", "clean", "retired", "ar"  # T1
        if weak not in ("no Q2", "unlink acq_rel, no Q2"):
            yield "fence", "sc"
        if (yield "ld", "hz", "acq") == 0:  # Q3
            yield "cas", "hdr", "retired", "free", "sc"  # Q4

    return Kernel({"slot": 1, "hz": 0, "hdr": "clean"}, client, reclaimer)


def drain(weak):
    """A1-A3 against D1-D3 (slab.hpp): not both go on with the block."""

    def allocator():
        yield "st", "nw", 1, "rel" if weak == "A1 release" else "sc"
        if (yield "ld", "page", "acq" if weak == "A2 acquire" else "sc") != "slab":
            return
        yield "st", "claimed", 1, "rlx"
        check((yield "ld", "given", "rlx") == 0, "a block of a page that was given back")

    def drainer():
        yield "cas", "page", "slab", "drain", "sc"  # D1
        if weak != "no D2":
            yield "fence", "sc"
        if (yield "ld", "nw", "acq") == 0:
            yield "st", "given", 1, "rlx"
            check((yield "ld", "claimed", "rlx") == 0, "a page with a claimed block was given back")

    return Kernel({"nw": 0, "page": "slab", "given": 0, "claimed": 0}, allocator, drainer)


def get(weak):
    """Steps 1-5 of GET against unlink, free, claim, fill, and link again of the same block (get.cpp, slab.cpp).
    hdr is (uid, state); instance 2 is linked by `thread`s that say so."""

    def reader():
        word = yield "ld", "slot", "acq"
        if word != 1:
            return
        uid, state = yield "ld", "hdr", "acq"
        if state == "free":
            return
        if weak != "no second look at the slot" and (yield "ld", "slot", "acq") != word:
            return
        first = yield "ld", "p0", "rlx"
        second = yield "ld", "p1", "rlx"
        if weak != "no acquire fence":
            yield "fence", "acq"
        if weak != "no check of the uid":
            after, state = yield "ld", "hdr", "rlx"
            if after != uid or state == "free":
                return
        check(first == second == uid, f"a copy of {first}, {second} passed for instance {uid}")
        check(uid != 2, "instance 2 was never linked")

    def writer():
        yield "cas", "slot", 1, 0, "sc"
        yield "cas", "hdr", (1, "clean"), (1, "retired"), "ar"
        yield "cas", "hdr", (1, "retired"), (1, "free"), "sc"
        yield "cas", "hdr", (1, "free"), (2, "priv"), "rlx" if weak == "A3 relaxed" else "ar"  # A3
        if weak != "no release fence":
            yield "fence", "rel"
        yield "st", "p0", 2, "rlx"
        yield "st", "p1", 2, "rlx"

    return Kernel({"slot": 1, "hdr": (1, "clean"), "p0": 1, "p1": 1}, reader, writer)


def publish(weak):
    """N1, N2 by a helper, and a reader: the bytes of a new record reach who finds it (index.hpp)."""

    def inserter():
        yield "st", "bytes", 7, "rlx"
        yield "cas", "ins", 0, 1, "rlx" if weak == "N1 relaxed" else "sc"

    def helper():
        if (yield "ld", "ins", "rlx" if weak == "helper relaxed" else "sc") != 1:
            return
        yield "cas", "slot", 0, 1, "rlx" if weak == "N2 relaxed" else "sc"

    def reader():
        if (yield "ld", "slot", "rlx" if weak == "reader relaxed" else "acq") == 1:
            check((yield "ld", "bytes", "rlx") == 7, "a record without its bytes")

    return Kernel({"bytes": 0, "ins": 0, "slot": 0}, inserter, helper, reader)


def fence_of_registration(weak):
    """An operation whose slot CAS comes after REGISTER returned settles by the new table; a helper that saw the record
    in the slot too (triggers.hpp). What tells the writer that it returned is a message of the program's own."""

    def registrar():
        yield "st", "table", 1, "rlx"
        yield "st", "trigger", 1, "rlx" if weak == "G2 relaxed" else "sc"
        yield "st", "returned", 1, "rel"

    def writer():
        yield "assume", (yield "ld", "returned", "acq") == 1
        yield "cas", "slot", 0, 1, "rlx" if weak == "X1 relaxed" else "sc"

    def helper():
        installed = (yield "ld", "slot", "rlx" if weak == "helper relaxed" else "sc") == 1
        registered = (yield "ld", "trigger", "sc") == 1  # M1
        check(registered or not installed, "an effect behind a registration was settled without it")
        if registered:
            check((yield "ld", "table", "rlx") == 1, "the table was not there")

    return Kernel({"table": 0, "trigger": 0, "slot": 0, "returned": 0}, registrar, writer, helper)


def append(weak):
    """E1-E4 by two helpers of one record, and the consumer (ring.hpp). Word: P pending, p proposed 0, c confirmed 0."""

    def appender():
        yield "st", "bytes", 7, "rlx"
        yield "st", "slot", 1, "rlx" if weak == "slot relaxed" else "rel"
        yield from pay()

    def helper():
        yield "assume", (yield "ld", "slot", "acq") == 1
        yield from pay()

    def pay():
        strong = "rlx" if weak == "all relaxed" else "ar"
        look = "rlx" if weak == "all relaxed" else "acq"
        while True:
            word = yield "ld", "ev", look
            if word == "c":
                return
            if word == "P":
                yield "cas", "ev", "P", "p", strong
                continue
            cell = yield "ld", "cell", look
            if cell == "e0":
                yield "cas", "cell", "e0", "r", strong
            elif cell == "r":
                yield "cas", "ev", "p", "c", strong
            else:
                # Recycled: then the word must be seen as confirmed, or the event would be made twice.
                check((yield "ld", "ev", look) == "c", "the event would get a second place")

    def consumer():
        yield "assume", (yield "ld", "cell", "rlx" if weak == "all relaxed" else "acq") == "r"
        check((yield "ld", "bytes", "rlx") == 7, "an event without its record")
        yield "cas", "ev", "p", "c", "rlx" if weak == "all relaxed" else "ar"
        yield "st", "cell", "e1", "rlx" if weak in ("K3 relaxed", "all relaxed") else "rel"

    threads = (appender, consumer) if weak == "slot relaxed" else (appender, helper, consumer)
    return Kernel({"bytes": 0, "slot": 0, "ev": "P", "cell": "e0"}, *threads)


KERNELS = {
    hazard: ["no H2", "no Q2", "unlink acq_rel, no Q2"],
    drain: ["A1 release", "A2 acquire", "no D2"],
    get: ["no second look at the slot", "no acquire fence", "no check of the uid", "no release fence"],
    publish: ["N1 relaxed", "helper relaxed", "N2 relaxed", "reader relaxed"],
    fence_of_registration: ["G2 relaxed", "X1 relaxed", "helper relaxed"],
    append: ["all relaxed", "K3 relaxed"],
}


def main():
    failed = 0
    for kernel, weakened in KERNELS.items():
        for weak in [None, *weakened]:
            graphs, violation = explore(kernel(weak))
            good = (violation is None) == (weak is None) and graphs > 10
            failed += not good
            name = kernel.__name__ + (f" [{weak}]" if weak else "")
            print(f"{'' if good else 'FAILED '}{name}: {graphs:,} graphs, {violation or 'clean'}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
