//! The functions of the template: as code of this program, or as the processes that Lambda would
//! run. Either way an event goes in and an answer comes out, as JSON.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use lambda_runtime::{Context, LambdaEvent};
use serde_json::Value;
use shared::app::HttpApp;
use shared::bootstrap::{Code, on_request};
use shared::events::queue::on_messages;
use shared::events::stream::on_records;

use crate::StartError;
use crate::events::now;
use crate::runtime::Pool;
use crate::template::{Function, Template};

/// The largest answer that Lambda takes of a function, in bytes.
const MAX_ANSWER: usize = 6 * 1024 * 1024;

/// Every function.
const FUNCTIONS: [shared::bootstrap::Function; 10] = [
    list_end_users::FUNCTION,
    create_end_user::FUNCTION,
    get_end_user::FUNCTION,
    update_end_user::FUNCTION,
    delete_end_user::FUNCTION,
    find_end_users_by_uid::FUNCTION,
    list_end_user_tickets::FUNCTION,
    assign_end_user_uid::FUNCTION,
    index_end_users::FUNCTION,
    ingest_tickets::FUNCTION,
];

/// Why an invocation has no answer; what the function did before is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Failure {
    /// It panicked, died, reported an error, does not start, or answered more than Lambda takes.
    Crashed,
    /// It overran its time.
    TimedOut,
}

/// What a function answers, as JSON.
pub(crate) type Answer = Result<Vec<u8>, Failure>;

/// The functions of the template, by name.
pub(crate) struct Functions(HashMap<String, Runner>);

enum Runner {
    Here { app: Arc<HttpApp>, code: Code, function: Function },
    Processes(Pool),
}

impl Functions {
    /// As code of this program.
    pub(crate) fn in_process(template: &Template, app: HttpApp) -> Result<Self, StartError> {
        let app = Arc::new(app);
        let runner = |function: &Function| {
            let code = FUNCTIONS.into_iter().find(|code| code.name == function.name).ok_or_else(|| {
                StartError::Config(format!("template.yaml names {}, which local does not run", function.name))
            })?;
            Ok((function.name.clone(), Runner::Here { app: app.clone(), code: code.code, function: function.clone() }))
        };
        template.functions.iter().map(runner).collect::<Result<_, _>>().map(Self)
    }

    /// As processes of the programs `<name>/bootstrap` under `built`, each with the variables that
    /// the template gives it.
    pub(crate) fn processes(
        template: &Template,
        built: &Path,
        variables: &HashMap<String, String>,
    ) -> Result<Self, StartError> {
        let runner = |function: &Function| {
            let pool = Pool::new(function, built, variables)?;
            Ok((function.name.clone(), Runner::Processes(pool)))
        };
        template.functions.iter().map(runner).collect::<Result<_, _>>().map(Self)
    }

    /// What a function answers to an event.
    pub(crate) async fn invoke(self: &Arc<Self>, name: &str, event: &Value) -> Answer {
        let (functions, name, event) = (self.clone(), name.to_owned(), event.to_string());
        // A task of its own: like a function it goes on when the caller hangs up, and its panic is its own.
        let task = tokio::spawn(async move {
            match functions.0.get(&name).ok_or(Failure::Crashed)? {
                Runner::Here { app, code, function } => in_process(app, *code, function, &event).await,
                Runner::Processes(pool) => pool.invoke(event).await,
            }
        });
        let answer = task.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a function crashed");
            Err(Failure::Crashed)
        })?;
        if answer.len() > MAX_ANSWER {
            tracing::error!(bytes = answer.len(), "an answer is larger than Lambda takes");
            return Err(Failure::Crashed);
        }
        Ok(answer)
    }
}

async fn in_process(app: &HttpApp, code: Code, function: &Function, event: &str) -> Answer {
    let mut context = Context::default();
    context.deadline = (now() + function.time_out).as_millis() as u64;
    match tokio::time::timeout(function.time_out, answer(app, code, event, context)).await {
        Ok(answer) => answer.map_err(|error| {
            tracing::error!(%error, function = function.name, "an event cannot be read");
            Failure::Crashed
        }),
        Err(_late) => {
            tracing::error!(function = function.name, "a function overran its time");
            Err(Failure::TimedOut)
        }
    }
}

async fn answer(app: &HttpApp, code: Code, event: &str, context: Context) -> serde_json::Result<Vec<u8>> {
    match code {
        Code::Http(handler) => {
            let event = LambdaEvent::new(serde_json::from_str(event)?, context);
            serde_json::to_vec(&on_request(app, handler, event).await)
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
