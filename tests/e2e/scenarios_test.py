"""Goal: the four scenarios that Cachee is for work as their example files say, from the write of a
client process to the effect outside.

Method: the files under daemon/examples run unchanged; receivers are real HTTP servers on loopback.
"""
import hashlib
import hmac
import json
import time

from support import EXAMPLES, wait_until

ISSUE_SCRIPT = """TRIGGER REGISTER ratelimit:* ON_WRITE <<LUA
if tonumber(event.value) > tonumber(event.metadata.limit) then
  cachee.log("compliance", {
    key = event.key,
    value = event.value,
    limit = event.metadata.limit,
    timestamp = event.timestamp
  })
end
LUA
"""


def test_expired_session_is_told_to_the_auth_service(daemon, receiver, await_lines):
    daemon.example("session")
    daemon.cachee_ok("set", "config:auth-url", receiver.url + "/sessions/ended")
    daemon.cachee_ok("set", "config:auth-secret", "s3cret")
    before = time.time()
    daemon.cachee_ok("set", "session:42", "token", "--ttl", "200ms", "--meta", "user=ada")

    request = wait_until(lambda: receiver.received("/sessions/ended"), "the webhook")[0]
    assert request["method"] == "POST"
    body = json.loads(request["body"])
    assert (body["session"], body["user"], body["reason"]) == ("session:42", "ada", "ttl")
    assert before + 0.19 <= body["ended_at"] < before + 5

    headers = request["headers"]
    assert headers["content-type"].startswith("application/json")
    assert headers["cachee-trigger"] == "session-ended"
    assert headers["cachee-event-id"] and headers["idempotency-key"]
    signed = headers["cachee-timestamp"].encode() + b"." + request["body"]
    expected = hmac.new(b"s3cret", signed, hashlib.sha256).hexdigest()
    assert headers["cachee-signature"] == "sha256=" + expected

    lines = await_lines(daemon, "compliance", 1)
    assert [(line["session"], line["user"], line["reason"]) for line in lines] == [
        ("session:42", "ada", "ttl")]
    assert daemon.cachee("get", "session:42").returncode == 1


def test_logout_is_told_with_its_own_reason_and_a_refresh_is_no_end(daemon, receiver):
    daemon.example("session")
    daemon.cachee_ok("set", "config:auth-url", receiver.url + "/ended")
    daemon.cachee_ok("set", "session:1", "a", "--ttl", "300ms", "--meta", "user=ada")
    daemon.cachee_ok("set", "session:2", "b", "--ttl", "1h", "--meta", "user=bob")
    daemon.cachee_ok("expire", "session:1", "1h")
    daemon.cachee_ok("del", "session:2")

    wait_until(lambda: receiver.received("/ended"), "the webhook")
    time.sleep(0.4)  # the old deadline of session:1 passes
    told = [json.loads(r["body"]) for r in receiver.received("/ended")]
    assert [(t["session"], t["reason"]) for t in told] == [("session:2", "explicit")]
    assert daemon.cachee_ok("get", "session:1").strip() == "a"


def test_inventory_write_warms_the_pages(daemon, receiver):
    receiver.pages = {"/product/lamp": "<h1>lamp: 17 left</h1>", "/category/lighting": "lamp, torch"}
    daemon.example("inventory")
    daemon.cachee_ok("set", "config:shop-url", receiver.url)
    daemon.cachee_ok("set", "inventory:lamp", "17", "--meta", "category=lighting")

    for path, body in receiver.pages.items():
        wait_until(lambda p=path: daemon.cachee("get", "page:" + p).returncode == 0, "page:" + path)
        assert daemon.cachee_ok("get", "page:" + path).rstrip("\n") == body
    assert 0 < int(daemon.resp("TTL", "page:/product/lamp")) <= 3600

    receiver.pages["/product/lamp"] = "<h1>lamp: 16 left</h1>"
    daemon.cachee_ok("set", "inventory:lamp", "16")
    wait_until(lambda: "16 left" in daemon.cachee("get", "page:/product/lamp").stdout, "the new page")


def test_ratelimit_script_of_the_issue_logs_what_is_above_the_limit(daemon, await_lines):
    text = (EXAMPLES / "ratelimit.cachee").read_text()
    assert text == ISSUE_SCRIPT
    daemon.script(text)
    for count in range(1, 13):
        daemon.cachee_ok("set", "ratelimit:ip:10.0.0.1", count, "--meta", "limit=10")
    daemon.cachee_ok("set", "ratelimit:ip:10.0.0.2", 3, "--meta", "limit=10")

    lines = await_lines(daemon, "compliance", 2)
    daemon.drained()
    lines = daemon.channel("compliance")
    assert [(line["key"], line["value"], line["limit"]) for line in lines] == [
        ("ratelimit:ip:10.0.0.1", "11", "10"), ("ratelimit:ip:10.0.0.1", "12", "10")]
    assert all(abs(line["timestamp"] - time.time()) < 30 for line in lines)


def test_eviction_logs_what_was_worth_something(make_daemon, await_lines):
    daemon = make_daemon(memory="4MiB", options=("--eviction", "balanced"))
    daemon.example("eviction")
    value = "x" * 4096
    # Written over several times the memory: most of the costly ones have to go.
    commands = "".join(f"SET report:{n} {value} COST {5 if n % 2 else 1}\n" for n in range(3000))
    daemon.script(commands)
    lines = await_lines(daemon, "evictions", 50)
    assert {line["cost"] for line in lines} == {5}
    assert all(line["size"] == 4096 and int(line["key"].split(":")[1]) % 2 == 1 for line in lines)
    daemon.drained()
    gone = {line["key"] for line in daemon.channel("evictions")}
    assert len(gone) == len(daemon.channel("evictions")), "an eviction was logged twice"
    still = [key for key in gone if daemon.resp("EXISTS", key)]
    assert still == []


def test_audit_log_is_rotated_and_its_chain_shows_what_was_done_to_it(make_daemon):
    daemon = make_daemon(options=["--log-hash-chain", "--log-rotate-size", "2KiB"])
    daemon.register("order:*", "ON_WRITE", 'cachee.log("audit", {key = event.key, value = event.value})')
    for n in range(60):
        daemon.resp("SET", f"order:{n}", f"value {n}", "WAIT", "5000")
        if n == 30:
            daemon.kill()
            daemon.start()
    report = json.loads(daemon.cachee_ok("--json", "log", "audit", "--verify"))
    assert report["good"] and report["lines"] == 60 and report["files"] >= 4
    assert report["from_the_beginning"] and report["end_is_known"] and report["lines_without_hash"] == 0

    folder = daemon.state / daemon.name / "log"
    oldest = folder / "audit.jsonl.000001"
    good = oldest.read_text()
    oldest.write_text(good.replace("value 1", "value 7", 1))
    done = daemon.cachee("log", "audit", "--verify")
    assert done.returncode == 1 and "audit.jsonl.000001:2: was changed" in done.stderr, done.stderr
    oldest.write_text(good)
    daemon.cachee_ok("log", "audit", "--verify")

    current = folder / "audit.jsonl"
    lines = current.read_text().splitlines(keepends=True)
    assert len(lines) > 1
    current.write_text("".join(lines[:-1]))
    done = daemon.cachee("log", "audit", "--verify")
    assert done.returncode == 1 and "bytes are missing at its end" in done.stderr, done.stderr
    current.write_text("".join(lines))
    daemon.cachee_ok("log", "audit", "--verify")
