//! HTTP: from an API Gateway event to a [`Request`], and from a handler's [`Response`] or [`Error`] to the HTTP
//! response. No other module has status codes.

mod conditions;
mod error;
mod items;
#[cfg(feature = "openapi")]
pub mod openapi;
mod problem;
mod request;
mod response;

use std::time::{Duration, Instant};

use aws_lambda_events::apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse};
use base64::Engine;
use futures::future::BoxFuture;
use lambda_http::request::LambdaRequest;
use lambda_http::{Body, RequestExt, http};

use crate::app::{App, HttpApp};
use crate::auth::Access;
use crate::store::{ChangeError, Cost, Meter, Scope};
pub use error::Error;
pub use items::ItemResult;
pub use lambda_http::http::header::LOCATION;
use request::RawQuery;
pub(crate) use request::time_left;
pub use request::{Query, Request};
pub use response::{Paginated, Response};

/// The handler of an HTTP function. The `Scope` of the caller's tenant is its only access to data.
pub type Handler = for<'a> fn(&'a App, &'a Scope<'a>, &'a Request) -> BoxFuture<'a, Result<Response, Error>>;

/// The access that a request needs, from what the request says.
pub type RequiredAccess = fn(&Request) -> Access;

/// The access that a request needs by its method: reading for GET, writing for any other.
pub fn access_by_method(request: &Request) -> Access {
    if request.is_get() { Access::Read } else { Access::Write }
}

/// The time that a request may work on the database: at most 10 s, and less than the function's remaining time, so that
/// it can still respond.
fn database_budget(left: Option<Duration>) -> Duration {
    const MAX: Duration = Duration::from_secs(10);
    left.map_or(MAX, |left| left.saturating_sub(RESPONSE_MARGIN).min(MAX))
}

/// The part of a function's time that is reserved for its response.
pub(crate) const RESPONSE_MARGIN: Duration = Duration::from_millis(500);

/// Converts an API Gateway event to a `lambda_http` request.
///
/// `lambda_http` can panic: it builds a URI from the Host and X-Forwarded-Proto headers, the decoded path and the raw
/// query, and it trusts the body's encoding. So this function removes the parts of the URI that no handler needs,
/// passes the query as an extension, and checks the encoding.
pub fn read_event(mut event: ApiGatewayV2httpRequest) -> lambda_http::Request {
    for name in ["host", "x-forwarded-proto"] {
        event.headers.remove(name);
    }
    event.request_context.domain_name = None;
    event.raw_path = None;
    let query = event.raw_query_string.take().unwrap_or_default();
    if event.is_base64_encoded {
        let decodes = |body: &String| base64::engine::general_purpose::STANDARD.decode(body).is_ok();
        event.is_base64_encoded = event.body.as_ref().is_some_and(decodes);
    }
    let mut request: lambda_http::Request = LambdaRequest::ApiGatewayV2(event).into();
    request.extensions_mut().insert(RawQuery(query));
    request
}

/// Converts a response to the format of API Gateway.
pub fn write_event(response: http::Response<String>) -> ApiGatewayV2httpResponse {
    let (head, body) = response.into_parts();
    let mut event = ApiGatewayV2httpResponse::default();
    event.status_code = head.status.as_u16().into();
    event.headers = head.headers;
    event.body = (!body.is_empty()).then_some(Body::Text(body));
    event
}

/// Handles one request: authentication, the handler, the problem document, headers and the log line.
pub async fn handle(
    app: &HttpApp,
    access: RequiredAccess,
    handler: Handler,
    request: lambda_http::Request,
) -> http::Response<String> {
    let started = Instant::now();
    let route = route(&request);
    let request = Request::new(request, route.clone());
    let meter = Meter::default();
    let (tenant, result) = authenticate_and_dispatch(app, access, handler, &request, &meter, started).await;
    let response = result.unwrap_or_else(|error| {
        error.log(request.id());
        let response = problem::response(&error, request.id());
        match error {
            Error::Change(ChangeError::Merged(id)) => response.with_header(LOCATION, request.location_of(id)),
            _ => response,
        }
    });
    let cost = meter.cost();
    tracing::info!(
        route,
        status = response.status(),
        tenant,
        requestId = request.id(),
        durationMs = started.elapsed().as_secs_f64() * 1e3,
        roundTrips = cost.round_trips,
        readUnits = cost.read_units,
        writeUnits = cost.write_units,
        "request completed"
    );
    let timing = app.server_timing().then(|| server_timing(&cost));
    response.finish(request.id(), timing)
}

async fn authenticate_and_dispatch(
    app: &HttpApp,
    access: RequiredAccess,
    handler: Handler,
    request: &Request,
    meter: &Meter,
    started: Instant,
) -> (Option<String>, Result<Response, Error>) {
    let caller = match app.authenticator().authenticate(request.authorization(), || access(request)).await {
        Ok(caller) => caller,
        Err(error) => return (None, Err(error.into())),
    };
    let deadline = started + database_budget(request.time_left());
    let scope = app.app().scope(caller.tenant(), meter, deadline);
    let result = handler(app.app(), &scope, request).await;
    (Some(caller.tenant().to_string()), result)
}

/// The route `METHOD /path`; empty without an API Gateway context.
fn route(request: &lambda_http::Request) -> String {
    match request.request_context_ref() {
        Some(lambda_http::request::RequestContext::ApiGatewayV2(context)) => {
            context.route_key.clone().unwrap_or_default()
        }
        _ => String::new(),
    }
}

/// The Server-Timing header (W3C): milliseconds, round trips and capacity units of the database.
fn server_timing(cost: &Cost) -> String {
    format!(
        r#"db;dur={:.2};desc="rtt={} rru={} wru={}""#,
        cost.busy.as_secs_f64() * 1e3,
        cost.round_trips,
        cost.read_units,
        cost.write_units
    )
}
