//! template.yaml has the routes, functions, permissions, table and settings that the code and the documents expect.

use std::collections::BTreeSet;

use local::template::Template;
use serde_json::{Value, json};
use shared::log::{DIMENSIONS, METRICS};

use crate::support::app::{App, TestRequest};

/// The endpoints of docs/api.md and the packages of their functions.
const ROUTES: [(&str, &str, &str); 15] = [
    ("GET", "/api/EndUsers", "list-end-users"),
    ("POST", "/api/EndUsers", "create-end-user"),
    ("GET", "/api/EndUsers/{id}", "get-end-user"),
    ("PUT", "/api/EndUsers/{id}", "update-end-user"),
    ("DELETE", "/api/EndUsers/{id}", "delete-end-user"),
    ("GET", "/api/EndUsers/byUid", "find-end-users-by-uid"),
    ("GET", "/api/EndUsers/{id}/tickets", "list-end-user-tickets"),
    ("POST", "/api/EndUsers/upsert", "upsert-end-user"),
    ("POST", "/api/EndUsers/upsertMany", "upsert-end-users"),
    ("POST", "/api/EndUsers/lookup", "look-up-end-users"),
    ("GET", "/api/EndUsers/{id}/duplicates", "list-end-user-duplicates"),
    ("GET", "/api/EndUsers/{id}/merges", "list-end-user-merges"),
    ("POST", "/api/EndUsers/{id}/merge", "merge-end-users"),
    ("POST", "/api/EndUsers/{id}/unmerge", "unmerge-end-user"),
    ("POST", "/api/EndUserUIDs/assign", "assign-end-user-uid"),
];

fn document() -> Value {
    Template::load().unwrap().document().clone()
}

/// The resources of a type, by name.
fn resources(document: &Value, kind: &str) -> Vec<(String, Value)> {
    let all = document["Resources"].as_object().unwrap().iter();
    all.filter(|(_, resource)| resource["Type"] == kind)
        .map(|(name, resource)| (name.clone(), resource.clone()))
        .collect()
}

fn functions(document: &Value) -> Vec<(String, Value)> {
    resources(document, "AWS::Serverless::Function")
}

/// The value and everything in it, depth first.
fn descendants(value: &Value) -> Vec<&Value> {
    let inner: Vec<&Value> = match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(members) => members.values().collect(),
        _ => Vec::new(),
    };
    [value].into_iter().chain(inner.into_iter().flat_map(descendants)).collect()
}

/// The strings of a value that is one string or a list of strings.
fn strings(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        value => value.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect(),
    }
}

#[test]
fn routes_are_those_of_the_api() {
    let template = Template::load().unwrap();
    let routes: BTreeSet<_> =
        template.routes.iter().map(|r| (r.method.as_str(), r.path.as_str(), r.function.as_str())).collect();
    assert_eq!(routes, BTreeSet::from(ROUTES));
    assert_eq!(template.routes.len(), ROUTES.len());
}

#[tokio::test]
async fn functions_serve_routes_and_gateway_the_rest() {
    let app = App::start().await;
    let caller = app.caller(None);
    for (method, path, _) in ROUTES {
        let path = path.replace("{id}", "1");
        let response = caller.send(TestRequest::new(method, &path)).await;
        assert_eq!(response.status, 401, "{method} {path}: {}", response.text());
        assert!(response.header("x-request-id").is_some(), "{method} {path}");
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH"] {
            if !ROUTES.iter().any(|route| route.0 == method && route.1.replace("{id}", "1") == path) {
                // For the other methods of a path such as `/api/EndUsers/byUid`, the last word is an `{id}`.
                let one_segment = path.strip_prefix("/api/EndUsers/").is_some_and(|rest| !rest.contains('/'));
                let id = one_segment && ["GET", "PUT", "DELETE"].contains(&method);
                let response = caller.send(TestRequest::new(method, &path)).await;
                assert_eq!(response.status, if id { 401 } else { 404 }, "{method} {path}: {}", response.text());
            }
        }
    }
}

#[test]
fn every_function_package_is_one_function_and_binary() {
    let document = document();
    let deployed: BTreeSet<String> = functions(&document)
        .iter()
        .map(|(_, function)| function["Metadata"]["BuildProperties"]["Binary"].as_str().unwrap().to_owned())
        .collect();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../functions");
    let packages: BTreeSet<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(deployed, packages);
    assert_eq!(functions(&document).len(), 17);
    for (name, function) in functions(&document) {
        assert_eq!(function["Metadata"]["BuildMethod"], "rust-cargolambda", "{name}");
        assert_eq!(function["Properties"]["Events"].as_object().unwrap().len(), 1, "{name}");
    }
}

