//! The functions of the template: in-process, or as the processes that Lambda runs. Events and responses are JSON text
//! in both cases.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use lambda_runtime::{Context, LambdaEvent};
use serde_json::Value;
use shared::app::HttpApp;
use shared::bootstrap::{Code, on_request};
use shared::events::queue::on_messages;
use shared::events::stream::on_records;
use shared::http::access_by_method;

use crate::Error;
use crate::events::now;
use crate::invocation::{InvocationError, InvocationResult};
use crate::runtime::Pool;
use crate::template::{Function, Template};

/// The maximum size of a response that Lambda accepts from a function, in bytes.
const MAX_RESPONSE: usize = 6 * 1024 * 1024;

/// The functions that `local` can run in-process.
const FUNCTIONS: [shared::bootstrap::Function; 17] = [
    list_end_users::FUNCTION,
    create_end_user::FUNCTION,
    get_end_user::FUNCTION,
    update_end_user::FUNCTION,
    delete_end_user::FUNCTION,
    find_end_users_by_uid::FUNCTION,
    list_end_user_tickets::FUNCTION,
    assign_end_user_uid::FUNCTION,
    upsert_end_user::FUNCTION,
    upsert_end_users::FUNCTION,
    look_up_end_users::FUNCTION,
    list_end_user_duplicates::FUNCTION,
    list_end_user_merges::FUNCTION,
    merge_end_users::FUNCTION,
    unmerge_end_user::FUNCTION,
    index_end_users::FUNCTION,
    ingest_tickets::FUNCTION,
];

/// The functions of the template, by the name of their binary.
pub(crate) struct Functions(HashMap<String, Runner>);

enum Runner {
    InProcess { app: Arc<HttpApp>, code: Code, function: Function },
    Processes(Pool),
}

impl Functions {
    /// Runs the functions in this process.
    pub(crate) fn in_process(template: &Template, app: HttpApp) -> Result<Self, Error> {
        let app = Arc::new(app);
        let runner = |function: &Function| {
            let found = FUNCTIONS.into_iter().find(|found| found.name == function.name).ok_or_else(|| {
                Error::Config(format!(
                    "template.yaml has the function {}, which is missing in local/src/functions.rs",
                    function.name
                ))
            })?;
            let (app, code) = (app.clone(), found.code);
            Ok((function.name.clone(), Runner::InProcess { app, code, function: function.clone() }))
        };
        template.functions.iter().map(runner).collect::<Result<_, _>>().map(Self)
    }

    /// Runs each function as processes of `<name>/bootstrap` in the folder `built`, with the environment variables that
    /// the template gives the function.
    pub(crate) fn processes(
        template: &Template,
        built: &Path,
        variables: &HashMap<String, String>,
    ) -> Result<Self, Error> {
        let runner = |function: &Function| {
            let pool = Pool::new(function, built, variables)?;
            Ok((function.name.clone(), Runner::Processes(pool)))
        };
        template.functions.iter().map(runner).collect::<Result<_, _>>().map(Self)
    }

    /// Runs the function `name` once with an event.
    pub(crate) async fn invoke(self: &Arc<Self>, name: &str, event: &Value) -> InvocationResult {
        let (functions, name, event) = (self.clone(), name.to_owned(), event.to_string());
        // In a task of its own the invocation continues if the client disconnects, as on Lambda, and a panic ends only
        // the invocation.
        let task = tokio::spawn(async move {
            match functions.0.get(&name).ok_or(InvocationError::Crashed)? {
                Runner::InProcess { app, code, function } => invoke_in_process(app, *code, function, &event).await,
                Runner::Processes(pool) => pool.invoke(event).await,
            }
        });
        let response = task.await.unwrap_or_else(|error| {
            tracing::error!(%error, "function panicked");
            Err(InvocationError::Crashed)
        })?;
        if response.len() > MAX_RESPONSE {
            tracing::error!(bytes = response.len(), "response exceeds Lambda's limit");
            return Err(InvocationError::Crashed);
        }
        Ok(response)
    }
}

async fn invoke_in_process(app: &HttpApp, code: Code, function: &Function, event: &str) -> InvocationResult {
    let mut context = Context::default();
    context.deadline = (now() + function.time_out).as_millis() as u64;
    match tokio::time::timeout(function.time_out, run(app, code, event, context)).await {
        Ok(response) => response.map_err(|error| {
            tracing::error!(%error, function = function.name, "event is invalid");
            InvocationError::Crashed
        }),
        Err(_elapsed) => {
            tracing::error!(function = function.name, "function exceeded its time-out");
            Err(InvocationError::TimedOut)
        }
    }
}

async fn run(app: &HttpApp, code: Code, event: &str, context: Context) -> serde_json::Result<Vec<u8>> {
    match code {
        Code::Http(handler) => {
            let event = LambdaEvent::new(serde_json::from_str(event)?, context);
            serde_json::to_vec(&on_request(app, access_by_method, handler, event).await)
        }
        Code::HttpWithAccess(access, handler) => {
            let event = LambdaEvent::new(serde_json::from_str(event)?, context);
            serde_json::to_vec(&on_request(app, access, handler, event).await)
        }
        Code::Stream(handler) => {
            let event = LambdaEvent::new(serde_json::from_str(event)?, context);
            serde_json::to_vec(&on_records(app.app(), handler, event).await)
        }
        Code::Queue(handler) => {
            let event = LambdaEvent::new(serde_json::from_str(event)?, context);
            serde_json::to_vec(&on_messages(app.app(), handler, event).await)
        }
    }
}
