#!/usr/bin/env python3
"""Looks at the page of a daemon with a long history: time, CPU and memory of each path, and how late due jobs are
meanwhile: while nobody asks, while four clients ask without a pause, while a thousand hold connections, and while
connections are opened all along.

    benches/page.py [ROWS] [JOBS] [SECONDS]      default: 1500000 rows, 1000 jobs, 30 seconds each

Wants cargo, half a gigabyte of disk and a quiet machine: the lateness is a wall time, told beside that of the same minute
in which nobody asks. PROGRAM measures another program.
"""
import json
import multiprocessing
import os
import resource
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time

ROWS, JOBS, SECONDS = (int(given) for given in (sys.argv[1:] + ["1500000", "1000", "30"][len(sys.argv) - 1:]))
os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
PROGRAM = os.environ.get("PROGRAM")
if PROGRAM is None:
    subprocess.run(["cargo", "build", "--release", "--quiet", "--bin", "aclarai-scheduler"], check=True)
    PROGRAM = os.path.abspath(os.environ.get("CARGO_TARGET_DIR", "target") + "/release/aclarai-scheduler")
FILES = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))


class Daemon:
    """A daemon with a job each second, which tells where it listens."""

    def __init__(self, folder):
        environment = {"PATH": os.environ["PATH"], "HOME": folder, "STATE_DIRECTORY": folder + "/state"}
        log = open(folder + "/log", "w+")
        command = [PROGRAM, "--config", folder + "/c.yaml", "--log-format", "json", "serve", "--listen", "127.0.0.1:0"]
        self.process = subprocess.Popen(command, stderr=log, env=environment, cwd=folder)
        while '"started"' not in (text := open(folder + "/log").read()):
            if self.process.poll() is not None:
                sys.exit(text)
            time.sleep(0.1)
        listening = next(line for line in text.splitlines() if '"listening"' in line)
        host, port = json.loads(listening)["address"].split(":")
        self.address = (host, int(port))

    def cpu_ms(self):
        threads = f"/proc/{self.process.pid}/task/"
        return sum(int(open(threads + thread + "/schedstat").read().split()[0]) for thread in os.listdir(threads)) / 1e6

    def resident_mb(self):
        status = open(f"/proc/{self.process.pid}/status")
        return next(int(line.split()[1]) * 1.024 / 1000 for line in status if line.startswith("VmRSS"))

    def get(self, path):
        connection = socket.create_connection(self.address)
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode())
        size = 0
        while part := connection.recv(1 << 20):
            size += len(part)
        connection.close()
        return size

    def stop(self):
        self.process.terminate()
        self.process.wait()


