"""Calls each function by `sam local invoke` and the API by `sam local start-api`, and checks the responses.

Usage: check.py LOGS OPTION...

tests/sam-local/run runs it. LOGS is the folder of the logs; each `sam local` gets the options.
"""

import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

EVENTS = Path(__file__).parents[1] / "events"
LOGS, OPTIONS = Path(sys.argv[1]), sys.argv[2:]
TIMEOUT = 120  # seconds, enough for a slow or busy machine

VISITOR = {"uidType": "Email", "uid": "visitor@example.com", "isPrimary": False}
# Function, event, expected status and expected members of the body; without a status, of the result.
INVOCATIONS = [
    ("CreateEndUser", "create-end-user", 201, {"endUserID": 1, "name": "Jane Doe", "uids": [{"uidType": "Email"}]}),
    ("IndexEndUsers", "index-end-users", None, {"batchItemFailures": []}),
    ("ListEndUsers", "list-end-users", 200, {"items": [{"endUserID": 1}], "totalCount": 1}),
    ("FindEndUsersByUid", "find-end-users-by-uid", 200, [{"endUserID": 1, "customerRef": "ERP-3049353"}]),
    ("UpdateEndUser", "update-end-user", 204, None),
    ("GetEndUser", "get-end-user", 200, {"name": "Janet Doe", "uids": [{"endUserUIDID": 1}, {"uid": "+32470000000"}]}),
    ("AssignEndUserUid", "assign-end-user-uid", 201, {"endUserID": 1, "endUserUIDID": 3, **VISITOR}),
    # The second message of the event has an unknown type.
    ("IngestTickets", "ingest-tickets", None,
     {"batchItemFailures": [{"itemIdentifier": "059f36b4-87a3-44ab-83d2-661975100002"}]}),
    ("ListEndUserTickets", "list-end-user-tickets", 200, {"items": [{"ticketID": 900}], "totalCount": 1}),
    ("DeleteEndUser", "delete-end-user", 204, None),
]
# Method, path, body, expected status and expected members of the response's body. End user 1 is the one above.
REQUESTS = [
    ("POST", "/api/EndUsers", {"firstname": "Ann", "customerRef": "ERP-42"}, 201, {"endUserID": 2, "name": "Ann"}),
    ("GET", "/api/EndUsers/2", None, 200, {"endUserID": 2, "firstname": "Ann", "uids": []}),
    ("PUT", "/api/EndUsers/2", {"lastname": "Smit"}, 204, None),
    ("POST", "/api/EndUserUIDs/assign", {"endUserID": 2, **VISITOR}, 201, {"endUserID": 2, **VISITOR}),
    ("GET", "/api/EndUsers/byUid?uid=visitor%40example.com", None, 200, [{"endUserID": 2, "name": "Ann Smit"}]),
    ("GET", "/api/EndUsers?pageSize=5", None, 200, {"items": [{"endUserID": 2}], "totalCount": 1}),
    ("GET", "/api/EndUsers/2/tickets", None, 200, {"items": [{"ticketID": 900}], "totalCount": 1}),
    ("DELETE", "/api/EndUsers/2", None, 204, None),
    ("GET", "/api/EndUsers/2", None, 404, {"status": 404}),
    # SAM's response to an unknown route; API Gateway's is 404.
    ("GET", "/api/Nobody", None, 403, {"message": "Missing Authentication Token"}),
]


def contains(actual, expected):
    """Whether a JSON value has the expected members; lists must have the expected length."""
    if isinstance(expected, dict):
        return isinstance(actual, dict) and all(
            name in actual and contains(actual[name], value) for name, value in expected.items()
        )
    if isinstance(expected, list):
        return isinstance(actual, list) and len(actual) == len(expected) and all(map(contains, actual, expected))
    return actual == expected


def parse(text):
    """Returns the value of a JSON text, or another text as it is."""
    try:
        return json.loads(text) if text else None
    except ValueError:
        return text


def check(what, log, actual, expected, started):
    """Ends the run with the log, unless the status and the body are the expected ones."""
    (status, text), (expected_status, expected_body) = actual, expected
    if status != expected_status or not contains(parse(text), expected_body):
        sys.exit(f"{log.read_text()}\n{what}: {status} {text}\nexpected: {expected_status} {json.dumps(expected_body)}")
    print(f"sam local: {what}: {status or 'done'} ({time.monotonic() - started:.1f} s)", flush=True)


def invoke(function, event, log):
    """Returns the status and body of a response of the API, or None and the result of another function."""
    command = ["sam", "local", "invoke", function, "--event", EVENTS / f"{event}.json", *OPTIONS]
    with open(log, "w", encoding="utf-8") as output:
        try:
            result = subprocess.run(command, stdout=subprocess.PIPE, stderr=output, text=True, timeout=TIMEOUT).stdout
        except subprocess.TimeoutExpired:
            result = f"no result after {TIMEOUT} s"
    # Where the function fails, SAM prints no result and exits with 0.
    response = parse(result)
    if isinstance(response, dict) and "statusCode" in response:
        return response["statusCode"], response.get("body")
    return None, result


def send(url, method, path, body, token):
    """Returns the status and body of a response, or None and the error."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": token} if token else {})
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url + path, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as response:
        return response.code, response.read().decode()
    except OSError as error:
        return None, str(error)


def listens(port):
    """Whether a process listens on a port of 127.0.0.1."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def start_api(log):
    """Runs the API. Gives its URL when it listens, or when it has not after the timeout."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = ["sam", "local", "start-api", "--port", str(port), *OPTIONS]
    with open(log, "w", encoding="utf-8") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + TIMEOUT
        while not listens(port) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


# An exception at SIGTERM ends the child processes too.
signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
for function, event, status, body in INVOCATIONS:
    started, log = time.monotonic(), LOGS / f"{function}.log"
    check(f"invoke {function}", log, invoke(function, event, log), (status, body), started)

token = json.loads((EVENTS / "get-end-user.json").read_text())["headers"]["authorization"]
started, log = time.monotonic(), LOGS / "start-api.log"
with start_api(log) as url:
    response = send(url, "GET", "/api/EndUsers", None, None)
    check("GET /api/EndUsers without a token", log, response, (401, {"status": 401}), started)
    for method, path, body, status, expected in REQUESTS:
        started = time.monotonic()
        check(f"{method} {path}", log, send(url, method, path, body, token), (status, expected), started)
