//! A Lambda function that fails in the way that its query string names. Otherwise it responds with its process id.

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    lambda_runtime::run(service_fn(handle)).await
}

async fn handle(event: LambdaEvent<Value>) -> Result<Value, Error> {
    let body = match event.payload["rawQueryString"].as_str().unwrap_or_default() {
        "exit" => std::process::exit(3),
        "error" => return Err("an error".into()),
        "panic" => panic!("a panic"),
        "hang" => std::future::pending().await,
        "nonsense" => return Ok(json!({ "statusCode": "none" })),
        "huge" => "x".repeat(7 * 1024 * 1024),
        "slow" => {
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            std::process::id().to_string()
        }
        _ => std::process::id().to_string(),
    };
    Ok(json!({ "statusCode": 200, "headers": {}, "body": body, "cookies": [] }))
}
