"""MiniStack with the parts of AWS that template.yaml needs and MiniStack 1.5.33 lacks.

Each section fills one gap; delete it when MiniStack closes the gap. The version is checked, because the sections replace
functions inside the package. IAM_LOG names a file that gets one line of JSON for each decision of IAM (AUTH=true):
[principal, action, resource, null or the reason of the denial].
"""

import importlib.metadata
import json
import os
import re
import sys

from ministack.core import iam_actions, iam_evaluator, lambda_runtime
from ministack.core.responses import get_account_id, get_region
from ministack.services import apigateway, lambda_svc
from ministack.services.cloudformation import changesets, engine, handlers, stacks
from ministack.services.cloudformation import provisioners

VERSION = "1.5.33"
HANDLERS = provisioners._RESOURCE_HANDLERS


# ---- AWS::ApiGatewayV2::Api with a Body, which SAM generates for every HttpApi. MiniStack ignores the Body.

def import_body(api_id, body):
    """Creates the routes, the integrations and the CORS settings of an OpenAPI document."""
    apigateway._routes[api_id], apigateway._integrations[api_id] = {}, {}
    for path, operations in body["paths"].items():
        for method, operation in operations.items():
            integration = operation["x-amazon-apigateway-integration"]
            declared = {parameter["name"] for parameter in operation.get("parameters", []) if parameter["in"] == "path"}
            if declared != set(re.findall(r"{([^}]+)}", path)):
                raise ValueError(f"{method} {path} declares the path parameters {declared}")
            _, _, created = apigateway._create_integration(api_id, {
                "integrationType": integration["type"].upper(),
                "integrationUri": integration["uri"],
                "integrationMethod": integration["httpMethod"],
                "payloadFormatVersion": integration["payloadFormatVersion"],
            })
            target = "integrations/" + json.loads(created)["integrationId"]
            apigateway._create_route(api_id, {"routeKey": f"{method.upper()} {path}", "target": target})
    api = apigateway._apis[api_id]
    api["name"] = body["info"]["title"]
    api.pop("corsConfiguration", None)
    if cors := body.get("x-amazon-apigateway-cors"):
        api["corsConfiguration"] = cors


create_api, update_api = provisioners._apigw_v2_api_create, provisioners._apigw_v2_api_update


def create_api_with_body(logical_id, properties, stack):
    api_id, attributes = create_api(logical_id, properties, stack)
    import_body(api_id, properties["Body"])
    return api_id, attributes


def update_api_with_body(physical_id, old, new, stack, logical_id=None):
    updated = update_api(physical_id, old, new, stack, logical_id)
    import_body(updated[0], new["Body"])
    return updated


HANDLERS["AWS::ApiGatewayV2::Api"].update(create=create_api_with_body, update=update_api_with_body)


# ---- AWS::CloudWatch::InsightRule, a type that MiniStack does not know. The rule is checked and has no effect.

def create_rule(properties):
    body = json.loads(properties["RuleBody"])
    if body["Schema"] != {"Name": "CloudWatchLogRule", "Version": 1} or not body["Contribution"]["Keys"]:
        raise ValueError("RuleBody has an unknown schema")
    name = properties["RuleName"]
    arn = f"arn:aws:cloudwatch:{get_region()}:{get_account_id()}:insight-rule/{name}"
    return name, {"RuleName": name, "Arn": arn}


HANDLERS["AWS::CloudWatch::InsightRule"] = {
    "create": lambda logical_id, properties, stack: create_rule(properties),
    "update": lambda physical_id, old, new, stack: create_rule(new),
    "delete": lambda physical_id, properties: None,
}


# ---- AWS::CloudWatch::Alarm with Metrics, which MiniStack refuses. Expressions are checked and never evaluated.

create_alarm = provisioners._cw_metric_alarm_record


def create_alarm_of_expressions(name, properties):
    metrics = properties.get("Metrics")
    if not metrics:
        return create_alarm(name, properties)
    ids = {metric["Id"] for metric in metrics}
    for metric in metrics:
        words = set(re.findall(r"\b[a-z]\w*\b", re.sub(r"'[^']*'", "", metric.get("Expression", ""))))
        if words - ids or ("Expression" in metric) == ("MetricStat" in metric):
            raise ValueError(f"{name}: {metric['Id']} is not a valid metric")
    if sum(metric.get("ReturnData", True) not in (False, "false") for metric in metrics) != 1:
        raise ValueError(f"{name}: exactly one of Metrics returns data")
    plain = {**properties, "Metrics": None, "Namespace": "metric-math", "MetricName": name}
    return {**create_alarm(name, plain), "Metrics": metrics}


