//! HTTP/1.1 without a library, so that a response can break off in the middle.

use std::io;

use bytes::Bytes;
use fastrand::Rng;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// A call of the database. Names of headers are in lower case.
pub(super) struct DatabaseRequest {
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Bytes,
}

impl DatabaseRequest {
    /// Reads the next request of a connection; `None` at its end.
    pub(super) async fn read(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Self>> {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        let mut headers = Vec::new();
        loop {
            line.clear();
            stream.read_line(&mut line).await?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let length = length.and_then(|(_, length)| length.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        Ok(Some(Self { headers, body: body.into() }))
    }

    /// The operation, such as `GetItem`.
    pub(super) fn operation(&self) -> &str {
        let target = self.headers.iter().find(|(name, _)| name == "x-amz-target");
        target.and_then(|(_, target)| target.rsplit('.').next()).unwrap_or_default()
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

#[derive(Clone, PartialEq, Eq)]
pub(super) struct DatabaseResponse {
    pub(super) status: u16,
    pub(super) body: Bytes,
}

impl DatabaseResponse {
    pub(super) fn json(status: u16, body: &Value) -> Self {
        Self { status, body: body.to_string().into() }
    }

    /// The response to a query that finds nothing.
    pub(super) fn without_items(&self) -> Self {
        let mut body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        (body["Items"], body["Count"], body["ScannedCount"]) = (json!([]), json!(0), json!(0));
        body.as_object_mut().map(|body| body.remove("LastEvaluatedKey"));
        Self::json(self.status, &body)
    }

    pub(super) fn error(status: u16, name: &str) -> Self {
        let kind = format!("com.amazonaws.dynamodb.v20120810#{name}");
        Self::json(status, &json!({ "__type": kind, "message": "injected" }))
    }

    /// A cancelled transaction with a reason at one random action.
    pub(super) fn cancelled_at_random(request: &DatabaseRequest, reason: &str, rng: &mut Rng) -> Self {
        let actions = request.json()["TransactItems"].as_array().map_or(1, Vec::len);
        let mut reasons = vec!["None"; actions];
        reasons[rng.usize(..actions)] = reason;
        Self::cancelled(reasons)
    }

    /// A cancelled transaction with a reason for each action.
    pub(super) fn cancelled(reasons: Vec<&str>) -> Self {
        let reason = |code| match code {
            "None" => json!({ "Code": code }),
            _ => json!({ "Code": code, "Message": "injected" }),
        };
        let reasons: Vec<_> = reasons.into_iter().map(reason).collect();
        let kind = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException";
        let message = "Transaction cancelled, please refer cancellation reasons for specific reasons";
        Self::json(400, &json!({ "__type": kind, "Message": message, "CancellationReasons": reasons }))
    }
}

/// Writes a response, with only the first `length` bytes of its body.
pub(super) async fn write(
    stream: &mut BufReader<TcpStream>,
    response: &DatabaseResponse,
    length: usize,
) -> io::Result<()> {
    let head = format!(
        "HTTP/1.1 {} X\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: {}\r\n\r\n",
        response.status,
        response.body.len()
    );
    stream.write_all(&[head.as_bytes(), &response.body[..length]].concat()).await?;
    stream.flush().await
}
