//! The events that AWS makes of HTTP requests, queue messages and stream records, as JSON.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodbstreams::types::{AttributeValue, Record};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header;
use percent_encoding::percent_decode_str;
use serde_dynamo::Item;
use serde_json::{Map, Value, json};

use crate::queue::QueueMessage;
use crate::template::Route;

/// The event of a request, as API Gateway makes it: payload format 2.0.
pub(crate) fn of_request(
    head: &http::request::Parts,
    body: &[u8],
    route: &Route,
    parameters: Map<String, Value>,
) -> Value {
    let mut headers: Map<String, Value> = Map::new();
    for name in head.headers.keys().filter(|name| *name != header::COOKIE) {
        let values: Vec<_> = head.headers.get_all(name).iter().map(|v| String::from_utf8_lossy(v.as_bytes())).collect();
        headers.insert(name.to_string(), Value::from(values.join(",")));
    }
    let path = percent_decode_str(head.uri.path()).decode_utf8_lossy().into_owned();
    let (body, encoded) = match std::str::from_utf8(body) {
        Ok("") => (None, false),
        Ok(text) => (Some(text.to_owned()), false),
        Err(_) => (Some(STANDARD.encode(body)), true),
    };
    json!({
        "version": "2.0",
        "routeKey": format!("{} {}", route.method, route.path),
        "rawPath": path,
        "rawQueryString": head.uri.query().unwrap_or_default(),
        "headers": headers,
        "pathParameters": parameters,
        "body": body,
        "isBase64Encoded": encoded,
        "requestContext": {
            "accountId": "local", "apiId": "local", "domainName": "localhost", "domainPrefix": "localhost",
            "http": { "method": head.method.as_str(), "path": path, "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1", "userAgent": headers.get("user-agent") },
            "requestId": random_id(), "routeKey": format!("{} {}", route.method, route.path),
            "stage": "$default", "time": "", "timeEpoch": now().as_millis() as u64,
        }
    })
}

/// The event of a batch of queue messages, as Lambda makes it.
pub(crate) fn of_messages(messages: &[QueueMessage]) -> Value {
    let record = |m: &QueueMessage| {
        json!({ "messageId": m.id.to_string(), "receiptHandle": m.id.to_string(), "body": m.body,
            "attributes": { "ApproximateReceiveCount": m.receive_count.to_string() },
            "messageAttributes": {}, "eventSource": "aws:sqs", "awsRegion": "local" })
    };
    json!({ "Records": messages.iter().map(record).collect::<Vec<_>>() })
}

/// A record of the stream, as Lambda puts it into an event.
pub(crate) fn of_record(record: &Record) -> Value {
    let change = record.dynamodb.as_ref();
    let item = |item: Option<&HashMap<String, AttributeValue>>| Item::from(item.cloned().unwrap_or_default());
    let time = change.and_then(|c| c.approximate_creation_date_time).map_or(0, |time| time.secs());
    json!({
        "eventID": record.event_id, "eventVersion": record.event_version, "eventSource": "aws:dynamodb",
        "eventName": record.event_name.as_ref().map(|name| name.as_str()), "awsRegion": "local",
        "dynamodb": {
            "ApproximateCreationDateTime": time,
            "Keys": item(change.and_then(|c| c.keys.as_ref())),
            "NewImage": item(change.and_then(|c| c.new_image.as_ref())),
            "OldImage": item(change.and_then(|c| c.old_image.as_ref())),
            "SequenceNumber": change.and_then(|c| c.sequence_number.as_deref()),
            "SizeBytes": change.and_then(|c| c.size_bytes).unwrap_or_default(),
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        }
    })
}

/// The sequence number of a record made by [`of_record`].
pub(crate) fn sequence_number(record: &Value) -> Option<&str> {
    record["dynamodb"]["SequenceNumber"].as_str()
}

/// The time since a record made by [`of_record`] was written; zero if the record has no time.
pub(crate) fn age(record: &Value) -> Duration {
    let written = record["dynamodb"]["ApproximateCreationDateTime"].as_u64().filter(|seconds| *seconds > 0);
    written.map_or(Duration::ZERO, |seconds| now().saturating_sub(Duration::from_secs(seconds)))
}

/// The time since 1970-01-01T00:00:00Z.
pub(crate) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// A random id of 16 hexadecimal digits.
pub(crate) fn random_id() -> String {
    format!("{:016x}", fastrand::u64(..))
}
