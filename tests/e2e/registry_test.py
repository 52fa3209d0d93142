"""Goal: the registry is the same after SIGKILL of everything, from the segment and from the disk alone; a registration is there
whole or not at all, and takes over between two runs, never in one.

Method: registrations with every option, kills in the middle of a stream of them, handlers that say which version they are.
"""
import os
import pathlib
import random
import shutil
import signal
import threading

from support import Resp, RespError, wait_until

ALL_OPTIONS = ("PRIORITY", 4, "RETRY", 9, "BACKOFF", "1s", "2m", "TIMEOUT", 77, "MEMORY", "2MiB", "STEPS", 500, "MAXDEPTH", 2,
               "ON_FULL", "BLOCK", 250)


def picture(daemon):
    """Everything that TRIGGER says of the registry."""
    names = [row[row.index("name") + 1] for row in daemon.resp("TRIGGER", "LIST")]
    return (daemon.resp("TRIGGER", "EXPORT"), daemon.resp("TRIGGER", "LIST"),
            [daemon.resp("TRIGGER", "INFO", name) for name in names])


def kill_everything(daemon):
    for pid in [*daemon.executors(), daemon.process.pid]:
        os.kill(pid, signal.SIGKILL)
    daemon.kill()


def forget_segment(daemon):
    for path in pathlib.Path("/dev/shm").glob(f"cachee.{daemon.name}*"):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def test_registry_is_the_same_after_kill_of_everything(daemon):
    daemon.register("a:*", "ON_WRITE,ON_EXPIRE", 'local s = "quo\\"ted \u00fc"\nreturn s\n', "NAME", "all options", *ALL_OPTIONS)
    daemon.register("b:*", "ON_READ", "return", "SAMPLE", 10, "ON_FULL", "SHED")
    daemon.register("c:[0-9]\\*", "ON_DELETE,ON_EVICT", "return 1", "NAME", "off", "DISABLED")
    daemon.register("d:*", "ON_WRITE", "return 2", "NAME", "paused", "PRIORITY", -3)
    daemon.resp("TRIGGER", "PAUSE", "paused")
    daemon.resp("GROUP", "CREATE", "auth", "e:*", "ON_EXPIRE")
    daemon.register("f:*", "ON_WRITE", "return 'old'", "NAME", "replaced")
    daemon.register("f:*", "ON_WRITE", "return 'new'", "NAME", "replaced")
    daemon.register("g:*", "ON_WRITE", "return", "NAME", "removed")
    daemon.resp("TRIGGER", "REMOVE", "removed")
    before = picture(daemon)
    assert len(before[1]) == 6

    kill_everything(daemon)
    daemon.start()
    assert picture(daemon) == before, "from the segment"

    # As after a reboot: the disk alone.
    kill_everything(daemon)
    forget_segment(daemon)
    daemon.start()
    assert picture(daemon) == before, "from the disk"


def version_source(version):
    # Long enough that half of it would show.
    return f'-- {version}\n' + "-- x\n" * 2000 + f'cachee.log("v", {{version = {version}, key = event.key}}) -- {version}'


def test_kill_in_a_stream_of_registrations_leaves_each_whole_or_not_at_all(daemon, await_lines):
    sent = acknowledged = 0
    stop = threading.Event()

    def register_until_killed():
        nonlocal sent, acknowledged
        connection = Resp(daemon.socket_path)
        try:
            while not stop.is_set():
                sent += 1
                connection("TRIGGER", "REGISTER", "v:*", "ON_WRITE", "NAME", "v", version_source(sent))
                acknowledged = sent
        except (OSError, RespError):
            pass

    for round_ in range(6):
        first = acknowledged
        thread = threading.Thread(target=register_until_killed)
        thread.start()
        goal = first + random.randint(3, 12)
        wait_until(lambda: acknowledged >= goal, "registrations", interval=random.random() / 100)
        kill_everything(daemon)
        stop.set()
        thread.join()
        stop.clear()
        if round_ % 2:
            forget_segment(daemon)
        daemon.start()
        source = daemon.resp("TRIGGER", "SOURCE", "v")
        version = int(source.split("\n")[0].split()[1])
        assert source == version_source(version)
        assert acknowledged <= version <= sent
        # Clients and executors have that version, too.
        daemon.resp("SET", f"v:{round_}", "x", "WAIT", 5000)
        line = await_lines(daemon, "v", round_ + 1)[-1]
        assert (line["version"], line["key"]) == (version, f"v:{round_}")
        acknowledged = sent = max(sent, version)


