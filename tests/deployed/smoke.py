"""A smoke test of a deployed stage, and the recorded conversation of tests/conversation.ndjson.

    smoke.py STACK                      reads the addresses from the outputs of a stack
    smoke.py --api URL --queue URL      uses these addresses

JWT_SECRET holds the stage's HS256 secret. Credentials and region come from AWS's usual variables. They need the
permissions sqs:SendMessage on the queue and, for a stack, cloudformation:DescribeStacks. The test writes only to tenants
of its own, named smoke-<time>-.... It deletes its end users, but not its tickets and the end users of the conversation.
"""

import argparse
import json
import os
import pathlib
import time

import boto3
from stage import Stage, eventually, token

CONVERSATION = pathlib.Path(__file__).parent.parent / "conversation.ndjson"
NOW = "2026-11-23T10:00:00Z"


def ids(end_users):
    return [end_user["endUserID"] for end_user in end_users]


def check_endpoints(stage, customer):
    """Each of the fifteen endpoints, on end users that are deleted at the end."""
    send = stage.tenant(customer)
    response = stage.request("GET", "/api/EndUsers")
    response.expect(401)
    assert response.headers["www-authenticate"].startswith("Bearer"), response.headers

    body = {
        "firstname": "Ann", "lastname": "Smit", "customerRef": "ERP-42", "country": "NL",
        "uids": [{"uid": "ann@example.com", "isPrimary": True}, {"uidType": "Phone", "uid": "06 12345678"}],
    }
    created = send("POST", "/api/EndUsers", body, Idempotency_Key="order-66")
    end_user = created.expect(201)
    end_user_id = end_user["endUserID"]
    path = f"/api/EndUsers/{end_user_id}"
    assert created.headers["location"] == path, created.headers
    assert [uid["uid"] for uid in end_user["uids"]] == ["ann@example.com", "+31612345678"], end_user
    replayed = send("POST", "/api/EndUsers", body, Idempotency_Key="order-66")
    assert (replayed.expect(201), replayed.headers["idempotency-replayed"]) == (end_user, "true"), replayed.headers

    read = send("GET", path)
    assert read.expect(200) == end_user, read.text
    send("GET", path, If_None_Match=read.headers["etag"]).expect(304)
    send("PUT", path, {"firstname": "Bea"}, If_Match='"99"').expect(412)
    send("PUT", path, {"firstname": "Anna"}).expect(204)
    assert send("GET", path).expect(200)["firstname"] == "Anna"
    faults = send("POST", "/api/EndUsers", {"country": "Belgium", "uids": [{"uid": "no at mail"}]}).expect(400)
    assert sorted(faults["errors"]) == ["country", "uids[0].uid"], faults

    link = {"uid": "visitor@example.com", "endUserID": end_user_id, "uidType": "Email", "isPrimary": False}
    send("POST", "/api/EndUserUIDs/assign", link).expect(201)
    send("POST", "/api/EndUserUIDs/assign", link).expect(200)

    def found(path):
        def check():
            response = send("GET", path).expect(200)
            end_users = response if isinstance(response, list) else response["items"]
            assert ids(end_users) == [end_user_id], f"{path}: {response}"
        return eventually(check)

    for uid in ("0031612345678", "erp-42", "visitor@example.com"):
        found(f"/api/EndUsers/byUid?uid={uid}")
    found("/api/EndUsers")
    # Through the table's stream.
    found("/api/EndUsers?search=smi+anna&sortBy=lastname")

    # Through the queue.
    ticket = {"ticketID": 900, "uid": "visitor@example.com", "subject": "Hours?", "dateCreated": NOW, "lastMessageDate": NOW}
    stage.send_event({"type": "ticket.upserted", "customerID": customer, "occurredAt": NOW, "ticket": ticket})

    def has_ticket():
        page = send("GET", f"{path}/tickets?isClosed=false").expect(200)
        assert [item["subject"] for item in page["items"]] == ["Hours?"], page
    eventually(has_ticket)

    check_merge(send, end_user_id)
    stage.tenant(f"{customer}-other")("GET", path).expect(404)
    send("DELETE", path).expect(204)
    send("DELETE", path).expect(404)

    def is_gone():
        assert send("GET", "/api/EndUsers?search=smit").expect(200)["totalCount"] == 0
    eventually(is_gone)
    print("smoke test: 15 endpoints, stream -> search, queue -> history")


