//! The edge: the only place that knows of HTTP. From an API Gateway event to a [`Request`], from a
//! handler's answer or [`Error`] to what goes back.

mod conditions;
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

use crate::app::App;
use crate::auth::Access;

use crate::store::{Cost, Meter, Scope};
pub use lambda_http::http::header::LOCATION;
pub use problem::Error;
use request::RawQuery;
pub(crate) use request::time_left;
pub use request::{Query, Request};
pub use response::{Paginated, Response};

/// What a function does with a request: its caller's part of the table is the only road to data.
pub type Handler = for<'a> fn(&'a App, &'a Scope<'a>, &'a Request) -> BoxFuture<'a, Result<Response, Error>>;

/// How long a request may work on the database, of the function's time that is left: at most 10 s,
/// and so that there is time to answer that it took too long.
fn database_budget(left: Option<Duration>) -> Duration {
    const LONGEST: Duration = Duration::from_secs(10);
    left.map_or(LONGEST, |left| left.saturating_sub(RESPONSE_MARGIN).min(LONGEST))
}

/// What is left of a function's time for its answer.
pub(crate) const RESPONSE_MARGIN: Duration = Duration::from_millis(500);

/// lambda_http's own reading of an API Gateway event, spared what would make it panic: it builds a
/// URI out of the Host and X-Forwarded-Proto headers, the decoded path and the raw query, and
/// trusts the body's encoding. Of all these a function needs only the query, which goes beside the
/// URI, and the body.
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

/// The answer in the form that API Gateway takes.
pub fn write_event(response: http::Response<String>) -> ApiGatewayV2httpResponse {
    let (head, body) = response.into_parts();
    let mut event = ApiGatewayV2httpResponse::default();
    event.status_code = head.status.as_u16().into();
    event.headers = head.headers;
    event.body = (!body.is_empty()).then_some(Body::Text(body));
    event
}

/// Answers one request of the route `METHOD /path`: token, handler, problem, headers, log line.
pub async fn handle(app: &App, handler: Handler, request: lambda_http::Request) -> http::Response<String> {
    let started = Instant::now();
    let route = route(&request);
    let request = Request::new(request, route.clone());
    let meter = Meter::default();
    let (tenant, answer) = authenticate_and_dispatch(app, handler, &request, &meter, started).await;
    let response = answer.unwrap_or_else(|error| {
        error.log(request.id());
        problem::response(&error, request.id())
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
    app: &App,
    handler: Handler,
    request: &Request,
    meter: &Meter,
    started: Instant,
) -> (Option<String>, Result<Response, Error>) {
    let access = if request.is_get() { Access::Read } else { Access::Write };
    let caller = match app.authenticate(request.authorization(), access).await {
        Ok(caller) => caller,
        Err(refusal) => return (None, Err(Error::Auth(refusal))),
    };
    let scope = app.store().scope(caller.tenant(), meter, started + database_budget(request.time_left()));
    let answer = handler(app, &scope, request).await;
    (Some(caller.tenant().to_string()), answer)
}

fn route(request: &lambda_http::Request) -> String {
    match request.request_context_ref() {
        Some(lambda_http::request::RequestContext::ApiGatewayV2(context)) => {
            context.route_key.clone().unwrap_or_default()
        }
        _ => String::new(),
    }
}

/// The W3C header: milliseconds on the database, and what was spent there.
fn server_timing(cost: &Cost) -> String {
    format!(
        r#"db;dur={:.2};desc="rtt={} rru={} wru={}""#,
        cost.busy.as_secs_f64() * 1e3,
        cost.round_trips,
        cost.read_units,
        cost.write_units
    )
}