def fill(path):
    """Runs of eighty days, one of which failed."""
    state = sqlite3.connect(path)
    state.execute("PRAGMA synchronous = OFF")
    now, turns = int(time.time()), ROWS // JOBS

    def rows():
        for turn in range(turns):
            for job in range(JOBS):
                at = now - 80 * 86400 + turn * 80 * 86400 // turns + job % 60
                failed = (turn, job) == (turns // 2, JOBS // 2)
                name, outcome = f"job_{job:04}", "failed" if failed else "succeeded"
                begun = at * 1000000 + 3000
                yield name, f"{name}_{at}", outcome, at * 1000000, at * 1000000, begun, begun, begun + 1500000

    state.executemany(
        """INSERT INTO runs (job, run_id, trigger, state, scheduled_for, last_scheduled_for, count, coalesced, epoch,
               decided_at, started_at, finished_at, lateness, queue_wait, duration, attempt, rerun)
           VALUES (?, ?, 'schedule', ?, ?, ?, 1, 0, 0, ?, ?, ?, 3000, 0, 1500000, 1, 0)""",
        rows(),
    )
    state.commit()
    middle = state.execute("SELECT run_id FROM runs WHERE seq = (SELECT max(seq) / 2 FROM runs)").fetchone()[0]
    state.close()
    return middle


def ask_without_pause(daemon, count):
    while True:
        for path in ("/", "/api/v1/jobs", "/metrics", "/?outcome=failed"):
            daemon.get(path)
            count.value += 1


def open_without_pause(daemon):
    while True:
        connections = [socket.create_connection(daemon.address) for _ in range(200)]
        for connection in connections:
            try:
                connection.sendall(b"GET / HTTP/1.1\r\nHost: ")
            except OSError:
                pass
            connection.close()


def lateness(daemon, folder, what):
    """How late the job of each second was decided, in this time."""
    begun, most = time.time(), 0
    while time.time() < begun + SECONDS:
        most = max(most, daemon.resident_mb())
        time.sleep(0.2)
    ended = time.time()
    time.sleep(1.5)
    state = sqlite3.connect(f"file:{folder}/state/state.db?mode=ro", uri=True)
    query = "SELECT lateness FROM runs WHERE job = 'every' AND scheduled_for BETWEEN ? AND ? AND state = 'succeeded'"
    late = sorted(row[0] / 1000 for row in state.execute(query, (int(begun * 1e6), int(ended * 1e6))))
    state.close()
    median, nearly_all = late[len(late) // 2], late[int(len(late) * 0.95)]
    print(f"{what}|{len(late)} runs|{median:.2f} ms|{nearly_all:.2f} ms|{late[-1]:.2f} ms|{most:.1f} MB", flush=True)


def main(folder):
    os.mkdir(folder + "/vault")
    with open(folder + "/c.yaml", "w") as config:
        config.write(f"paths: {{vault: {folder}/vault}}\nscheduler:\n  jobs:\n    vault_sync: {{enabled: false}}\n")
        config.write("    every: {enabled: true, cron: '@every 1 s', command: ['true']}\n")
        for job in range(JOBS):
            config.write(f"    job_{job:04}: {{enabled: true, cron: '0 3 1 1 *', command: ['true']}}\n")
    Daemon(folder).stop()
    middle = fill(folder + "/state/state.db")
    daemon = Daemon(folder)
    paths = ["/healthz", "/metrics", "/", "/?outcome=failed", "/?outcome=running", f"/?before={middle}", "/jobs/job_0007"]
    paths += [f"/runs/{middle}", "/api/v1/status", "/api/v1/jobs", "/api/v1/history?n=1000"]
    print(f"{ROWS} rows, {JOBS} jobs; idle {daemon.resident_mb():.1f} MB")
    print("path|bytes|wall|CPU|resident")
    for path in paths:
        daemon.get(path)
        cpu, begun = daemon.cpu_ms(), time.time()
        size = daemon.get(path)
        wall, spent = (time.time() - begun) * 1000, daemon.cpu_ms() - cpu
        print(f"{path}|{size}|{wall:.1f} ms|{spent:.1f} ms|{daemon.resident_mb():.1f} MB", flush=True)
    print("lateness|of|median|95th percentile|longest|most resident")
    lateness(daemon, folder, "nobody asks")
    counts = [multiprocessing.Value("i") for _ in range(4)]
    clients = [multiprocessing.Process(target=ask_without_pause, args=(daemon, count)) for count in counts]
    for client in clients:
        client.start()
    lateness(daemon, folder, "four clients without a pause")
    for client in clients:
        client.kill()
    print(f"they got {sum(count.value for count in counts)} answers")
    lateness(daemon, folder, "nobody asks")
    held = []
    for _ in range(1000):
        held.append(socket.create_connection(daemon.address))
        held[-1].sendall(b"GET / HTTP/1.1\r\nHost: ")
    lateness(daemon, folder, "1,000 connections with half a head")
    clients = [multiprocessing.Process(target=open_without_pause, args=(daemon,)) for _ in range(2)]
    for client in clients:
        client.start()
    lateness(daemon, folder, "connections opened all along")
    for client in clients:
        client.kill()
    daemon.get("/healthz")
    daemon.stop()


with tempfile.TemporaryDirectory() as temporary:
    main(temporary)