/// The statements of a function's role. Asserts that its only other policy is the one for traces.
fn statements(document: &Value, name: &str, function: &Value) -> Vec<Value> {
    let role = function["Properties"]["Role"]["GetAtt"].as_str().unwrap().strip_suffix(".Arn").unwrap();
    assert_eq!(role, format!("{name}Role"), "every function has its own role");
    let role = &document["Resources"][role]["Properties"];
    let trust =
        json!([{ "Effect": "Allow", "Principal": { "Service": "lambda.amazonaws.com" }, "Action": "sts:AssumeRole" }]);
    assert_eq!(role["AssumeRolePolicyDocument"]["Statement"], trust, "{name}");
    let traces = json!({ "If": ["IsTraced", [{ "Ref": "SendTraces" }], { "Ref": "AWS::NoValue" }] });
    assert_eq!(role["ManagedPolicyArns"], traces, "{name}");
    let policies = role["Policies"].as_array().unwrap();
    assert_eq!(policies.len(), 1, "{name}");
    policies[0]["PolicyDocument"]["Statement"].as_array().unwrap().clone()
}

#[test]
fn roles_allow_only_named_actions_on_named_resources() {
    let document = document();
    for (name, function) in functions(&document) {
        // SAM would attach managed policies to a role that it generates from `Policies`.
        assert_eq!(function["Properties"].get("Policies"), None, "{name}");
        let statements = statements(&document, &name, &function);
        let sids: BTreeSet<&str> = statements.iter().map(|statement| statement["Sid"].as_str().unwrap()).collect();
        assert_eq!(sids.len(), statements.len(), "{name}");
        for statement in &statements {
            let sid = statement["Sid"].as_str().unwrap();
            assert!(sid.len() > 8 && sid.bytes().all(|b| b.is_ascii_alphanumeric()), "{name}: {sid}");
            assert!(!sid.contains("DynamoDB") && !sid.contains("Item"), "{name}: {sid} is no domain word");
            assert_eq!(statement["Effect"], "Allow", "{name}: {sid}");
            let resources = [
                ("dynamodb", "Table."),
                ("logs", &format!("{name}Logs.Arn")),
                ("sqs", if name == "IngestTickets" { "TicketEvents.Arn" } else { "StreamDeadLetters.Arn" }),
            ];
            let resource = statement["Resource"].to_string();
            for action in strings(&statement["Action"]) {
                assert!(!action.contains('*') && action != "dynamodb:Scan", "{name}: {action}");
                let service = action.split(':').next().unwrap();
                let (_, named) = resources.iter().find(|(known, _)| *known == service).expect(action);
                assert!(!resource.contains('*') && resource.contains(named), "{name}: {action} on {resource}");
            }
        }
    }
}

#[test]
fn every_function_may_read_an_item_at_start() {
    let document = document();
    for (name, function) in functions(&document) {
        // `Store::connect` sends a GetItem.
        let actions: Vec<_> = statements(&document, &name, &function)
            .iter()
            .filter(|statement| statement["Resource"]["GetAtt"] == "Table.Arn")
            .flat_map(|statement| strings(&statement["Action"]).into_iter().map(str::to_owned).collect::<Vec<_>>())
            .collect();
        assert!(actions.iter().any(|action| action == "dynamodb:GetItem"), "{name}: {actions:?}");
    }
}

#[test]
fn reading_functions_may_only_write_build_requests() {
    let document = document();
    let mut writing = Vec::new();
    for (name, function) in functions(&document) {
        let events = function["Properties"]["Events"].to_string();
        if !events.contains("\"Method\":\"GET\"") {
            continue;
        }
        for statement in statements(&document, &name, &function) {
            let actions = statement["Action"].to_string();
            if ["PutItem", "Update", "Delete", "Write"].iter().any(|write| actions.contains(write)) {
                writing.push((name.clone(), statement));
            }
        }
    }
    let [(name, statement)] = &writing[..] else { panic!("{writing:?}") };
    assert_eq!((name.as_str(), &statement["Action"]), ("ListEndUsers", &json!(["dynamodb:PutItem"])));
    let only = json!({ "ForAllValues:StringLike": { "dynamodb:LeadingKeys": ["C#*#RankIndex"] } });
    assert_eq!(statement["Condition"], only);
}

