"""Checks that break a stack, for stacks on the emulator only: emulator.py failures|rotation STACK.

`failures` causes dead letters, kills a function, and makes calls that the roles must deny. `rotation` runs after a
deployment with a new version of the secret and CORS for https://app.example. JWT_SECRET is the new secret,
JWT_SECRET_BEFORE the old one.
"""

import json
import os
import pathlib
import signal
import sys
import threading

import boto3
import botocore.exceptions
from smoke import NOW
from stage import Stage, eventually, token

class Stack:
    def __init__(self, name):
        cloudformation = boto3.client("cloudformation")
        outputs = cloudformation.describe_stacks(StackName=name)["Stacks"][0]["Outputs"]
        resources = cloudformation.describe_stack_resources(StackName=name)["StackResources"]
        self.outputs = {output["OutputKey"]: output["OutputValue"] for output in outputs}
        self.resources = {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in resources}
        self.stage = Stage(self.outputs["ApiUrl"], self.outputs["TicketEventsUrl"], os.environ["JWT_SECRET"])

    def waiting(self, queue):
        """The numbers of visible messages and of messages in flight of a queue."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        url = self.outputs[queue]
        attributes = self.stage.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return [int(attributes[name]) for name in names]

    def processes(self, function):
        """The pids of a function's processes."""
        wanted = f"AWS_LAMBDA_FUNCTION_NAME={self.resources[function]}".encode()
        for folder in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if wanted in (folder / "environ").read_bytes().split(b"\0") and os.readlink(folder / "exe").endswith("bootstrap"):
                    yield int(folder.name)
            except OSError:
                continue


def check_dead_letters(stack):
    """An invalid event becomes a dead letter after five deliveries. The other events of its batch are ingested."""
    sqs, queue = stack.stage.sqs, stack.outputs["TicketEventsUrl"]
    # The template's visibility timeout is three minutes.
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "1"})
    send = stack.stage.tenant("dead-letters")
    end_user_id = send("POST", "/api/EndUsers", {"uids": [{"uid": "batch@example.com"}]}).expect(201)["endUserID"]

    def event(number):
        ticket = {"ticketID": number, "uid": "batch@example.com", "dateCreated": NOW, "lastMessageDate": NOW}
        return {"type": "ticket.upserted", "customerID": "dead-letters", "occurredAt": NOW, "ticket": ticket}

    bodies = [json.dumps(event(number)) for number in range(1, 10)] + ['{"type":"nonsense"}']
    entries = [{"Id": str(place), "MessageBody": body} for place, body in enumerate(bodies)]
    sqs.send_message_batch(QueueUrl=queue, Entries=entries)

    def taken_in():
        page = send("GET", f"/api/EndUsers/{end_user_id}/tickets?pageSize=100").expect(200)
        assert len(page["items"]) == 9, page
        assert stack.waiting("TicketEventsUrl") == [0, 0], "the queue is not empty"
        assert stack.waiting("TicketDeadLettersUrl") == [1, 0], "there is no dead letter"
    eventually(taken_in)
    letter = sqs.receive_message(QueueUrl=stack.outputs["TicketDeadLettersUrl"])["Messages"][0]
    assert letter["Body"] == '{"type":"nonsense"}', letter
    print("failures: an invalid event became a dead letter, the other nine were ingested")


def check_crash(stack):
    """The gateway responds with 500 if a function is killed during a request; the next request succeeds."""
    send = stack.stage.tenant("crash")
    send("GET", "/api/EndUsers").expect(200)
    processes = list(stack.processes("ListEndUsers"))
    assert processes, "ListEndUsers has no process"
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)
    killer = threading.Timer(2, lambda: [os.kill(pid, signal.SIGKILL) for pid in processes])
    killer.start()
    response = send("GET", "/api/EndUsers")
    killer.join()
    assert response.expect(500) == {"message": "Internal Server Error"}, response.text
    send("GET", "/api/EndUsers").expect(200)
    print("failures: a killed function got the gateway's 500, the next request succeeded")


def check_denials(stack):
    """Calls that the roles must deny, and one that they must allow."""
    role = f"arn:aws:iam::000000000000:role/{stack.resources['ListEndUsersRole']}"
    session = boto3.client("sts").assume_role(RoleArn=role, RoleSessionName="negative-control")["Credentials"]
    dynamodb = boto3.client(
        "dynamodb", aws_access_key_id=session["AccessKeyId"], aws_secret_access_key=session["SecretAccessKey"],
        aws_session_token=session["SessionToken"],
    )
    table = stack.outputs["TableName"]

    def key(partition):
        return {"pk": {"S": partition}, "sk": {"S": "-"}}

    partition = {"KeyConditionExpression": "uidPk = :pk", "ExpressionAttributeValues": {":pk": {"S": "C#7#Uid#t=a"}}}
    denied = {
        "the document of an end user": lambda: dynamodb.put_item(TableName=table, Item=key("C#7#EndUser")),
        "a deletion": lambda: dynamodb.delete_item(TableName=table, Key=key("C#7#RankIndex")),
        "a scan": lambda: dynamodb.scan(TableName=table),
        "an index": lambda: dynamodb.query(TableName=table, IndexName="byUid", **partition),
        "another table": lambda: dynamodb.get_item(TableName=f"{table}-other", Key=key("C#7#EndUser")),
    }
    for what, call in denied.items():
        try:
            call()
        except botocore.exceptions.ClientError as error:
            assert error.response["Error"]["Code"] == "AccessDeniedException", f"{what}: {error}"
        else:
            raise AssertionError(f"ListEndUsers may reach {what}")
    dynamodb.put_item(TableName=table, Item=key("C#negative-control#RankIndex"))
    print(f"failures: IAM denies {', '.join(denied)}")


def check_rotation(stack):
    """Every function accepts the new secret and rejects the old one. CORS follows the parameter."""
    old = token(os.environ["JWT_SECRET_BEFORE"], customerID="rotation")
    new = token(os.environ["JWT_SECRET"], customerID="rotation")
    routes = boto3.client("apigatewayv2").get_routes(ApiId=stack.resources["Api"])["Items"]
    assert len(routes) >= 8, routes
    for route in routes:
        method, path = route["RouteKey"].replace("{id}", "1").split()
        body = {} if method in ("POST", "PUT") else None
        stack.stage.request(method, path, body, old).expect(401)
        response = stack.stage.request(method, path, body, new)
        assert response.status != 401 and "x-request-id" in response.headers, f"{method} {path}: {response.text}"
    preflight = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
    response = stack.stage.request("OPTIONS", "/api/EndUsers", headers={**preflight, "Origin": "https://app.example"})
    assert (response.status, response.headers.get("access-control-allow-origin")) == (204, "https://app.example"), response.headers
    response = stack.stage.request("OPTIONS", "/api/EndUsers", headers={**preflight, "Origin": "https://other.example"})
    assert "access-control-allow-origin" not in response.headers, response.headers
    print(f"rotation: {len(routes)} routes accept the new secret and reject the old one; CORS allows only its origin")


def main():
    what, name = sys.argv[1:]
    stack = Stack(name)
    if what == "rotation":
        check_rotation(stack)
        return
    # Without CORS settings a preflight is an unknown route.
    headers = {"Origin": "https://app.example", "Access-Control-Request-Method": "GET"}
    stack.stage.request("OPTIONS", "/api/EndUsers", headers=headers).expect(404)
    check_dead_letters(stack)
    check_crash(stack)
    check_denials(stack)


if __name__ == "__main__":
    main()
