//! The gateway: sends requests to functions by the routes of the template, as API Gateway does. It converts a request
//! to an event, and the function's result to a response.

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
use crate::functions::Functions;
use crate::invocation::InvocationError;
use crate::pages::{self, Pages};
use crate::pollers::Pollers;
use crate::queue::Queue;
use crate::template::{CorsSpec, Route, Template, TemplateError};

/// The maximum size of a body that API Gateway accepts, in bytes.
const MAX_BODY: usize = 10 * 1024 * 1024;
/// The maximum time that `/local/settle` waits.
const SETTLE_TIME_OUT: Duration = Duration::from_secs(30);

/// The gateway of a running system.
pub(crate) struct Gateway {
    functions: Arc<Functions>,
    routes: Routes,
    cors: CorsSpec,
    origins: Vec<String>,
    pollers: Pollers,
    queue: Arc<Queue>,
    pages: Pages,
}

/// Serves until `stopped`, then completes the requests in progress.
pub(crate) async fn serve(listener: TcpListener, gateway: Arc<Gateway>, mut stopped: watch::Receiver<bool>) {
    let router = axum::Router::new().fallback(move |request: Request| gateway.clone().handle(request));
    let stopped = async move {
        // An error means that the system, which owns the sender, was dropped.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    };
    if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stopped).await {
        tracing::error!(%error, "gateway failed");
    }
}

impl Gateway {
    /// Creates the gateway for the template's routes.
    pub(crate) fn new(
        functions: Arc<Functions>,
        template: &Template,
        variables: &HashMap<String, String>,
        pollers: Pollers,
        queue: Arc<Queue>,
        pages: Pages,
    ) -> Result<Self, TemplateError> {
        let origins = variables.get("CORS_ALLOWED_ORIGINS").map(String::as_str).unwrap_or_default();
        let origins =
            origins.split(',').map(str::trim).filter(|origin| !origin.is_empty()).map(str::to_owned).collect();
        let routes = Routes::new(&template.routes)?;
        Ok(Self { functions, routes, cors: template.cors.clone(), origins, pollers, queue, pages })
    }

