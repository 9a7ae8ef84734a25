//! The functions of the template: as code of this program, or as the processes that Lambda would
//! run. Either way an event goes in and an answer comes out, as JSON.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use lambda_runtime::{Context, LambdaEvent};
use serde_json::Value;
use shared::app::App;
use shared::bootstrap::{self, QueueHandler, StreamHandler};
use shared::http::Handler;

use crate::StartError;
use crate::events::now;
use crate::runtime::Pool;
use crate::template::{Function, Template};

/// The largest answer that Lambda takes of a function, in bytes.
const MAX_ANSWER: usize = 6 * 1024 * 1024;

/// A function's code, by what drives it.
#[derive(Clone, Copy)]
enum Code {
    Http(Handler),
    Stream(StreamHandler),
    Queue(QueueHandler),
}

/// The code of each function, by its binary.
const CODE: [(&str, Code); 10] = [
    ("list-end-users", Code::Http(|app, db, request| Box::pin(list_end_users::handle(app, db, request)))),
    ("create-end-user", Code::Http(|app, db, request| Box::pin(create_end_user::handle(app, db, request)))),
    ("get-end-user", Code::Http(|app, db, request| Box::pin(get_end_user::handle(app, db, request)))),
    ("update-end-user", Code::Http(|app, db, request| Box::pin(update_end_user::handle(app, db, request)))),
    ("delete-end-user", Code::Http(|app, db, request| Box::pin(delete_end_user::handle(app, db, request)))),
    ("find-end-users-by-uid", Code::Http(|app, db, request| Box::pin(find_end_users_by_uid::handle(app, db, request)))),
    ("list-end-user-tickets", Code::Http(|app, db, request| Box::pin(list_end_user_tickets::handle(app, db, request)))),
    ("assign-end-user-uid", Code::Http(|app, db, request| Box::pin(assign_end_user_uid::handle(app, db, request)))),
    ("index-end-users", Code::Stream(|app, event, deadline| Box::pin(index_end_users::handle(app, event, deadline)))),
    ("ingest-tickets", Code::Queue(|app, event, deadline| Box::pin(ingest_tickets::handle(app, event, deadline)))),
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
    Here { app: Arc<App>, code: Code, function: Function },
    Processes(Pool),
}

impl Functions {
    /// As code of this program.
    pub(crate) fn in_process(template: &Template, app: App) -> Result<Self, StartError> {
        let app = Arc::new(app);
        let runner = |function: &Function| {
            let (_, code) = CODE.into_iter().find(|(name, _)| *name == function.name).ok_or_else(|| {
                StartError::Config(format!("template.yaml names {}, which local does not run", function.name))
            })?;
            Ok((function.name.clone(), Runner::Here { app: app.clone(), code, function: function.clone() }))
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

async fn in_process(app: &App, code: Code, function: &Function, event: &str) -> Answer {
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

async fn answer(app: &App, code: Code, event: &str, context: Context) -> serde_json::Result<Vec<u8>> {
    match code {
        Code::Http(handler) => {
            let event = LambdaEvent::new(serde_json::from_str(event)?, context);
            serde_json::to_vec(&bootstrap::on_request(app, handler, event).await)
        }
        Code::Stream(handler) => {
            let event = LambdaEvent::new(serde_json::from_str(event)?, context);
            serde_json::to_vec(&bootstrap::on_records(app, handler, event).await)
        }
        Code::Queue(handler) => {
            let event = LambdaEvent::new(serde_json::from_str(event)?, context);
            serde_json::to_vec(&bootstrap::on_messages(app, handler, event).await)
        }
    }
}