provisioners._cw_metric_alarm_record = create_alarm_of_expressions


# ---- Fn::Join in Conditions. MiniStack compares it without evaluating it.

evaluate_conditions = engine._evaluate_conditions


def join(value, parameters):
    if isinstance(value, list):
        return [join(item, parameters) for item in value]
    if not isinstance(value, dict):
        return value
    if "Fn::Join" in value:
        delimiter, items = value["Fn::Join"]
        return delimiter.join(parameters[items["Ref"]]["Value"].split(","))
    return {key: join(item, parameters) for key, item in value.items()}


def evaluate_conditions_with_join(template, parameters):
    joined = join(template.get("Conditions", {}), parameters)
    return evaluate_conditions({**template, "Conditions": joined}, parameters)


for module in (engine, changesets, handlers, stacks):
    module._evaluate_conditions = evaluate_conditions_with_join


# ---- Responses of the gateway: a failed function is 500, an OPTIONS without CORS settings 404, and a response without a
# ---- body has no Content-Type that the function did not give.

proxy_response = lambda_svc.lambda_execute_result_to_api_proxy_response
preflight_response = apigateway._cors_preflight_response
invoke_proxy = apigateway._invoke_lambda_proxy


def proxy_response_of_failure(result):
    if result.get("error") and not result.get("throttle"):
        headers = {"Content-Type": "application/json"}
        return {"statusCode": 500, "headers": headers, "body": '{"message":"Internal Server Error"}'}, None
    return proxy_response(result)


async def invoke_proxy_without_added_type(*arguments, **options):
    status, headers, body = await invoke_proxy(*arguments, **options)
    if not body and headers.get("Content-Type") == "application/json":
        del headers["Content-Type"]
    return status, headers, body


lambda_svc.lambda_execute_result_to_api_proxy_response = proxy_response_of_failure
apigateway._cors_preflight_response = lambda cors, origin: (
    preflight_response(cors, origin) if cors else apigateway._http_api_not_found()
)
apigateway._invoke_lambda_proxy = invoke_proxy_without_added_type


# ---- The processes of a deleted function. MiniStack never ends them.

delete_function = HANDLERS["AWS::Lambda::Function"]["delete"]


def delete_function_and_processes(physical_id, *arguments):
    deleted = delete_function(physical_id, *arguments)
    lambda_runtime.invalidate_worker(physical_id, account=get_account_id(), region=get_region())
    return deleted


HANDLERS["AWS::Lambda::Function"]["delete"] = delete_function_and_processes


# ---- The condition key dynamodb:LeadingKeys of PutItem and DeleteItem. MiniStack never sets it.

service_context = iam_actions.dynamodb_service_context


def service_context_with_leading_keys(body):
    context = service_context(body)
    request = json.loads(body or b"{}")
    partition = request.get("Item", request.get("Key", {})).get("pk", {})
    if "S" in partition:
        context["dynamodb:LeadingKeys"] = [partition["S"]]
    return context


iam_actions.dynamodb_service_context = service_context_with_leading_keys


# ---- The decisions of IAM. MiniStack does not log them.

enforce = iam_evaluator.enforce


def enforce_and_log(access_key_id, action, *arguments, **options):
    denial = enforce(access_key_id, action, *arguments, **options)
    principal = iam_evaluator.resolve_principal(access_key_id, get_account_id())
    if getattr(principal, "policies", None) == []:
        return denial  # The role was deleted with its stack while a batch was still in progress.
    reason = denial and str(getattr(denial, "decision", denial))
    line = [getattr(principal, "arn", str(principal)), action, options.get("resource_arn", ""), reason]
    with open(os.environ["IAM_LOG"], "a", encoding="utf-8") as log:
        log.write(json.dumps(line) + "\n")
    return denial


if os.environ.get("IAM_LOG"):
    iam_evaluator.enforce = enforce_and_log


if __name__ == "__main__":
    if importlib.metadata.version("ministack") != VERSION:
        sys.exit(f"tests/deployed/ministack_gaps.py is written for MiniStack {VERSION}")
    # Functions get the emulator's endpoint from this environment. Without it they would call AWS.
    if not os.environ.get("AWS_ENDPOINT_URL"):
        sys.exit("AWS_ENDPOINT_URL is missing")
    from ministack.app import main

    sys.argv = ["ministack"]
    main()
