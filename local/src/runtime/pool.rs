//! The processes of one function.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::process::Command;
use tokio::sync::{Semaphore, oneshot};

use super::executable;
use super::process::{Process, environment};
use crate::Error;
use crate::invocation::{Invocation, InvocationError, InvocationResult};
use crate::template::Function;

/// The maximum number of processes of one function, and so of its concurrent invocations. Further invocations wait.
const MAX_PROCESSES: usize = 16;
/// The maximum number of processes that are started for one event, as on Lambda.
const MAX_STARTS: u32 = 2;

/// The processes of one function. A process is started when no idle one exists, and is reused afterwards.
pub(crate) struct Pool {
    function: Function,
    program: PathBuf,
    environment: Vec<(String, String)>,
    idle: Mutex<Vec<Process>>,
    permits: Semaphore,
}

impl Pool {
    /// Creates the pool of the program `<name>/bootstrap` in the folder `built`. The program must exist and be built
    /// for this machine.
    pub(crate) fn new(function: &Function, built: &Path, variables: &HashMap<String, String>) -> Result<Self, Error> {
        let program = built.join(&function.name).join("bootstrap");
        executable::check(&program)?;
        let environment = environment(function, variables);
        let permits = Semaphore::new(MAX_PROCESSES);
        Ok(Self { function: function.clone(), program, environment, idle: Mutex::default(), permits })
    }

    /// Runs the function once with an event as JSON text.
    pub(crate) async fn invoke(&self, event: String) -> InvocationResult {
        let function = &self.function.name;
        let _permit = self.permits.acquire().await.map_err(|_closed| InvocationError::Crashed)?;
        let (mut process, result) = self.dispatch(event).await?;
        tokio::select! {
            biased;
            result = result => match result {
                Ok(result) => {
                    self.idle().push(process);
                    result
                }
                Err(_closed) => Err(InvocationError::Crashed),
            },
            status = process.wait() => {
                tracing::error!(function, ?status, "process exited during an invocation");
                Err(InvocationError::Crashed)
            }
            () = tokio::time::sleep(self.function.time_out) => {
                tracing::error!(function, "function exceeded its time-out, process killed");
                Err(InvocationError::TimedOut)
            }
        }
    }

    /// Sends the event to a process that waits for one. If a process exits before it received the event, another
    /// process gets it, so the event is not lost.
    async fn dispatch(&self, event: String) -> Result<(Process, oneshot::Receiver<InvocationResult>), InvocationError> {
        let (mut invocation, result) = Invocation::new(event, self.function.time_out);
        let mut starts = 0;
        while starts < MAX_STARTS {
            let idle = self.idle().pop();
            let mut process = match idle {
                Some(process) => process,
                None => {
                    starts += 1;
                    self.start_process().await?
                }
            };
            if let Some(request) = process.next_request().await {
                match request.0.send(invocation) {
                    Ok(()) => return Ok((process, result)),
                    Err(unsent) => invocation = unsent,
                }
            }
        }
        Err(InvocationError::Crashed)
    }

    async fn start_process(&self) -> Result<Process, InvocationError> {
        let function = &self.function.name;
        let process = Process::start(function, Command::new(&self.program), &self.environment, true).await;
        process.map_err(|error| {
            tracing::error!(function, %error, "process cannot be started");
            InvocationError::Crashed
        })
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Process>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
