#!/usr/bin/env python3
"""Runs one Python class as a command job of aclarai-scheduler.

    command: [python3, -u, /usr/share/doc/aclarai-scheduler/examples/python_job.py, "package.module:Class"]
    working_dir: /opt/package        # looked in first for the module; PYTHONPATH works too

The class has a method `run_job()` that returns a dictionary (or None). Its members become the statistics of the run;
`"success": False` makes the run a failure, and `"error"` says why. An exception fails the run, with its traceback as
the error.

The job's own parameters in the YAML reach the constructor: each by its name where the constructor has an argument of
that name, all of them as a dictionary where it has one named `params`, or where its first argument has no default. A
class that reads its configuration itself, as those of the aclarai services do, is made without arguments.

docs/moving-over.md has the entries of the original's jobs, ready to paste.
"""

import importlib
import inspect
import json
import logging
import os
import signal
import sys
import traceback


def find(name):
    """The class that `package.module:Class` names."""
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise SystemExit("usage: python_job.py package.module:Class")
    # The working folder comes before this file's own.
    sys.path.insert(0, os.getcwd())
    found = importlib.import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part)
    return found


def make(job_class, params):
    """An instance, given those of the parameters that its constructor asks for."""
    arguments = [
        argument
        for argument in inspect.signature(job_class).parameters.values()
        if argument.kind in (argument.POSITIONAL_OR_KEYWORD, argument.KEYWORD_ONLY)
    ]
    given = {a.name: params[a.name] for a in arguments if a.name in params}
    for argument in arguments:
        if argument.name == "params":
            given.setdefault("params", params)
    if arguments and arguments[0].default is inspect.Parameter.empty:
        given.setdefault(arguments[0].name, params)
    return job_class(**given)


def verdict_of(name):
    """Runs the job and returns what is to be the last line."""
    try:
        params = json.loads(os.environ.get("ACLARAI_JOB_PARAMS") or "{}")
        result = make(find(name), params).run_job()
    except Exception as error:
        what = "".join(traceback.format_exception_only(type(error), error)).strip()
        return {"success": False, "error": f"{what}\n{traceback.format_exc().strip()}"}
    if result is None:
        return {"success": True}
    if not isinstance(result, dict):
        return {"success": False, "error": f"run_job() returned {type(result).__name__}, not a dictionary"}
    verdict = {"success": True, **result}
    if not verdict["success"] and not verdict.get("error"):
        # The original's jobs tell their reasons so.
        verdict["error"] = "; ".join(map(str, verdict.get("error_details") or ["run_job() reports a failure"]))
    return verdict


def stop(signum, frame):
    # The scheduler stops the run. What `finally` and `with` guard is tidied up before the process ends.
    sys.exit(128 + signum)


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: python_job.py package.module:Class")
    signal.signal(signal.SIGTERM, stop)
    logging.basicConfig(
        level=os.environ.get("LOG_LEVEL", "INFO").upper(), format="%(levelname)s %(name)s: %(message)s"
    )
    verdict = verdict_of(sys.argv[1])
    print(json.dumps(verdict, default=str), flush=True)
    # Nothing that is printed while Python ends may come after the verdict.
    sys.stdout = sys.stderr
    sys.exit(0 if verdict["success"] else 1)


if __name__ == "__main__":
    main()
