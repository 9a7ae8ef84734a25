//! What stands in for API Gateway: routes of the template, matched exactly, to the handlers of the
//! functions, by way of the event that the gateway makes of a request.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use base64::Engine;
use http::{HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use lambda_http::RequestExt;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};
use shared::app::App;
use shared::http::Handler;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::StartError;
use crate::pumps::Pumps;
use crate::queue::Queue;
use crate::template::{CorsSpec, Route, Template};

/// The largest body that API Gateway takes, in bytes.
const MAX_BODY: usize = 10 * 1024 * 1024;
/// How long `/local/settle` waits.
const SETTLE: Duration = Duration::from_secs(30);

/// The handler of each function of the API, by its binary.
const HANDLERS: [(&str, Handler); 8] = [
    ("list-end-users", |app, db, request| Box::pin(list_end_users::handle(app, db, request))),
    ("create-end-user", |app, db, request| Box::pin(create_end_user::handle(app, db, request))),
    ("get-end-user", |app, db, request| Box::pin(get_end_user::handle(app, db, request))),
    ("update-end-user", |app, db, request| Box::pin(update_end_user::handle(app, db, request))),
    ("delete-end-user", |app, db, request| Box::pin(delete_end_user::handle(app, db, request))),
    ("find-end-users-by-uid", |app, db, request| Box::pin(find_end_users_by_uid::handle(app, db, request))),
    ("list-end-user-tickets", |app, db, request| Box::pin(list_end_user_tickets::handle(app, db, request))),
    ("assign-end-user-uid", |app, db, request| Box::pin(assign_end_user_uid::handle(app, db, request))),
];

/// The gateway of a system.
pub(crate) struct Gateway {
    app: Arc<App>,
    routes: Vec<(Route, Handler)>,
    cors: CorsSpec,
    origins: Vec<String>,
    pumps: Pumps,
    queue: Arc<Queue>,
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
    /// The gateway of the template's routes; every one must have its handler here.
    pub(crate) fn new(
        app: Arc<App>,
        template: &Template,
        variables: &HashMap<String, String>,
        pumps: Pumps,
        queue: Arc<Queue>,
    ) -> Result<Self, StartError> {
        let handler = |route: &Route| {
            let found = HANDLERS.into_iter().find(|(function, _)| *function == route.function);
            let missing =
                || StartError::Config(format!("template.yaml names {}, which local does not run", route.function));
            found.map(|(_, handler)| (route.clone(), handler)).ok_or_else(missing)
        };
        let routes = template.routes.iter().map(handler).collect::<Result<_, _>>()?;
        let origins = variables.get("CORS_ALLOWED_ORIGINS").map(String::as_str).unwrap_or_default();
        let origins =
            origins.split(',').map(str::trim).filter(|origin| !origin.is_empty()).map(str::to_owned).collect();
        Ok(Self { app, routes, cors: template.cors.clone(), origins, pumps, queue })
    }

    /// Answers a request as the deployed gateway would.
    pub(crate) async fn answer(self: Arc<Self>, request: Request) -> Response {
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
        let Some((route, handler, parameters)) = matched else {
            return message(StatusCode::NOT_FOUND, "Not Found");
        };
        let (head, body) = request.into_parts();
        let Ok(body) = Limited::new(body, MAX_BODY).collect().await else {
            return message(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large");
        };
        let event = event(&head, &body.to_bytes(), &route, parameters);
        let Ok(event) = serde_json::from_value(event) else {
            return message(StatusCode::BAD_REQUEST, "Bad Request");
        };
        let mut context = lambda_runtime::Context::default();
        context.deadline = (now() + route.time_out).as_millis() as u64;
        let gateway = self.clone();
        let writes = head.method != Method::GET;
        // A task of its own: like a function it goes on when the caller hangs up, and its panic is its own.
        let answer = tokio::spawn(async move {
            let request = shared::http::read_event(event).with_lambda_context(context);
            let answer = shared::http::answer(&gateway.app, handler, request).await;
            if writes {
                gateway.pumps.written();
            }
            answer
        });
        match tokio::time::timeout(route.time_out, answer).await {
            Ok(Ok(response)) => response.map(Body::from),
            Ok(Err(_panic)) => message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"),
            Err(_late) => message(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable"),
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
                    self.pumps.queued();
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
        match tokio::time::timeout(SETTLE, self.pumps.settled()).await {
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

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
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
fn find_route<H: Copy>(routes: &[(Route, H)], method: &Method, path: &str) -> Option<(Route, H, Map<String, Value>)> {
    let fits = |(route, handler): &(Route, H)| {
        let parameters = (route.method == method.as_str()).then(|| path_parameters(&route.path, path)).flatten()?;
        Some((route.clone(), *handler, parameters))
    };
    routes.iter().filter_map(fits).min_by_key(|(_, _, parameters)| parameters.len())
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

/// The event of payload format 2.0 that API Gateway makes of a request.
fn event(head: &http::request::Parts, body: &[u8], route: &Route, parameters: Map<String, Value>) -> Value {
    let mut headers: Map<String, Value> = Map::new();
    for name in head.headers.keys().filter(|name| *name != header::COOKIE) {
        let values: Vec<_> = head.headers.get_all(name).iter().map(|v| String::from_utf8_lossy(v.as_bytes())).collect();
        headers.insert(name.to_string(), Value::from(values.join(",")));
    }
    let path = percent_decode_str(head.uri.path()).decode_utf8_lossy().into_owned();
    let (body, encoded) = match std::str::from_utf8(body) {
        Ok("") => (None, false),
        Ok(text) => (Some(text.to_owned()), false),
        Err(_) => (Some(base64::engine::general_purpose::STANDARD.encode(body)), true),
    };
    let time = now();
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
            "requestId": request_id(), "routeKey": format!("{} {}", route.method, route.path),
            "stage": "$default", "time": "", "timeEpoch": time.as_millis() as u64,
        }
    })
}

/// 16 characters that no other request has.
fn request_id() -> String {
    use std::hash::{BuildHasher, RandomState};
    format!("{:016x}", RandomState::new().hash_one(now()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: Method, path: &str) -> Option<(String, Option<String>)> {
        let routes =
            Template::load().expect("a template").routes.into_iter().map(|route| (route, ())).collect::<Vec<_>>();
        let (route, (), parameters) = find_route(&routes, &method, path)?;
        Some((route.function, parameters.get("id").and_then(Value::as_str).map(str::to_owned)))
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