#[test]
fn every_function_has_a_log_group_with_retention() {
    let document = document();
    let groups = resources(&document, "AWS::Logs::LogGroup");
    let mut used = BTreeSet::new();
    for (name, function) in functions(&document) {
        let group = function["Properties"]["LoggingConfig"]["LogGroup"]["Ref"].as_str().unwrap().to_owned();
        let (_, resource) = groups.iter().find(|(name, _)| *name == group).unwrap();
        let binary = function["Metadata"]["BuildProperties"]["Binary"].as_str().unwrap();
        assert!(resource["Properties"]["LogGroupName"].to_string().contains(binary), "{name}");
        assert!(used.insert(group), "{name} shares its log group");
    }
    for (name, group) in groups {
        assert_eq!(group["Properties"]["RetentionInDays"], json!({ "Ref": "LogRetentionDays" }), "{name}");
    }
}

#[test]
fn table_has_the_documented_keys_and_settings() {
    let document = document();
    let tables = resources(&document, "AWS::DynamoDB::Table");
    assert_eq!(tables.len(), 1);
    let table = &tables[0].1;
    let of = &table["Properties"];
    assert_eq!(table["DeletionPolicy"], "Retain");
    assert_eq!(table["UpdateReplacePolicy"], "Retain");
    assert_eq!(of["BillingMode"], "PAY_PER_REQUEST");
    assert_eq!(of["DeletionProtectionEnabled"], json!({ "Ref": "DeletionProtection" }));
    assert_eq!(of["PointInTimeRecoverySpecification"], json!({ "PointInTimeRecoveryEnabled": true }));
    assert_eq!(of["SSESpecification"], json!({ "SSEEnabled": true }));
    assert_eq!(of["TimeToLiveSpecification"], json!({ "AttributeName": "expiresAt", "Enabled": true }));
    assert_eq!(of["StreamSpecification"]["StreamViewType"], "NEW_AND_OLD_IMAGES");
    let key = |hash: &str, range: &str| json!([{ "AttributeName": hash, "KeyType": "HASH" }, { "AttributeName": range, "KeyType": "RANGE" }]);
    assert_eq!(of["KeySchema"], key("pk", "sk"));
    let warm =
        json!({ "ReadUnitsPerSecond": { "Ref": "WarmReadUnits" }, "WriteUnitsPerSecond": { "Ref": "WarmWriteUnits" } });
    let warm = json!({ "If": ["HasWarmThroughput", warm, { "Ref": "AWS::NoValue" }] });
    assert_eq!(of["WarmThroughput"], warm);
    let index = |name: &str, hash: &str, range: &str, projection: &str| {
        json!({ "IndexName": name, "KeySchema": key(hash, range), "Projection": { "ProjectionType": projection },
            "WarmThroughput": warm })
    };
    let indexes = [index("byUid", "uidPk", "uidSk", "ALL"), index("byCustomerRef", "refPk", "refSk", "KEYS_ONLY")];
    assert_eq!(of["GlobalSecondaryIndexes"], json!(indexes));
    let attributes: BTreeSet<(&str, &str)> = of["AttributeDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| (a["AttributeName"].as_str().unwrap(), a["AttributeType"].as_str().unwrap()))
        .collect();
    assert_eq!(attributes, BTreeSet::from(["pk", "sk", "uidPk", "uidSk", "refPk", "refSk"].map(|name| (name, "S"))));
}

#[test]
fn stream_invokes_the_indexer_only_for_its_kinds() {
    let document = document();
    let (_, function) = functions(&document)
        .into_iter()
        .find(|(_, function)| function["Metadata"]["BuildProperties"]["Binary"] == "index-end-users")
        .unwrap();
    let event = function["Properties"]["Events"].as_object().unwrap().values().next().unwrap().clone();
    assert_eq!(event["Type"], "DynamoDB");
    let of = &event["Properties"];
    assert_eq!(of["FunctionResponseTypes"], json!(["ReportBatchItemFailures"]));
    assert_eq!(of["BisectBatchOnFunctionError"], true);
    assert_eq!(of["MaximumRetryAttempts"], -1, "the age of a record bounds its attempts");
    assert!(of["MaximumRecordAgeInSeconds"].as_u64().unwrap() <= 86_400);
    let target = of["DestinationConfig"]["OnFailure"].to_string();
    assert!(resources(&document, "AWS::SQS::Queue").iter().any(|(name, _)| target.contains(name)), "{target}");
    let patterns: Vec<Value> = of["FilterCriteria"]["Filters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|filter| serde_json::from_str(filter["Pattern"].as_str().unwrap()).unwrap())
        .collect();
    let kind = |kinds: Value| json!({ "kind": { "S": kinds } });
    assert_eq!(
        patterns,
        [
            json!({ "dynamodb": { "NewImage": kind(json!(["EndUser", "RankIndex"])) } }),
            json!({ "dynamodb": { "OldImage": kind(json!(["EndUser"])) } })
        ]
    );
}

#[test]
fn queue_retries_then_moves_events_to_dead_letters() {
    let document = document();
    let (_, function) = functions(&document)
        .into_iter()
        .find(|(_, function)| function["Metadata"]["BuildProperties"]["Binary"] == "ingest-tickets")
        .unwrap();
    let event = function["Properties"]["Events"].as_object().unwrap().values().next().unwrap().clone();
    assert_eq!(event["Type"], "SQS");
    assert_eq!(event["Properties"]["FunctionResponseTypes"], json!(["ReportBatchItemFailures"]));
    let queues = resources(&document, "AWS::SQS::Queue");
    assert_eq!(queues.len(), 3);
    let (_, queue) = queues
        .iter()
        .find(|(name, _)| event["Properties"]["Queue"].to_string().contains(&format!("{name}.Arn")))
        .unwrap();
    let of = &queue["Properties"];
    let target = of["RedrivePolicy"]["deadLetterTargetArn"].to_string();
    assert!(queues.iter().any(|(name, _)| target.contains(name)), "{target}");
    assert!(of["RedrivePolicy"]["maxReceiveCount"].as_u64().unwrap() >= 3);
    // Retention counts from the first send, so it must exceed the source's retention.
    let retention = |queue: &Value| queue["Properties"]["MessageRetentionPeriod"].as_u64().unwrap();
    for (name, dead_letters) in queues.iter().filter(|(name, _)| name.ends_with("DeadLetters")) {
        assert!(retention(dead_letters) >= 2 * retention(queue), "{name}");
    }
    // AWS recommends six times the function's time-out.
    let time_out = function["Properties"]["Timeout"].as_u64().unwrap();
    assert!(of["VisibilityTimeout"].as_u64().unwrap() >= 6 * time_out);
}

#[test]
fn every_setting_is_a_parameter() {
    let document = document();
    let parameters = document["Parameters"].as_object().unwrap();
    for name in [
        "Architecture",
        "DefaultPhoneRegion",
        "UidPolicy",
        "ServerTiming",
        "LogRetentionDays",
        "DeletionProtection",
        "ThrottleRate",
        "ThrottleBurst",
        "CorsAllowedOrigins",
        "JwtSecret",
        "JwtSecretVersion",
        "JwtPublicKey",
        "JwtJwksUrl",
        "JwtIssuer",
        "JwtAudience",
        "JwtCustomerClaim",
        "JwtLeewaySeconds",
        "JwtReadScope",
        "JwtWriteScope",
        "Metrics",
        "Tracing",
        "AlarmTopicArn",
        "IndexParallelization",
        "IndexReservedConcurrency",
        "WarmReadUnits",
        "WarmWriteUnits",
    ] {
        assert!(parameters.contains_key(name), "{name}");
    }
    assert_eq!(parameters["Architecture"]["Default"], "arm64");
    let secret = &document["Globals"]["Function"]["Environment"]["Variables"]["JWT_SECRET"];
    let version = "{{resolve:secretsmanager:${JwtSecretName}:SecretString:::${JwtSecretVersion}}}";
    assert_eq!(secret["If"][1]["If"][1], json!({ "Sub": version }), "a new version changes every function");
    assert_eq!(parameters["JwtSecret"]["NoEcho"], true);
    for (name, parameter) in parameters {
        let used = descendants(&document["Resources"])
            .into_iter()
            .chain(descendants(&document["Globals"]))
            .chain(descendants(&document["Conditions"]));
        let here = |value: &Value| {
            value["Ref"] == **name || value.as_str().is_some_and(|s| s.contains(&format!("${{{name}}}")))
        };
        assert!(
            used.into_iter().any(|value| value.is_object() && here(value) || value.is_string() && here(value)),
            "{name} is not used"
        );
        assert!(parameter["Type"].is_string(), "{name}");
    }
    let variables: BTreeSet<&str> = document["Globals"]["Function"]["Environment"]["Variables"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    for name in [
        "TABLE_NAME",
        "DEFAULT_PHONE_REGION",
        "UID_POLICY",
        "SERVER_TIMING",
        "JWT_SECRET",
        "JWT_PUBLIC_KEY",
        "JWT_JWKS_URL",
        "JWT_ISSUER",
        "JWT_AUDIENCE",
        "JWT_CUSTOMER_CLAIM",
        "JWT_LEEWAY_SECONDS",
        "JWT_READ_SCOPE",
        "JWT_WRITE_SCOPE",
    ] {
        assert!(variables.contains(name), "{name}");
    }
}

#[test]
fn routes_are_throttled_and_access_log_is_anonymous() {
    let document = document();
    let apis = resources(&document, "AWS::Serverless::HttpApi");
    assert_eq!(apis.len(), 1);
    let api = &apis[0].1["Properties"];
    let limits =
        json!({ "ThrottlingRateLimit": { "Ref": "ThrottleRate" }, "ThrottlingBurstLimit": { "Ref": "ThrottleBurst" } });
    assert_eq!(api["DefaultRouteSettings"], limits);
    assert_eq!(api.get("RouteSettings"), None, "no route is exempt");
    for name in ["ThrottleRate", "ThrottleBurst"] {
        let parameter = &document["Parameters"][name];
        assert!(parameter["Default"].as_u64() > Some(0) && parameter["MinValue"] == 1, "{name}: {parameter}");
    }
    let format = api["AccessLogSettings"]["Format"].as_str().unwrap();
    let named: BTreeSet<_> = format.split("$context.").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(named.contains("routeKey"), "{format}");
    for name in ["path", "identity.sourceIp", "identity.userAgent", "authorizer.claims", "requestOverride.querystring"]
    {
        assert!(!named.iter().any(|said| said.starts_with(name)), "{name} is in the log: {format}");
    }
}

#[test]
fn keys_and_events_travel_only_over_tls() {
    let document = document();
    assert_eq!(document["Parameters"]["JwtJwksUrl"]["AllowedPattern"], "^$|^https://.+$");
    let policies = resources(&document, "AWS::SQS::QueuePolicy");
    let denied = |queue: &str| {
        policies.iter().any(|(_, policy)| {
            let of = &policy["Properties"];
            let statements = of["PolicyDocument"]["Statement"].as_array().unwrap();
            let denies = |s: &Value| {
                s["Effect"] == "Deny" && s["Condition"] == json!({ "Bool": { "aws:SecureTransport": "false" } })
            };
            of["Queues"].to_string().contains(&format!("{queue}\"")) && statements.iter().any(denies)
        })
    };
    for (queue, _) in resources(&document, "AWS::SQS::Queue") {
        assert!(denied(&queue), "{queue} takes messages in the clear");
    }
}

#[test]
fn cors_is_off_by_default_and_configurable() {
    let document = document();
    let template = Template::load().unwrap();
    let split = |list: &str| list.split(',').map(|item| item.trim().to_ascii_lowercase()).collect::<BTreeSet<_>>();
    let set = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(split(&template.cors.allow_methods), set(&["get", "post", "put", "delete"]));
    let allowed = ["authorization", "content-type", "idempotency-key", "if-match", "if-none-match"];
    assert_eq!(split(&template.cors.allow_headers), set(&allowed));
    let exposed = [
        "location",
        "x-request-id",
        "www-authenticate",
        "retry-after",
        "server-timing",
        "etag",
        "idempotency-replayed",
    ];
    assert_eq!(split(&template.cors.expose_headers), set(&exposed));
    assert_eq!(document["Parameters"]["CorsAllowedOrigins"]["Default"], "");
    let cors = &document["Resources"]["Api"]["Properties"]["DefinitionBody"]["x-amazon-apigateway-cors"];
    assert_eq!(
        cors.pointer("/If/1/allowCredentials").or(cors.pointer("/Fn::If/1/allowCredentials")),
        Some(&json!(false))
    );
}

#[test]
fn cargo_lambda_watch_has_the_same_routes() {
    let metadata = ["metadata", "--no-deps", "--offline", "--format-version", "1"];
    let output = std::process::Command::new(env!("CARGO")).args(metadata).output().unwrap();
    let workspace: Value = serde_json::from_slice(&output.stdout).unwrap();
    let router = workspace["metadata"]["lambda"]["watch"]["router"].as_object().unwrap();
    let routes = router.iter().flat_map(|(path, routes)| {
        let route = |route: &Value| (route["method"].clone(), json!(path), route["function"].clone());
        routes.as_array().unwrap().iter().map(route).collect::<Vec<_>>()
    });
    let expected = ROUTES.map(|(method, path, function)| (json!(method), json!(path), json!(function)));
    let sorted = |mut routes: Vec<(Value, Value, Value)>| {
        routes.sort_by_key(|route| format!("{route:?}"));
        routes
    };
    assert_eq!(sorted(routes.collect()), sorted(expected.to_vec()));
}

#[test]
fn every_alarm_has_a_description_and_the_topic() {
    let document = document();
    let alarms = resources(&document, "AWS::CloudWatch::Alarm");
    let names: BTreeSet<_> = alarms.iter().map(|(name, _)| name.as_str()).collect();
    let expected = [
        "ServerErrorsAlarm",
        "SlowRequestsAlarm",
        "ThrottlesAlarm",
        "IndexLagAlarm",
        "DeadLettersAlarm",
        "TenantCostAlarm",
    ];
    assert_eq!(names, BTreeSet::from(expected));
    let topic = json!(["HasAlarmTopic", [{ "Ref": "AlarmTopicArn" }], { "Ref": "AWS::NoValue" }]);
    for (name, alarm) in alarms {
        let alarm = &alarm["Properties"];
        assert!(alarm["AlarmDescription"].as_str().unwrap().len() > 40, "{name}");
        for actions in ["AlarmActions", "OKActions"] {
            assert_eq!(alarm[actions]["If"], topic, "{name}");
        }
        // Missing data means that there are no requests, which is no alarm.
        assert_eq!(alarm["TreatMissingData"], "notBreaching", "{name}");
        let metrics = alarm["Metrics"].as_array().into_iter().flatten();
        let metrics: Vec<_> = metrics.collect();
        if metrics.iter().any(|metric| metric["Expression"].to_string().contains("INSIGHT_RULE_METRIC")) {
            // CloudWatch returns no values for such an expression without its own period.
            assert!(metrics.iter().all(|metric| metric["Period"] == 3600), "{name}");
        }
        let shown = metrics.iter().filter(|metric| metric["ReturnData"] != false).count();
        assert_eq!(shown, usize::from(alarm.get("Metrics").is_some()), "{name}");
    }
}

#[test]
fn dashboard_shows_all_alarms_and_log_metrics() {
    let document = document();
    let body = document["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Sub"].as_str().unwrap();
    let dashboard: Value = serde_json::from_str(body).expect("JSON");
    let properties: Vec<_> = dashboard["widgets"].as_array().unwrap().iter().map(|w| &w["properties"]).collect();
    let shown: BTreeSet<_> =
        properties.iter().filter_map(|p| p["alarms"].as_array()).flatten().filter_map(Value::as_str).collect();
    let alarms = resources(&document, "AWS::CloudWatch::Alarm");
    let alarms: Vec<_> = alarms.into_iter().map(|(name, _)| format!("${{{name}.Arn}}")).collect();
    assert_eq!(shown, alarms.iter().map(String::as_str).collect());
    for (name, _) in METRICS {
        for dimension in if name == "readUnits" || name == "writeUnits" { &DIMENSIONS[..] } else { &DIMENSIONS[..1] } {
            let search = format!("SEARCH('{{\"${{AWS::StackName}}\",{dimension}}} MetricName=\"{name}\"'");
            let expressions =
                properties.iter().flat_map(|p| descendants(&p["metrics"])).filter_map(|m| m["expression"].as_str());
            assert!(expressions.into_iter().any(|e| e.starts_with(&search)), "{name} by {dimension}");
        }
    }
    // The log lines contain the fields by which the Contributor Insights rules sum per tenant.
    for (name, rule) in resources(&document, "AWS::CloudWatch::InsightRule") {
        let rule: Value = serde_json::from_str(rule["Properties"]["RuleBody"]["Sub"].as_str().unwrap()).expect("JSON");
        let value = rule["Contribution"]["ValueOf"].as_str().unwrap().trim_start_matches("$.").to_owned();
        assert!(METRICS.iter().any(|(metric, _)| *metric == value), "{name}: {value}");
        assert_eq!(rule["Contribution"]["Keys"], json!(["$.tenant"]), "{name}");
        assert_eq!(rule["LogGroupNames"], json!(["/${AWS::StackName}/*"]), "{name}");
    }
}
