//! A whole event of API Gateway, as JSON.
#![no_main]

use aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fuzz::{assert_sound, respond};
use libfuzzer_sys::fuzz_target;
use shared::http::{Error, Request, Response};

/// Responds with the id and body that it read, so that the target can compare them with the event.
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
    let response = respond(|_, _, request| Box::pin(handle(request)), event);
    // A request id that is not a valid header value is omitted.
    if request_id.bytes().all(|b| b.is_ascii_graphic()) {
        assert_eq!(response.headers["x-request-id"], request_id);
    }
    if assert_sound(&response) == 200 {
        let Some(aws_lambda_events::encodings::Body::Text(text)) = response.body else { panic!("no body") };
        let (read, json): (Option<String>, serde_json::Value) = serde_json::from_str(&text).expect("the id and body");
        assert_eq!(json, serde_json::from_slice::<serde_json::Value>(&body).expect("JSON"));
        match read {
            Some(read) => assert_eq!(Some(read), id),
            None => assert!(id.is_none_or(|id| id.parse::<i32>().is_err() || id.starts_with(['+', '-', '0']))),
        }
    }
});
