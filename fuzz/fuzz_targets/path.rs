//! A whole event of API Gateway, as JSON.
#![no_main]

use aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fuzz::{ask, assert_sound};
use libfuzzer_sys::fuzz_target;
use shared::http::{Error, Request, Response};

/// Answers what it read, so that the target can compare it with the event.
async fn handle(request: &Request) -> Result<Response, Error> {
    let id = request.end_user_id().ok().map(|id| id.to_string());
    let _ = request.query().search();
    Response::ok(&(id, request.json()?))
}

fuzz_target!(|input: &[u8]| {
    let Ok(event) = serde_json::from_slice::<ApiGatewayV2httpRequest>(input) else { return };
    let (id, body) = (event.path_parameters.get("id").cloned(), event.body.clone().unwrap_or_default());
    let body = match event.is_base64_encoded {
        true => STANDARD.decode(&body).unwrap_or(body.into_bytes()),
        false => body.into_bytes(),
    };
    let request_id = event.request_context.request_id.clone().unwrap_or_default();
    let answer = ask(|_, _, request| Box::pin(handle(request)), event);
    // An id that no header can hold is left out.
    if request_id.bytes().all(|b| b.is_ascii_graphic()) {
        assert_eq!(answer.headers["x-request-id"], request_id);
    }
    if assert_sound(&answer) == 200 {
        let Some(aws_lambda_events::encodings::Body::Text(answered)) = answer.body else { panic!("no body") };
        let (read, json): (Option<String>, serde_json::Value) = serde_json::from_str(&answered).expect("what was read");
        assert_eq!(json, serde_json::from_slice::<serde_json::Value>(&body).expect("JSON"));
        match read {
            Some(read) => assert_eq!(Some(read), id),
            None => assert!(id.is_none_or(|id| id.parse::<i32>().is_err() || id.starts_with(['+', '-', '0']))),
        }
    }
});