    /// Returns the response that the deployed gateway would return.
    pub(crate) async fn handle(self: Arc<Self>, request: Request) -> Response {
        // The pages come before CORS: origins that may call the API may not read the pages.
        if pages::is_page(request.uri().path()) {
            return self.pages.respond(&request).unwrap_or_else(|| message(StatusCode::NOT_FOUND, "Not Found"));
        }
        let origin = request.headers().get(header::ORIGIN).and_then(|origin| self.allowed_origin(origin));
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

    fn allowed_origin(&self, origin: &HeaderValue) -> Option<HeaderValue> {
        if self.origins.iter().any(|allowed| allowed == "*") {
            return Some(HeaderValue::from_static("*"));
        }
        self.origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()).then(|| origin.clone())
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
        let Some((route, parameters)) = self.routes.find(request.method(), request.uri().path()) else {
            return message(StatusCode::NOT_FOUND, "Not Found");
        };
        let (head, body) = request.into_parts();
        let Ok(body) = Limited::new(body, MAX_BODY).collect().await else {
            return message(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large");
        };
        let event = events::of_request(&head, &body.to_bytes(), route, parameters);
        let result = self.functions.invoke(&route.function, &event).await;
        if head.method != Method::GET {
            self.pollers.wake_stream();
        }
        match result {
            Ok(response) => to_http(&response),
            // The time-out of a function is an error of the function. The gateway's own time-out (503 after 30 s) is
            // longer than that of any function.
            Err(InvocationError::Crashed | InvocationError::TimedOut) => {
                message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
            }
        }
    }

    /// `POST /local/ticket-events`: sends events to the queue, in place of the ticket service.
    async fn take_events(&self, request: Request) -> Response {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let lines = kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/x-ndjson"));
        let Ok(body) = Limited::new(request.into_body(), MAX_BODY).collect().await else {
            return message(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large");
        };
        match read_events(&body.to_bytes(), lines) {
            Err(error) => message(StatusCode::BAD_REQUEST, &error),
            Ok(events) => match self.queue.send(&events) {
                Ok(()) => {
                    self.pollers.wake_queue();
                    empty(StatusCode::ACCEPTED)
                }
                Err(error) => {
                    tracing::error!(%error, "queue cannot be written");
                    message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
                }
            },
        }
    }

    /// `POST /local/settle`: 204 when all events are ingested and all writes are indexed.
    async fn settle(&self) -> Response {
        match tokio::time::timeout(SETTLE_TIME_OUT, self.pollers.settled()).await {
            Ok(()) => empty(StatusCode::NO_CONTENT),
            Err(_elapsed) => message(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable"),
        }
    }
}

/// Splits a body into events: the whole body is one JSON text, or with `lines` each line that is not blank is one.
fn read_events(body: &[u8], lines: bool) -> Result<Vec<String>, String> {
    let text = std::str::from_utf8(body).map_err(|_| "the body must be UTF-8".to_owned())?;
    let texts: Vec<&str> =
        if lines { text.lines().filter(|line| !line.trim().is_empty()).collect() } else { vec![text] };
    for (i, text) in texts.iter().enumerate() {
        serde_json::from_str::<serde::de::IgnoredAny>(text).map_err(|error| format!("line {}: {error}", i + 1))?;
    }
    Ok(texts.into_iter().map(str::to_owned).collect())
}

/// Converts the response of a function (payload format 2.0) to HTTP. A malformed response is 500.
fn to_http(response: &[u8]) -> Response {
    let read = || {
        let event: ApiGatewayV2httpResponse = serde_json::from_slice(response).ok()?;
        let mut response = Response::new(Body::from(event.body.map(|body| body.to_vec()).unwrap_or_default()));
        *response.status_mut() = StatusCode::from_u16(event.status_code.try_into().ok()?).ok()?;
        *response.headers_mut() = event.headers;
        Some(response)
    };
    read().unwrap_or_else(|| message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"))
}

fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// A response of the gateway itself.
fn message(status: StatusCode, text: &str) -> Response {
    let mut response = Response::new(Body::from(json!({ "message": text }).to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The routes of the template: one router per method.
struct Routes(HashMap<String, matchit::Router<Route>>);

impl Routes {
    fn new(routes: &[Route]) -> Result<Self, TemplateError> {
        let mut routers: HashMap<_, matchit::Router<_>> = HashMap::new();
        for route in routes {
            let router = routers.entry(route.method.clone()).or_default();
            router.insert(&route.path, route.clone()).map_err(TemplateError::new)?;
        }
        Ok(Self(routers))
    }

    /// Finds the route of a method and a raw path, with its decoded path parameters. Paths match exactly; a fixed
    /// segment has precedence over a parameter.
    fn find(&self, method: &Method, path: &str) -> Option<(&Route, Map<String, Value>)> {
        let found = self.0.get(method.as_str())?.at(path).ok()?;
        // `matchit` also matches a parameter with an empty segment.
        if found.params.iter().any(|(_, value)| value.is_empty()) {
            return None;
        }
        let decode =
            |(name, value): (&str, &str)| (name.to_owned(), Value::from(percent_decode_str(value).decode_utf8_lossy()));
        Some((found.value, found.params.iter().map(decode).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: Method, path: &str) -> Option<(String, Option<String>)> {
        let routes = Routes::new(&Template::load().expect("a template").routes).expect("routes");
        let (route, parameters) = routes.find(&method, path)?;
        Some((route.function.clone(), parameters.get("id").and_then(Value::as_str).map(str::to_owned)))
    }

    #[test]
    fn paths_match_exactly_with_fixed_segments_first() {
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
    fn body_is_one_event_or_one_per_line() {
        assert_eq!(read_events(b"{}\n\n{\"a\":1}\n", true).expect("events"), ["{}", "{\"a\":1}"]);
        assert_eq!(read_events(b"{\n}", false).expect("one event"), ["{\n}"]);
        assert!(read_events(b"{}\nnot JSON", true).is_err());
        assert!(read_events(b"{} {}", false).is_err());
        assert!(read_events(b"", false).is_err());
    }
}
