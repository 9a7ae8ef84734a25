//! A deployed stack as the system under test. `tests/deployed/run` starts an emulator of AWS and sets
//! `DEPLOYED_TEMPLATE` to the URL of the packaged template. Each test then creates a stack of its own, with its
//! settings as parameters.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use http::header::{CONTENT_TYPE, HOST};
use http_body_util::{BodyExt, Full};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::app::{HTTP, environment, now};

/// The interval between two reads of a state that changes asynchronously.
const POLL: Duration = Duration::from_millis(20);

/// The emulator's endpoint, credentials and region, from the environment variables of AWS clients.
struct Aws {
    /// A URL without a trailing slash.
    endpoint: String,
    credentials: Credentials,
    region: String,
}

static AWS: LazyLock<Aws> = LazyLock::new(|| {
    let variable =
        |name: &str| environment(name).unwrap_or_else(|| panic!("{name} is missing: use tests/deployed/run"));
    Aws {
        endpoint: variable("AWS_ENDPOINT_URL"),
        credentials: Credentials::new(
            variable("AWS_ACCESS_KEY_ID"),
            variable("AWS_SECRET_ACCESS_KEY"),
            None,
            None,
            "tests",
        ),
        region: variable("AWS_REGION"),
    }
});

impl Aws {
    /// The host and the port of the endpoint.
    fn authority(&self) -> &str {
        self.endpoint.split_once("://").expect("a URL").1
    }
}

/// The URL of the packaged template; `None` if the suite runs on `local`.
pub fn template() -> Option<String> {
    environment("DEPLOYED_TEMPLATE")
}

