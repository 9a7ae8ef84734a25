//! What stands in for API Gateway: routes of the template, matched exactly, to the functions, by way
//! of the event that the gateway makes of a request and the answer that a function makes of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_lambda_events::apigw::ApiGatewayV2httpResponse;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::{HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::events;
use crate::functions::{Failure, Functions};
use crate::pages::{self, Pages};
use crate::pollers::Pollers;
use crate::queue::Queue;
use crate::template::{CorsSpec, Route, Template};

/// The largest body that API Gateway takes, in bytes.
const MAX_BODY: usize = 10 * 1024 * 1024;
/// How long `/local/settle` waits.
const SETTLE: Duration = Duration::from_secs(30);

/// The gateway of a system.
pub(crate) struct Gateway {
    functions: Arc<Functions>,
    routes: Vec<Route>,
    cors: CorsSpec,
    origins: Vec<String>,
    pollers: Pollers,
    queue: Arc<Queue>,
    pages: Pages,
}

/// Serves until `stopped`, then answers what is under way.
pub(crate) async fn serve(listener: TcpListener, gateway: Arc<Gateway>, mut stopped: watch::Receiver<bool>) {
    let router = axum::Router::new().fallback(move |request: Request| gateway.clone().answer(request));
    let stopped = async move {
        // The sender lives as long as the system: an error also is an end.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    };
    if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stopped).await {
        tracing::error!(%error, "the gateway failed");
    }
}

impl Gateway {
    /// The gateway of the template's routes.
    pub(crate) fn new(
        functions: Arc<Functions>,
        template: &Template,
        variables: &HashMap<String, String>,
        pollers: Pollers,
        queue: Arc<Queue>,
        pages: Pages,
    ) -> Self {
        let origins = variables.get("CORS_ALLOWED_ORIGINS").map(String::as_str).unwrap_or_default();
        let origins =
            origins.split(',').map(str::trim).filter(|origin| !origin.is_empty()).map(str::to_owned).collect();
        Self { functions, routes: template.routes.clone(), cors: template.cors.clone(), origins, pollers, queue, pages }
    }

    /// Answers a request as the deployed gateway would.
    pub(crate) async fn answer(self: Arc<Self>, request: Request) -> Response {
        // Before CORS: the origins that may use the API may not read the pages.
        if pages::stand_at(request.uri().path()) {
            return self.pages.answer(&request).unwrap_or_else(|| message(StatusCode::NOT_FOUND, "Not Found"));
        }
        let origin = request.headers().get(header::ORIGIN).and_then(|origin| self.admitted_origin(origin));
        if let Some(origin) = &origin
            && request.method() == Method::OPTIONS
            && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
        {
            return self.preflight(origin);
        }
        let mut response = self.clone().route(request).await;
        if let Some(origin) = origin {
            let headers = response.headers_mut();
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(header::VARY, HeaderValue::from_static("origin"));
            if let Ok(exposed) = HeaderValue::try_from(&self.cors.expose_headers) {
                headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
            }
        }
        response
    }

    fn admitted_origin(&self, origin: &HeaderValue) -> Option<HeaderValue> {
        if self.origins.iter().any(|admitted| admitted == "*") {
            return Some(HeaderValue::from_static("*"));
        }
        self.origins.iter().any(|admitted| admitted.as_bytes() == origin.as_bytes()).then(|| origin.clone())
    }

    fn preflight(&self, origin: &HeaderValue) -> Response {
        let response = http::Response::builder()
            .status(StatusCode::NO_CONTENT)
            .header(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin)
            .header(header::VARY, "origin")
            .header(header::ACCESS_CONTROL_ALLOW_METHODS, &self.cors.allow_methods)
            .header(header::ACCESS_CONTROL_ALLOW_HEADERS, &self.cors.allow_headers)
            .header(header::ACCESS_CONTROL_EXPOSE_HEADERS, &self.cors.expose_headers)
            .header(header::ACCESS_CONTROL_MAX_AGE, self.cors.max_age);
        response.body(Body::empty()).unwrap_or_default()
    }

