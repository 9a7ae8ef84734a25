//! The Runtime API of one process.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::StatusCode;
use tokio::sync::{mpsc, oneshot};

use crate::events::now;
use crate::invocation::{Invocation, InvocationError, InvocationResult};

/// A process's request for its next event.
pub struct NextRequest(pub(super) oneshot::Sender<Invocation>);

impl NextRequest {
    /// Sends an event as JSON text to the process and returns the function's response, or `None` if the function fails
    /// or exceeds `time_out`.
    pub async fn dispatch(self, event: String, time_out: Duration) -> Option<Vec<u8>> {
        let (invocation, result) = Invocation::new(event, time_out);
        self.0.send(invocation).ok()?;
        tokio::time::timeout(time_out, result).await.ok()?.ok()?.ok()
    }
}

/// The id of the invocation that the process works on, and the sender of its result.
type InFlight = (String, oneshot::Sender<InvocationResult>);

/// The state of the Runtime API of one process.
pub(super) struct Api {
    function: String,
    next_requests: mpsc::Sender<NextRequest>,
    in_flight: Mutex<Option<InFlight>>,
}

impl Api {
    /// Creates the Runtime API of a process, which sends the process's requests for events to `next_requests`.
    pub(super) fn new(function: &str, next_requests: mpsc::Sender<NextRequest>) -> Self {
        Self { function: function.to_owned(), next_requests, in_flight: Mutex::default() }
    }

    pub(super) fn routes(self) -> Router {
        Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .route("/2018-06-01/runtime/init/error", post(init_error))
            // `Functions::invoke` limits the size of responses, also of functions that run in-process.
            .layer(DefaultBodyLimit::disable())
            .with_state(Arc::new(self))
    }

    fn in_flight(&self) -> MutexGuard<'_, Option<InFlight>> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Completes the invocation `id`. The status is 400 if the process does not work on it.
    fn complete(&self, id: &str, result: InvocationResult) -> StatusCode {
        match self.in_flight().take_if(|(in_flight, _)| in_flight == id) {
            Some((_, sender)) => {
                // The receiver is gone if the result arrives after the time-out.
                let _ = sender.send(result);
                StatusCode::ACCEPTED
            }
            None => StatusCode::BAD_REQUEST,
        }
    }
}

/// Waits for an event. If the process exits, its connection closes, axum drops this future, and sending to the
/// `NextRequest` fails.
async fn next(State(api): State<Arc<Api>>) -> Response {
    let (request, event) = oneshot::channel();
    if api.next_requests.send(NextRequest(request)).await.is_err() {
        return StatusCode::GONE.into_response();
    }
    let Ok(Invocation { id, event, time_out, result }) = event.await else {
        return StatusCode::GONE.into_response();
    };
    let deadline = now() + time_out;
    let arn = format!("arn:aws:lambda:local:000000000000:function:{}", api.function);
    let headers = [
        ("lambda-runtime-aws-request-id", id.clone()),
        ("lambda-runtime-deadline-ms", deadline.as_millis().to_string()),
        ("lambda-runtime-invoked-function-arn", arn),
        ("lambda-runtime-trace-id", format!("Root=1-{:08x}-{id}00000000;Sampled=0", deadline.as_secs())),
        ("content-type", "application/json".to_owned()),
    ];
    *api.in_flight() = Some((id, result));
    (headers, event).into_response()
}

async fn response(State(api): State<Arc<Api>>, Path(id): Path<String>, body: Bytes) -> StatusCode {
    api.complete(&id, Ok(body.into()))
}

async fn error(State(api): State<Arc<Api>>, Path(id): Path<String>, body: Bytes) -> StatusCode {
    let error = String::from_utf8_lossy(&body);
    tracing::error!(function = api.function, %error, "function reported an error");
    api.complete(&id, Err(InvocationError::Crashed))
}

async fn init_error(State(api): State<Arc<Api>>, body: Bytes) -> StatusCode {
    let error = String::from_utf8_lossy(&body);
    tracing::error!(function = api.function, %error, "function reported a failed start");
    StatusCode::ACCEPTED
}
