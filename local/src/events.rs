//! The events that AWS makes of a request, of messages and of records, for the functions to take.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodbstreams::types::{AttributeValue, Record};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use crate::queue::Delivery;
use crate::template::Route;

/// The event of payload format 2.0 that API Gateway makes of a request.
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
            "requestId": unique_id(), "routeKey": format!("{} {}", route.method, route.path),
            "stage": "$default", "time": "", "timeEpoch": now().as_millis() as u64,
        }
    })
}

/// The event that Lambda makes of messages of a queue.
pub(crate) fn of_messages(messages: &[Delivery]) -> Value {
    let record = |m: &Delivery| {
        json!({ "messageId": m.id.to_string(), "receiptHandle": m.id.to_string(), "body": m.body,
            "attributes": { "ApproximateReceiveCount": m.receive_count.to_string() },
            "messageAttributes": {}, "eventSource": "aws:sqs", "awsRegion": "local" })
    };
    json!({ "Records": messages.iter().map(record).collect::<Vec<_>>() })
}

/// A record of the stream as Lambda puts it into an event.
pub(crate) fn of_record(record: &Record) -> Value {
    let change = record.dynamodb.as_ref();
    let item = |item: Option<&HashMap<String, AttributeValue>>| {
        item.map(|item| item.iter().map(|(name, value)| (name.clone(), attribute(value))).collect::<Value>())
    };
    let time = change.and_then(|c| c.approximate_creation_date_time).map_or(0, |time| time.secs());
    json!({
        "eventID": record.event_id, "eventVersion": record.event_version, "eventSource": "aws:dynamodb",
        "eventName": record.event_name.as_ref().map(|name| name.as_str()), "awsRegion": "local",
        "dynamodb": {
            "ApproximateCreationDateTime": time,
            "Keys": item(change.and_then(|c| c.keys.as_ref())).unwrap_or_else(|| json!({})),
            "NewImage": item(change.and_then(|c| c.new_image.as_ref())).unwrap_or_else(|| json!({})),
            "OldImage": item(change.and_then(|c| c.old_image.as_ref())).unwrap_or_else(|| json!({})),
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

/// How long ago a record made by [`of_record`] was written; zero where it does not say.
pub(crate) fn age(record: &Value) -> Duration {
    let wake_stream = record["dynamodb"]["ApproximateCreationDateTime"].as_u64().filter(|wake_stream| *wake_stream > 0);
    wake_stream.map_or(Duration::ZERO, |wake_stream| now().saturating_sub(Duration::from_secs(wake_stream)))
}

fn attribute(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::S(text) => json!({ "S": text }),
        AttributeValue::N(number) => json!({ "N": number }),
        AttributeValue::Bool(flag) => json!({ "BOOL": flag }),
        AttributeValue::Null(flag) => json!({ "NULL": flag }),
        AttributeValue::B(blob) => json!({ "B": STANDARD.encode(blob.as_ref()) }),
        AttributeValue::L(items) => json!({ "L": items.iter().map(attribute).collect::<Vec<_>>() }),
        AttributeValue::M(members) => {
            json!({ "M": members.iter().map(|(name, value)| (name.clone(), attribute(value))).collect::<Value>() })
        }
        AttributeValue::Ss(texts) => json!({ "SS": texts }),
        AttributeValue::Ns(numbers) => json!({ "NS": numbers }),
        AttributeValue::Bs(blobs) => {
            json!({ "BS": blobs.iter().map(|blob| STANDARD.encode(blob.as_ref())).collect::<Vec<_>>() })
        }
        _ => Value::Null,
    }
}

/// The time since 1970.
pub(crate) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// 16 characters that no other call answers.
pub(crate) fn unique_id() -> String {
    use std::hash::{BuildHasher, RandomState};
    format!("{:016x}", RandomState::new().hash_one(now()))
}
