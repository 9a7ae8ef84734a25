//! A process of a function's program, with its Runtime API and its environment variables.

use std::collections::HashMap;
use std::io::Write;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::api::{Api, NextRequest};
use crate::template::Function;

/// The time that a process has until its first request for an event, as on Lambda.
const INIT_TIME_OUT: Duration = Duration::from_secs(10);

/// A process of a function's program. Dropping it kills the process.
pub struct Process {
    name: String,
    child: Child,
    next_requests: mpsc::Receiver<NextRequest>,
    api: JoinHandle<()>,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.api.abort();
    }
}

impl Process {
    /// Runs a command with its own Runtime API and with only the given environment variables. With `echo_output`, its
    /// output goes to stderr, each line after `[name]`; otherwise it is discarded.
    ///
    /// # Errors
    ///
    /// The command cannot be run, or no port is free.
    pub async fn start(
        name: &str,
        mut command: Command,
        environment: &[(String, String)],
        echo_output: bool,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        command
            .env_clear()
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .env("AWS_LAMBDA_RUNTIME_API", listener.local_addr()?.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C reaches `local` only, which completes the requests in progress before it ends the processes.
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command.spawn()?;
        relay(name, child.stdout.take(), echo_output);
        relay(name, child.stderr.take(), echo_output);
        let (sender, next_requests) = mpsc::channel(1);
        let api = Api::new(name, sender);
        let api = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, api.routes()).await {
                tracing::error!(%error, "Runtime API failed");
            }
        });
        Ok(Self { name: name.to_owned(), child, next_requests, api })
    }

    /// The process id, or `None` after the process exited.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Rejects the pending request for an event with 410, which makes the process exit, and waits for the exit.
    ///
    /// # Errors
    ///
    /// The process cannot be waited for.
    pub async fn end(mut self, request: NextRequest) -> std::io::Result<()> {
        drop(request);
        self.child.wait().await.map(drop)
    }

    /// Waits for the process's request for its next event. Returns `None` if the process exits or takes longer than
    /// 10 s.
    pub async fn next_request(&mut self) -> Option<NextRequest> {
        let function = &self.name;
        tokio::select! {
            biased;
            status = self.child.wait() => {
                tracing::error!(function, ?status, "process exited");
                None
            }
            request = self.next_requests.recv() => request,
            () = tokio::time::sleep(INIT_TIME_OUT) => {
                tracing::error!(function, "process requested no event in time");
                None
            }
        }
    }

    pub(super) async fn wait(&mut self) -> std::io::Result<ExitStatus> {
        self.child.wait().await
    }
}

/// The environment variables of a function's process: those of `variables` that the template gives the function, and
/// those that Lambda sets.
pub fn environment(function: &Function, variables: &HashMap<String, String>) -> Vec<(String, String)> {
    const CREDENTIALS: [&str; 4] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION"];
    let of_lambda = [
        ("AWS_LAMBDA_FUNCTION_NAME", function.name.clone()),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", function.memory.to_string()),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".to_owned()),
        ("_HANDLER", "bootstrap".to_owned()),
        ("PATH", "/usr/local/bin:/usr/bin:/bin".to_owned()),
        ("TZ", ":UTC".to_owned()),
    ];
    let of_lambda = of_lambda.map(|(name, value)| (name.to_owned(), value));
    let copied = function.variables.iter().map(String::as_str).chain(CREDENTIALS);
    let copied = copied.filter_map(|name| Some((name.to_owned(), variables.get(name)?.clone())));
    copied.chain(of_lambda).collect()
}

/// Reads the output of a process. With `echo`, prints each line to stderr after `[name]`.
fn relay(name: &str, output: Option<impl AsyncRead + Unpin + Send + 'static>, echo: bool) {
    let Some(output) = output else { return };
    let name = name.to_owned();
    tokio::spawn(async move {
        let mut lines = BufReader::new(output).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            if echo {
                // An error means that stderr is closed.
                let _ = writeln!(std::io::stderr(), "[{name}] {line}");
            }
        }
    });
}