def test_run_in_flight_ends_on_the_old_code_and_the_next_has_the_new(daemon, await_lines):
    slow = """
    local n = 0
    for i = 1, 30000000 do n = n + 1 end
    cachee.log("r", {by = "old", key = event.key})
    """
    options = ("NAME", "r", "TIMEOUT", 20000, "STEPS", 10**12)
    daemon.register("r:*", "ON_WRITE", slow, *options)
    daemon.resp("SET", "r:1", "v")
    lane = wait_until(daemon.executors, "an executor")[0]
    stat = pathlib.Path(f"/proc/{lane}/stat")
    busy = lambda: int(stat.read_text().rpartition(")")[2].split()[11])  # noqa: E731
    idle = busy()
    wait_until(lambda: busy() > idle + 1, "the start of the run", interval=0.002)
    daemon.register("r:*", "ON_WRITE", 'cachee.log("r", {by = "new", key = event.key})', *options)
    assert daemon.channel("r") == [], "the run was to be under way when the new code came"
    daemon.resp("SET", "r:2", "v")
    lines = await_lines(daemon, "r", 2, timeout=30)
    assert [(line["by"], line["key"]) for line in lines] == [("old", "r:1"), ("new", "r:2")]


def test_each_event_runs_once_with_a_version_that_was_registered(make_daemon, await_lines):
    daemon = make_daemon(options=("--executors", "2"))
    register = lambda n: daemon.register(  # noqa: E731
        "w:*", "ON_WRITE", f'cachee.log("w", {{version = {n}, at_least = tonumber(event.value), id = event.id}})', "NAME", "w")
    register(0)
    registered = 0
    written = 0
    stop = threading.Event()

    def write():
        nonlocal written
        connection = Resp(daemon.socket_path)
        while not stop.is_set():
            connection("SET", f"w:{written % 7}", registered)
            written += 1
        connection.close()

    writer = threading.Thread(target=write)
    writer.start()
    for n in range(1, 41):
        register(n)
        registered = n
    stop.set()
    writer.join()
    lines = await_lines(daemon, "w", written)
    daemon.drained()
    lines = daemon.channel("w")
    assert len(lines) == len({line["id"] for line in lines}) == written > 40
    early = [line for line in lines if line["version"] < line["at_least"]]
    assert not early, f"{len(early)} runs with code that had been replaced before the write, as {early[0]}"
    assert all(line["version"] <= 40 for line in lines)


def test_reload_names_file_and_line_and_keeps_the_old_version(make_daemon, await_lines):
    daemon = make_daemon(start=False)
    folder = daemon.folder / "triggers.d"
    folder.mkdir()
    script = folder / "greet.lua"
    good = '-- trigger: k:* ON_WRITE NAME greet\n-- trigger: RETRY 7\ncachee.log("greet", {by = "first"})\n'
    script.write_text(good)
    daemon.start()
    for broken, place in ((good + "\nif if\n", "greet:5:"),
                          (good.replace("RETRY 7", "RETRY seven"), "greet.lua:1:"),
                          (good.replace("-- trigger: ", "-- "), "greet.lua:")):
        script.write_text(broken)
        start = len(daemon.log())
        daemon.signal(signal.SIGHUP)
        wait_until(lambda: "reloaded" in daemon.log()[start:], "the reload")
        errors = [line for line in daemon.log()[start:].splitlines() if " error " in line]
        assert len(errors) == 1 and str(script) in errors[0] and place in errors[0], errors
        assert daemon.resp("TRIGGER", "SOURCE", "greet") == good
    daemon.resp("SET", "k:1", "v", "WAIT", 5000)
    assert [line["by"] for line in await_lines(daemon, "greet", 1)] == ["first"]

    script.write_text(good.replace("first", "second").replace("RETRY 7", "RETRY 8"))
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: "second" in daemon.resp("TRIGGER", "SOURCE", "greet"), "the new version")
    info = daemon.resp("TRIGGER", "INFO", "greet")
    assert "8" in map(str, info)
    daemon.resp("SET", "k:2", "v", "WAIT", 5000)
    assert [line["by"] for line in await_lines(daemon, "greet", 2)] == ["first", "second"]


def test_second_file_of_one_name_is_named_and_left_alone(make_daemon):
    daemon = make_daemon(start=False)
    folder = daemon.folder / "triggers.d"
    folder.mkdir()
    for file in ("one", "other"):
        (folder / f"{file}.lua").write_text(f"-- trigger: k:* ON_WRITE NAME t\nreturn '{file}'\n")
    daemon.start()

    def errors(start=0):
        return [line for line in daemon.log()[start:].splitlines() if " error " in line]

    [error] = errors()
    assert error.endswith(f"{folder / 'other.lua'}: t already in one.lua"), error
    assert daemon.resp("TRIGGER", "SOURCE", "t").endswith("return 'one'\n")
    start = len(daemon.log())
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: "reloaded" in daemon.log()[start:], "the reload")
    assert len(errors(start)) == 1
    assert "registered from" not in daemon.log()[start:], "it was registered again"