/// Sends a signed POST request to a service of AWS. Returns the status and the body.
async fn call(service: &str, path: &str, headers: &[(&str, &str)], body: String) -> (u16, String) {
    let aws = &*AWS;
    let uri = format!("{}{path}", aws.endpoint);
    let headers: Vec<_> = headers.iter().copied().chain([(HOST.as_str(), aws.authority())]).collect();
    let identity = aws.credentials.clone().into();
    let parameters = SigningParams::builder()
        .identity(&identity)
        .region(&aws.region)
        .name(service)
        .time(SystemTime::now())
        .settings(SigningSettings::default())
        .build()
        .expect("signing parameters")
        .into();
    let signable = SignableRequest::new("POST", &uri, headers.iter().copied(), SignableBody::Bytes(body.as_bytes()));
    let (signature, _) = sign(signable.expect("a request"), &parameters).expect("a signature").into_parts();
    let mut request = http::Request::builder().method("POST").uri(&uri);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let mut request = request.body(Full::from(body)).expect("a request");
    signature.apply_to_request_http1x(&mut request);
    let response = HTTP.request(request).await.expect("a response of AWS");
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

/// Calls an action of CloudFormation's Query API for a stack. Returns the XML of its response.
async fn cloudformation(action: &str, stack: &str, arguments: &[(String, String)]) -> String {
    let mut form = format!("Action={action}&Version=2010-05-15&StackName={stack}");
    for (name, value) in arguments {
        let _ = write!(form, "&{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC));
    }
    let kind = [(CONTENT_TYPE.as_str(), "application/x-www-form-urlencoded")];
    let (status, body) = call("cloudformation", "/", &kind, form).await;
    assert_eq!(status, 200, "{action}: {body}");
    body
}

/// Calls an action of SQS. Returns the JSON of its response.
async fn sqs(action: &str, arguments: Value) -> Value {
    let target = format!("AmazonSQS.{action}");
    let headers = [(CONTENT_TYPE.as_str(), "application/x-amz-json-1.0"), ("x-amz-target", target.as_str())];
    let (status, body) = call("sqs", "/", &headers, arguments.to_string()).await;
    assert_eq!(status, 200, "{action}: {body}");
    serde_json::from_str(&body).unwrap_or_default()
}

/// The text between the first `before` and the next `after`.
fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    Some(text.split_once(before)?.1.split_once(after)?.0)
}

/// Converts a name to camel case: `list-end-users` to `ListEndUsers`, `JWT_ISSUER` to `JwtIssuer`.
fn camel_case(name: &str) -> String {
    let word = |word: &str| word[..1].to_uppercase() + &word[1..].to_lowercase();
    name.split(['-', '_']).map(word).collect()
}

/// The parameter of the template that sets an environment variable of the functions.
fn parameter(variable: &str) -> String {
    match variable {
        "AWS_ENDPOINT_URL_DYNAMODB" => "DynamoDbEndpoint".to_owned(),
        _ => camel_case(variable),
    }
}

/// A deployed stack.
pub struct Stack {
    name: String,
    /// The host name of the API, for the `Host` header; the address is the endpoint's.
    host: String,
    table: String,
    queue: String,
    dead_letters: String,
    client: Client,
}

impl Stack {
    /// Deploys a stack with these environment variables of the functions.
    pub async fn deploy(template: String, variables: &[(&str, &str)]) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("t{}-{}-{}", now(), std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let mut arguments = vec![
            ("TemplateURL".to_owned(), template),
            ("Capabilities.member.1".to_owned(), "CAPABILITY_IAM".to_owned()),
            ("Capabilities.member.2".to_owned(), "CAPABILITY_AUTO_EXPAND".to_owned()),
        ];
        let settings = [("Architecture", "x86_64"), ("DeletionProtection", "false"), ("ServerTiming", "true")];
        let settings = settings.map(|(name, value)| (name.to_owned(), value));
        let variables = variables.iter().map(|(name, value)| (parameter(name), *value));
        for (i, (name, value)) in (1..).zip(settings.into_iter().chain(variables)) {
            arguments.push((format!("Parameters.member.{i}.ParameterKey"), name));
            arguments.push((format!("Parameters.member.{i}.ParameterValue"), value.to_owned()));
        }
        cloudformation("CreateStack", &name, &arguments).await;
        let described = loop {
            let described = cloudformation("DescribeStacks", &name, &[]).await;
            match between(&described, "<StackStatus>", "<").unwrap_or_default() {
                "CREATE_COMPLETE" => break described,
                "CREATE_IN_PROGRESS" => tokio::time::sleep(POLL).await,
                other => panic!("{other}: {}", cloudformation("DescribeStackEvents", &name, &[]).await),
            }
        };
        let output = |name: &str| {
            let (_, rest) = described.split_once(&format!("<OutputKey>{name}</OutputKey>")).expect(name);
            between(rest, "<OutputValue>", "<").expect(name).to_owned()
        };
        let (queue, dead_letters) = (output("TicketEventsUrl"), output("TicketDeadLettersUrl"));
        // With the template's visibility timeout, an invalid event becomes a dead letter after a quarter of an hour.
        let soon = json!({ "QueueUrl": queue, "Attributes": { "VisibilityTimeout": "1" } });
        sqs("SetQueueAttributes", soon).await;
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(AWS.region.clone()))
            .credentials_provider(AWS.credentials.clone())
            .endpoint_url(&AWS.endpoint);
        let api = output("ApiUrl").parse::<http::Uri>().expect("a URL");
        Self {
            host: api.authority().expect("a host").to_string(),
            table: output("TableName"),
            client: Client::from_conf(config.build()),
            name,
            queue,
            dead_letters,
        }
    }

    /// The address of the gateway.
    pub fn address(&self) -> SocketAddr {
        AWS.authority().parse().expect("an address")
    }

    /// The URL of a path, and the `Host` header of the API.
    pub fn target(&self, path: &str) -> (String, &str) {
        (format!("{}{path}", AWS.endpoint), &self.host)
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    pub fn engine_url(&self) -> &str {
        &AWS.endpoint
    }

    pub fn table(&self) -> &str {
        &self.table
    }

    pub async fn send_event(&self, body: &str) {
        sqs("SendMessage", json!({ "QueueUrl": self.queue, "MessageBody": body })).await;
    }

    /// Waits until every message is ingested or a dead letter.
    pub async fn drain_queue(&self) {
        let names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"];
        loop {
            let found = sqs("GetQueueAttributes", json!({ "QueueUrl": self.queue, "AttributeNames": names })).await;
            if names.iter().all(|name| found["Attributes"][name] == "0") {
                return;
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// The bodies of the dead letters. Each stays hidden for three seconds.
    pub async fn dead_letters(&self) -> Vec<String> {
        let mut letters = Vec::new();
        loop {
            let request = json!({ "QueueUrl": self.dead_letters, "MaxNumberOfMessages": 10, "VisibilityTimeout": 3 });
            let found = sqs("ReceiveMessage", request).await;
            let messages = found["Messages"].as_array().cloned().unwrap_or_default();
            if messages.is_empty() {
                return letters;
            }
            letters.extend(messages.iter().map(|message| message["Body"].as_str().expect("a body").to_owned()));
        }
    }

    /// Invokes a function. Returns `None` if it fails.
    pub async fn invoke(&self, function: &str, event: &Value) -> Option<Value> {
        let resource = [("LogicalResourceId".to_owned(), camel_case(function))];
        let described = cloudformation("DescribeStackResource", &self.name, &resource).await;
        let name = between(&described, "<PhysicalResourceId>", "<").expect("a function");
        let path = format!("/2015-03-31/functions/{name}/invocations");
        let (status, body) = call("lambda", &path, &[], event.to_string()).await;
        let result = serde_json::from_str::<Value>(&body).ok().filter(|_| status == 200);
        result.filter(|result| result.get("errorMessage").is_none())
    }

    /// Deletes a stack, and the table that the deletion retains.
    pub async fn delete(name: String, client: Client, table: String) {
        cloudformation("DeleteStack", &name, &[]).await;
        drop(client.delete_table().table_name(table).send().await);
    }

    /// The arguments of [`Stack::delete`].
    pub fn remains(&self) -> (String, Client, String) {
        (self.name.clone(), self.client.clone(), self.table.clone())
    }
}