def check_merge(send, end_user_id):
    """Upserts another end user, merges it into this one, and undoes the merge."""
    path = f"/api/EndUsers/{end_user_id}"
    body = {"lastname": "Jansen", "uids": [{"uid": "cees@example.com"}]}
    upserted = send("POST", "/api/EndUsers/upsert", body).expect(201)
    other = upserted["endUser"]
    other_id = other["endUserID"]
    assert send("POST", "/api/EndUsers/upsert", body).expect(200)["outcome"] == "Unchanged"
    many = send("POST", "/api/EndUsers/upsertMany", {"endUsers": [body, {}]}).expect(200)["items"]
    assert [item["status"] for item in many] == [200, 400], many
    both = {"uids": [{"uid": "cees@example.com"}, {"uid": "visitor@example.com"}]}

    def is_ambiguous():
        problem = send("POST", "/api/EndUsers/upsert", both).expect(409)
        assert [conflict["endUserID"] for conflict in problem["conflicts"]] == [end_user_id, other_id], problem
    eventually(is_ambiguous)
    items = send("POST", "/api/EndUsers/lookup", {"uids": ["CEES@example.com", "nobody"]}).expect(200)["items"]
    assert [item["endUserIDs"] for item in items] == [[other_id], []], items
    assert send("GET", f"{path}/duplicates").expect(200) == []

    preview = send("POST", f"{path}/merge", {"endUserID": other_id, "dryRun": True}).expect(200)
    merged = send("POST", f"{path}/merge", {"endUserID": other_id}).expect(200)
    assert (merged["endUser"], merged["movedUids"]) == (preview["endUser"], [other["uids"][0]["endUserUIDID"]]), merged
    moved = send("GET", f"/api/EndUsers/{other_id}")
    assert (moved.status, moved.headers["location"]) == (308, str(end_user_id)), moved.text
    assert [merge["endUserID"] for merge in send("GET", f"{path}/merges").expect(200)] == [other_id]
    restored = send("POST", f"/api/EndUsers/{other_id}/unmerge").expect(200)
    assert restored == {"endUser": other, "mergedIntoEndUserID": end_user_id}, restored
    send("DELETE", f"/api/EndUsers/{other_id}").expect(204)


def check_gateway(stage, customer):
    """The gateway's own responses."""
    send = stage.tenant(customer)
    for path in ("/api/nothing", "/api/EndUsers/", "/api/endusers"):
        response = send("GET", path)
        assert response.expect(404) == {"message": "Not Found"}, f"{path}: {response.text}"
        assert "x-request-id" not in response.headers, path
    print("smoke test: unknown paths are the gateway's 404")


def play_conversation(stage, run):
    """Sends the recorded requests. Repeats each read until earlier writes show."""
    turns = [json.loads(line) for line in CONVERSATION.read_text(encoding="utf-8").splitlines()]
    for number, turn in enumerate(turns, 1):
        method, path = turn["send"].split(" ", 1)
        if path.startswith("/local/"):
            event = turn.get("body", {})
            # An invalid event would become a dead letter of the stage.
            if "customerID" in event:
                stage.send_event({**event, "customerID": f"{run}-{event['customerID']}"})
            continue
        bearer = turn["as"]
        if bearer is not None:
            bearer = token(stage.secret, **({"customerID": f"{run}-{bearer}"} if bearer else {}))
        body, headers = turn.get("body"), {}
        if "raw" in turn:
            body, headers = turn["raw"].encode(), {"Content-Type": turn.get("type", "application/json")}

        def check():
            response = stage.request(method, path, body, bearer, headers)
            text = response.text.replace(response.headers.get("x-request-id", "\0"), "the request's id")
            expected = (turn["status"], turn["answer"])
            assert (response.status, text) == expected, f"line {number}, {turn['send']}: {response.status} {text}"

        eventually(check) if method == "GET" else check()
    print(f"conversation: {len(turns)} lines, the same bytes")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stack", nargs="?")
    parser.add_argument("--api")
    parser.add_argument("--queue")
    arguments = parser.parse_args()
    api, queue = arguments.api, arguments.queue
    if arguments.stack:
        stacks = boto3.client("cloudformation").describe_stacks(StackName=arguments.stack)["Stacks"]
        outputs = {output["OutputKey"]: output["OutputValue"] for output in stacks[0]["Outputs"]}
        api, queue = outputs["ApiUrl"], outputs["TicketEventsUrl"]
    if not (api and queue and os.environ.get("JWT_SECRET")):
        parser.error("name a stack, or --api and --queue; and set JWT_SECRET")
    stage, run = Stage(api, queue, os.environ["JWT_SECRET"]), f"smoke-{int(time.time())}"
    check_endpoints(stage, run)
    check_gateway(stage, run)
    play_conversation(stage, run)


if __name__ == "__main__":
    main()
