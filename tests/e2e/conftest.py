"""Fixtures of the end-to-end tests. After every test each daemon of it is brought to rest, and
`cachee fsck` must be clean and `cachee verify` must add up."""
import pytest

from support import Daemon, Load, Receiver, wait_until


def settle(daemon):
    """Ends a test: a daemon that the test left dead is started again first, as an operator would."""
    if not daemon.alive():
        daemon.start()
    fsck = daemon.fsck()
    assert fsck.returncode == 0, f"fsck:\n{fsck.stdout}{fsck.stderr}\n{daemon.log()[-3000:]}"
    # The account adds up at any moment; no waiting for a quiet one.
    verify = daemon.verify()
    assert verify.returncode == 0, f"verify:\n{verify.stdout}{verify.stderr}\n{daemon.log()[-3000:]}"
    assert daemon.terminate() == 0, daemon.log()[-3000:]


@pytest.fixture
def make_daemon(tmp_path):
    """Starts cacheed; several in one test get folders of their own."""
    daemons = []

    def make(settings="", options=(), memory="32MiB", start=True):
        folder = tmp_path / f"d{len(daemons)}"
        folder.mkdir()
        daemon = Daemon(folder, settings, options, memory)
        daemons.append(daemon)
        return daemon.start() if start else daemon

    yield make
    try:
        for daemon in daemons:
            if daemon.process is not None:
                settle(daemon)
    finally:
        for daemon in daemons:
            daemon.disconnect()
            daemon.remove()


@pytest.fixture
def daemon(make_daemon):
    return make_daemon()


@pytest.fixture
def make_load():
    """Starts load clients; those still alive are ended before the daemon is judged."""
    loads = []

    def make(daemon, prefix, **options):
        loads.append(Load(daemon, prefix, **options))
        return loads[-1]

    yield make
    for load in loads:
        if load.process.poll() is None:
            load.kill()


@pytest.fixture
def receiver():
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def await_lines():
    """Waits until a log channel has `count` lines; returns them."""
    def wait(daemon, channel, count, timeout=15.0):
        wait_until(lambda: len(daemon.channel(channel)) >= count,
                   lambda: f"{count} lines in {channel} (there are {len(daemon.channel(channel))})\n"
                           f"{daemon.log()[-2000:]}", timeout, 0.02)
        return daemon.channel(channel)

    return wait
