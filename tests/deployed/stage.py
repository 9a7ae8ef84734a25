"""A client of a deployed stage: requests with tokens, ticket events, and waiting for asynchronous writes."""

import base64
import hashlib
import hmac
import http.client
import json
import os
import ssl
import time
import urllib.parse

import boto3

# On AWS an asynchronous write shows within a second; a cold start or a busy machine takes longer.
PATIENCE_SECONDS = 60


def token(secret, **claims):
    """A JWT signed with HS256 that expires in an hour."""

    def encode(value):
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

    claims = {"exp": int(time.time()) + 3600, **claims}
    signed = f"{encode(json.dumps({'alg': 'HS256'}).encode())}.{encode(json.dumps(claims).encode())}"
    return f"{signed}.{encode(hmac.new(secret.encode(), signed.encode(), hashlib.sha256).digest())}"


def eventually(check):
    """Calls `check` until it raises no AssertionError, and returns its result."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return check()
        except AssertionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


class Response:
    def __init__(self, request, response):
        self.request = request
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.text = response.read().decode()

    def expect(self, status):
        """The JSON of a response that must have this status."""
        assert self.status == status, f"{self.request}: {self.status}, not {status}: {self.text}"
        return json.loads(self.text) if self.text else None


class Stage:
    """A stage by the address of its API, the URL of its queue of ticket events, and its HS256 secret."""

    def __init__(self, api, queue, secret):
        self.api = urllib.parse.urlsplit(api)
        # The emulator serves all hosts at its endpoint.
        self.server = urllib.parse.urlsplit(os.environ.get("AWS_ENDPOINT_URL", api))
        self.queue = queue
        self.secret = secret
        self.sqs = boto3.client("sqs")

    def connect(self):
        if self.server.scheme == "http":
            return http.client.HTTPConnection(self.server.hostname, self.server.port, timeout=60)
        # boto3 and the AWS CLI read the emulator's certificate from the same variable.
        context = ssl.create_default_context(cafile=os.environ.get("AWS_CA_BUNDLE"))
        return http.client.HTTPSConnection(self.server.hostname, self.server.port, timeout=60, context=context)

    def request(self, method, path, body=None, bearer=None, headers=None):
        """Sends a request; `body` is bytes, or a value that is sent as JSON."""
        headers = {"Host": self.api.netloc, **(headers or {})}
        if bearer:
            headers["Authorization"] = f"Bearer {bearer}"
        if body is not None and not isinstance(body, bytes):
            headers["Content-Type"] = "application/json"
            body = json.dumps(body).encode()
        connection = self.connect()
        connection.request(method, path, body, headers)
        response = Response(f"{method} {path}", connection.getresponse())
        connection.close()
        return response

    def tenant(self, customer):
        """Sends requests as a tenant."""
        bearer = token(self.secret, customerID=customer)
        return lambda method, path, body=None, **headers: self.request(
            method, path, body, bearer, {name.replace("_", "-"): value for name, value in headers.items()}
        )

    def send_event(self, event):
        self.sqs.send_message(QueueUrl=self.queue, MessageBody=json.dumps(event))
