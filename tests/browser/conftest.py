"""Fixtures: one browser for the run, the API without the browser, a page for each test."""

import itertools
import json
import os
import random
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect, sync_playwright

ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]
TIMEOUT_MS = 60_000
REPORT_CSP_VIOLATIONS = """addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) =>
  console.error("CSP violation:", violatedDirective, blockedURI))"""

expect.set_options(timeout=TIMEOUT_MS)


def origin_of(url):
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


ORIGIN = origin_of(os.environ["URL"])


class Api:
    """The API of tenant 7 and the local endpoints, called without the browser."""

    TENANT = 7

    def __init__(self, requests):
        self.requests = requests
        self.tokens = {demo["tenant"]: demo["token"] for demo in requests.get("/local/tokens").json()}
        self.ticket_ids = itertools.count(random.randrange(1_000_000_000))

    def call(self, method, path, body=None):
        headers = {"Authorization": f"Bearer {self.tokens[self.TENANT]}"}
        response = self.requests.fetch(path, method=method, headers=headers, data=body)
        return None if response.status == 204 else response.json()

    def create(self, **fields):
        return self.call("POST", "/api/EndUsers", fields)

    def read(self, end_user):
        return self.call("GET", f"/api/EndUsers/{end_user['endUserID']}")

    def update(self, end_user, **fields):
        return self.call("PUT", f"/api/EndUsers/{end_user['endUserID']}", fields)

    def merge(self, survivor, other):
        return self.call("POST", f"/api/EndUsers/{survivor['endUserID']}/merge", {"endUserID": other["endUserID"]})

    def duplicates(self, end_user):
        """The ids of the end users that share an identifier with an end user."""
        found = self.call("GET", f"/api/EndUsers/{end_user['endUserID']}/duplicates")
        return [duplicate["endUser"]["endUserID"] for duplicate in found]

    def list(self, query):
        return self.call("GET", f"/api/EndUsers?{query}")

    def ingest(self, *tickets):
        """Sends an event for each ticket: its UID, its date and other fields."""
        events = [json.dumps(self.ticket_event(**ticket)) for ticket in tickets]
        headers = {"Content-Type": "application/x-ndjson"}
        response = self.requests.post("/local/ticket-events", headers=headers, data="\n".join(events))
        assert response.status == 202

    def ticket_event(self, date, **fields):
        ticket = {"ticketID": next(self.ticket_ids), "dateCreated": date, "lastMessageDate": date, **fields}
        return {"type": "ticket.upserted", "customerID": self.TENANT, "occurredAt": date, "ticket": ticket}

    def settle(self):
        """Waits until every write is indexed."""
        assert self.requests.post("/local/settle").status == 204


@pytest.fixture(scope="session")
def playwright():
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="session")
def browser(playwright):
    browser = playwright.chromium.launch(executable_path=os.environ["CHROMIUM"], args=ARGUMENTS)
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def api(playwright):
    requests = playwright.request.new_context(base_url=ORIGIN, fail_on_status_code=True, timeout=TIMEOUT_MS)
    yield Api(requests)
    requests.dispose()


@pytest.fixture
def page(browser):
    """A page in a context of its own. The test fails if a page reports an error or calls another origin."""
    context = browser.new_context(base_url=ORIGIN, viewport={"width": 1200, "height": 800}, locale="en-GB")
    context.set_default_timeout(TIMEOUT_MS)
    context.add_init_script(REPORT_CSP_VIOLATIONS)
    problems = []
    context.on("console", lambda message: is_problem(message) and problems.append(message.text))
    context.on("weberror", lambda error: problems.append(str(error.error)))
    context.on("request", lambda request: is_foreign(request) and problems.append(f"requested {request.url}"))
    yield context.new_page()
    # Closing the context delivers the events that are still on their way.
    context.close()
    if problems:
        pytest.fail("\n".join(problems))


def is_problem(message):
    """Whether a console message is an error or a warning of the page. Chromium also logs each error of the API."""
    is_api_error = message.text.startswith("Failed to load resource") and message.location["url"].startswith(f"{ORIGIN}/api/")
    return message.type in ("error", "warning") and not is_api_error


def is_foreign(request):
    return not request.url.startswith("data:") and origin_of(request.url) != ORIGIN