    async fn route(self: Arc<Self>, request: Request) -> Response {
        match (request.method(), request.uri().path()) {
            (&Method::POST, "/local/ticket-events") => return self.take_events(request).await,
            (&Method::POST, "/local/settle") => return self.settle().await,
            _ => {}
        }
        let matched = find_route(&self.routes, request.method(), request.uri().path());
        let Some((route, parameters)) = matched else {
            return message(StatusCode::NOT_FOUND, "Not Found");
        };
        let (head, body) = request.into_parts();
        let Ok(body) = Limited::new(body, MAX_BODY).collect().await else {
            return message(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large");
        };
        let event = events::of_request(&head, &body.to_bytes(), route, parameters);
        let answer = self.functions.invoke(&route.function, &event).await;
        if head.method != Method::GET {
            self.pollers.wake_stream();
        }
        match answer {
            Ok(answer) => read_answer(&answer),
            // A function's own time-out is a function error too; the gateway's 503 needs 30 s, which no function has.
            Err(Failure::Crashed | Failure::TimedOut) => {
                message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
            }
        }
    }

    /// `POST /local/ticket-events`: what the ticket service would send to the queue.
    async fn take_events(&self, request: Request) -> Response {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let lines = kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/x-ndjson"));
        let Ok(body) = Limited::new(request.into_body(), MAX_BODY).collect().await else {
            return message(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large");
        };
        match read_events(&body.to_bytes(), lines) {
            Err(fault) => message(StatusCode::BAD_REQUEST, &fault),
            Ok(events) => match self.queue.send(&events) {
                Ok(()) => {
                    self.pollers.wake_queue();
                    empty(StatusCode::ACCEPTED)
                }
                Err(error) => {
                    tracing::error!(%error, "the queue cannot be written");
                    message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
                }
            },
        }
    }

    /// `POST /local/settle`: 204 once all that was sent is taken in and indexed.
    async fn settle(&self) -> Response {
        match tokio::time::timeout(SETTLE, self.pollers.settled()).await {
            Ok(()) => empty(StatusCode::NO_CONTENT),
            Err(_late) => message(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable"),
        }
    }
}

/// One JSON text, or one per line; blank lines are passed over.
fn read_events(body: &[u8], lines: bool) -> Result<Vec<String>, String> {
    let text = std::str::from_utf8(body).map_err(|_| "the body must be UTF-8".to_owned())?;
    let texts: Vec<&str> =
        if lines { text.lines().filter(|line| !line.trim().is_empty()).collect() } else { vec![text] };
    for (i, text) in texts.iter().enumerate() {
        serde_json::from_str::<serde::de::IgnoredAny>(text).map_err(|error| format!("line {}: {error}", i + 1))?;
    }
    Ok(texts.into_iter().map(str::to_owned).collect())
}

/// The answer of a function, in payload format 2.0; a status that is none is a function's fault.
fn read_answer(answer: &[u8]) -> Response {
    let read = || {
        let answer: ApiGatewayV2httpResponse = serde_json::from_slice(answer).ok()?;
        let mut response = Response::new(Body::from(answer.body.map(|body| body.to_vec()).unwrap_or_default()));
        *response.status_mut() = StatusCode::from_u16(answer.status_code.try_into().ok()?).ok()?;
        *response.headers_mut() = answer.headers;
        Some(response)
    };
    read().unwrap_or_else(|| message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"))
}

fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// An answer of the gateway itself.
fn message(status: StatusCode, text: &str) -> Response {
    let mut response = Response::new(Body::from(json!({ "message": text }).to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The route of a method and a raw path, segment by segment; a fixed segment beats `{name}`.
fn find_route<'r>(routes: &'r [Route], method: &Method, path: &str) -> Option<(&'r Route, Map<String, Value>)> {
    let fits = |route: &'r Route| {
        let parameters = (route.method == method.as_str()).then(|| path_parameters(&route.path, path)).flatten()?;
        Some((route, parameters))
    };
    routes.iter().filter_map(fits).min_by_key(|(_, parameters)| parameters.len())
}

fn path_parameters(pattern: &str, path: &str) -> Option<Map<String, Value>> {
    let (pattern, path): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), path.split('/').collect());
    let mut parameters = Map::new();
    for (wanted, found) in pattern.iter().zip(&path) {
        match wanted.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
            Some(name) if !found.is_empty() => {
                let value = percent_decode_str(found).decode_utf8_lossy();
                parameters.insert(name.to_owned(), Value::from(value));
            }
            None if wanted == found => {}
            _ => return None,
        }
    }
    (pattern.len() == path.len()).then_some(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: Method, path: &str) -> Option<(String, Option<String>)> {
        let routes = Template::load().expect("a template").routes;
        let (route, parameters) = find_route(&routes, &method, path)?;
        Some((route.function.clone(), parameters.get("id").and_then(Value::as_str).map(str::to_owned)))
    }

    #[test]
    fn paths_match_exactly_and_a_fixed_segment_beats_a_parameter() {
        let function = |name: &str, id: Option<&str>| Some((name.to_owned(), id.map(str::to_owned)));
        assert_eq!(found(Method::GET, "/api/EndUsers"), function("list-end-users", None));
        assert_eq!(found(Method::GET, "/api/EndUsers/byUid"), function("find-end-users-by-uid", None));
        assert_eq!(found(Method::PUT, "/api/EndUsers/byUid"), function("update-end-user", Some("byUid")));
        assert_eq!(found(Method::GET, "/api/EndUsers/a%20b/tickets"), function("list-end-user-tickets", Some("a b")));
        for path in ["/api/EndUsers/", "/api/endusers", "/api/EndUsers//tickets", "/api/EndUsers/1/", "/", ""] {
            assert_eq!(found(Method::GET, path), None, "{path}");
        }
        assert_eq!(found(Method::HEAD, "/api/EndUsers"), None);
    }

    #[test]
    fn events_are_one_json_text_or_one_per_line() {
        assert_eq!(read_events(b"{}\n\n{\"a\":1}\n", true).expect("events"), ["{}", "{\"a\":1}"]);
        assert_eq!(read_events(b"{\n}", false).expect("one event"), ["{\n}"]);
        assert!(read_events(b"{}\nnot JSON", true).is_err());
        assert!(read_events(b"{} {}", false).is_err());
        assert!(read_events(b"", false).is_err());
    }
}