def test_folder_takes_back_what_it_brought_and_leaves_what_people_said(make_daemon):
    daemon = make_daemon(start=False)
    folder = daemon.folder / "triggers.d"
    folder.mkdir()
    write = lambda name, more="": (folder / f"{name}.lua").write_text(  # noqa: E731
        f"-- trigger: k:* ON_WRITE NAME {name} {more}\nreturn\n")
    for name, more in (("a", ""), ("b", ""), ("c", "DISABLED"), ("gone", "")):
        write(name, more)
    daemon.start()

    def states():
        rows = [dict(zip(row[::2], row[1::2])) for row in daemon.resp("TRIGGER", "LIST")]
        return {row["name"]: (bool(row["enabled"]), bool(row["paused"])) for row in rows}

    def reload():
        start = len(daemon.log())
        daemon.signal(signal.SIGHUP)
        wait_until(lambda: "reloaded" in daemon.log()[start:], "the reload")

    daemon.register("k:*", "ON_WRITE", "return", "NAME", "by hand")
    assert states()["c"] == (False, False), "a header decides at first"
    daemon.resp("TRIGGER", "DISABLE", "a")
    daemon.resp("TRIGGER", "PAUSE", "b")
    daemon.resp("TRIGGER", "ENABLE", "c")
    wanted = {"a": (False, False), "b": (True, True), "c": (True, False), "gone": (True, False), "by hand": (True, False)}
    assert states() == wanted
    reload()
    assert states() == wanted, "the same files again"
    for name, more in (("a", "RETRY 7"), ("b", "RETRY 7"), ("c", "DISABLED RETRY 7")):
        write(name, more)
    reload()
    assert states() == wanted, "other files"
    assert "7" in map(str, daemon.resp("TRIGGER", "INFO", "a"))
    kill_everything(daemon)
    daemon.start()
    assert states() == wanted, "a restart"

    # While one cannot be read it is not known whose a trigger is.
    (folder / "gone.lua").rename(folder / "gone.off")
    write("b", "RETRY seven")
    reload()
    assert states() == wanted
    write("b", "RETRY 7")
    reload()
    assert states() == {name: wanted[name] for name in ("a", "b", "c", "by hand")}
    assert "trigger gone removed" in daemon.log()
    assert daemon.terminate() == 0
    (folder / "a.lua").unlink()
    daemon.start()
    assert sorted(states()) == ["b", "by hand", "c"], "at the start, too"

    # From the disk alone it is still known.
    kill_everything(daemon)
    forget_segment(daemon)
    (folder / "c.lua").unlink()
    daemon.start()
    assert sorted(states()) == ["b", "by hand"]
    shutil.rmtree(folder)
    reload()
    assert sorted(states()) == ["b", "by hand"], "a folder that is not there says nothing"


def test_register_is_a_fence_between_writes_without_an_event_and_writes_with_one(daemon, make_load):
    loads = [make_load(daemon, f"load-{n}:", pace_us=100) for n in range(2)]
    rounds = []
    for n in range(6):
        for load in loads:
            load.wait_for(len(load.done()) + 20)
        before = [len(load.done()) for load in loads]
        daemon.register("load-*", "ON_WRITE", f'cachee.log("r{n}", {{key = event.key, version = event.version}})', "NAME", f"r{n}")
        rounds.append((f"r{n}", before, [len(load.done()) for load in loads]))
    for load in loads:
        load.wait_for(len(load.done()) + 20)
    for load in loads:
        load.stop()
        assert load.errors() == []
    daemon.drained()
    for channel, before, after in rounds:
        logged = [(line["key"], line["version"]) for line in daemon.channel(channel)]
        told = set(logged)
        assert len(told) == len(logged)
        for load, returned_before, returned_after in zip(loads, before, after):
            done = load.done()
            has_event = [pair in told for pair in done]
            assert not any(has_event[:returned_before]), f"{channel}: an event of a write before REGISTER"
            # The first of the rest may have been under way, or not yet reported, when REGISTER returned.
            assert all(has_event[returned_after + 1:]), f"{channel}: a write after REGISTER without an event"
            assert has_event == sorted(has_event), f"{channel}: the registration was seen and then not"
        assert told <= {pair for load in loads for pair in load.done()}
