//! What stands in for Lambda: a function's `bootstrap` as processes, each behind a Runtime API of
//! its own (<https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>).

use std::collections::HashMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path as InPath, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::StatusCode;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::StartError;
use crate::events::{now, unique_id};
use crate::functions::{Answer, Failure};
use crate::template::Function;

/// The most processes of one function, and so the most of its invocations at once; further ones
/// wait for their turn.
const MAX_PROCESSES: usize = 16;
/// How long a process may take before it asks for its first event, as on Lambda.
const INIT: Duration = Duration::from_secs(10);
/// How often a process is started for one event, as on Lambda.
const STARTS: u32 = 2;
/// How to make what is missing.
const BUILD: &str = "build it with: cargo lambda build --release";

/// The processes of one function: started when there is none to take an event, kept for the next.
pub(crate) struct Pool {
    function: Function,
    program: PathBuf,
    environment: Vec<(String, String)>,
    idle: Mutex<Vec<Process>>,
    turns: Semaphore,
}

impl Pool {
    /// For the program `<name>/bootstrap` under `built`, which must be there and run here.
    pub(crate) fn new(
        function: &Function,
        built: &Path,
        variables: &HashMap<String, String>,
    ) -> Result<Self, StartError> {
        let program = built.join(&function.name).join("bootstrap");
        check(&program)?;
        let environment = environment(function, variables);
        let turns = Semaphore::new(MAX_PROCESSES);
        Ok(Self { function: function.clone(), program, environment, idle: Mutex::default(), turns })
    }

    /// What the function answers to an event.
    pub(crate) async fn invoke(&self, event: String) -> Answer {
        let name = &self.function.name;
        let _turn = self.turns.acquire().await.map_err(|_closed| Failure::Crashed)?;
        let (mut process, answer) = self.dispatch(event).await?;
        tokio::select! {
            biased;
            answer = answer => match answer {
                Ok(answer) => {
                    self.idle().push(process);
                    answer
                }
                Err(_gone) => Err(Failure::Crashed),
            },
            ended = process.child.wait() => {
                tracing::error!(function = name, ?ended, "a process ended with an event in hand");
                Err(Failure::Crashed)
            }
            () = tokio::time::sleep(self.function.time_out) => {
                tracing::error!(function = name, "a process overran its time and is killed");
                Err(Failure::TimedOut)
            }
        }
    }

    /// Gives the event to a process that waits for one. Until that is done a process may die and
    /// nothing is lost: another one takes its place.
    async fn dispatch(&self, event: String) -> Result<(Process, oneshot::Receiver<Answer>), Failure> {
        let (mut invocation, answered) = Invocation::new(event, self.function.time_out);
        let mut starts = 0;
        while starts < STARTS {
            let idle = self.idle().pop();
            let mut process = match idle {
                Some(process) => process,
                None => {
                    starts += 1;
                    let started =
                        Process::start(&self.function.name, Command::new(&self.program), &self.environment, true).await;
                    started.map_err(|error| {
                        tracing::error!(function = self.function.name, %error, "a process does not start");
                        Failure::Crashed
                    })?
                }
            };
            if let Some(asking) = process.asks().await {
                match asking.0.send(invocation) {
                    Ok(()) => return Ok((process, answered)),
                    Err(kept) => invocation = kept,
                }
            }
        }
        Err(Failure::Crashed)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Process>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An event on its way to a process.
struct Invocation {
    id: String,
    event: String,
    time_out: Duration,
    answer: oneshot::Sender<Answer>,
}

impl Invocation {
    /// And where its answer comes.
    fn new(event: String, time_out: Duration) -> (Self, oneshot::Receiver<Answer>) {
        let (answer, answered) = oneshot::channel();
        (Self { id: unique_id(), event, time_out, answer }, answered)
    }
}

/// A process's request for its next event.
pub struct NextRequest(oneshot::Sender<Invocation>);

impl NextRequest {
    /// Gives it the event; its answer, or `None` where it has none.
    pub async fn answer(self, event: String, time_out: Duration) -> Option<Vec<u8>> {
        let (invocation, answered) = Invocation::new(event, time_out);
        self.0.send(invocation).ok()?;
        tokio::time::timeout(time_out, answered).await.ok()?.ok()?.ok()
    }
}

/// A process of a function's program; killed when dropped.
pub struct Process {
    name: String,
    child: Child,
    /// The requests of the process for its next event.
    asking: mpsc::Receiver<NextRequest>,
    api: JoinHandle<()>,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.api.abort();
    }
}

impl Process {
    /// Runs a command with a Runtime API of its own and these variables alone. What it writes goes to
    /// stderr, each line behind `name`, where it is `echo_output`, and else nowhere.
    ///
    /// # Errors
    ///
    /// It cannot be run, or no port is free.
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
            // Ctrl-C is for us: what is under way is answered before the processes go.
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command.spawn()?;
        relay(name, child.stdout.take(), echo_output);
        relay(name, child.stderr.take(), echo_output);
        let (ask, asking) = mpsc::channel(1);
        let api = Api { function: name.to_owned(), ask, in_flight: Mutex::default() };
        let api = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, api.routes()).await {
                tracing::error!(%error, "a Runtime API failed");
            }
        });
        Ok(Self { name: name.to_owned(), child, asking, api })
    }

    /// Its number; `None` where it ended.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Ends it: there is no event for it any more.
    ///
    /// # Errors
    ///
    /// It cannot be waited for.
    pub async fn end(mut self, asking: NextRequest) -> std::io::Result<()> {
        drop(asking);
        self.child.wait().await.map(drop)
    }

    /// Waits until it asks for its next event; `None` where it ended or takes too long to start.
    pub async fn asks(&mut self) -> Option<NextRequest> {
        let function = &self.name;
        tokio::select! {
            biased;
            ended = self.child.wait() => {
                tracing::error!(function, ?ended, "a process ended");
                None
            }
            asking = self.asking.recv() => asking,
            () = tokio::time::sleep(INIT) => {
                tracing::error!(function, "a process does not ask for an event");
                None
            }
        }
    }
}

/// The id of an invocation, and where its answer goes.
type InHand = (String, oneshot::Sender<Answer>);

/// The Runtime API of one process.
struct Api {
    function: String,
    ask: mpsc::Sender<NextRequest>,
    /// What the process has to answer.
    in_flight: Mutex<Option<InHand>>,
}

impl Api {
    fn routes(self) -> Router {
        Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .route("/2018-06-01/runtime/init/error", post(init_error))
            // What an answer may measure is judged for all ways to run a function in one place.
            .layer(DefaultBodyLimit::disable())
            .with_state(Arc::new(self))
    }

    fn in_flight(&self) -> MutexGuard<'_, Option<InHand>> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the invocation `id`; 400 where the process does not have it.
    fn end(&self, id: &str, answer: Answer) -> StatusCode {
        match self.in_flight().take_if(|(in_flight, _)| in_flight == id) {
            Some((_, to)) => {
                // Nobody waits for what comes after its time.
                let _ = to.send(answer);
                StatusCode::ACCEPTED
            }
            None => StatusCode::BAD_REQUEST,
        }
    }
}

/// Waits for an event. When the process dies its connection closes, this is dropped, and the pool
/// sees that nobody asks any more.
async fn next(State(api): State<Arc<Api>>) -> Response {
    let (asking, event) = oneshot::channel();
    if api.ask.send(NextRequest(asking)).await.is_err() {
        return StatusCode::GONE.into_response();
    }
    let Ok(Invocation { id, event, time_out, answer }) = event.await else {
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
    *api.in_flight() = Some((id, answer));
    (headers, event).into_response()
}

async fn response(State(api): State<Arc<Api>>, InPath(id): InPath<String>, body: Bytes) -> StatusCode {
    api.end(&id, Ok(body.into()))
}

async fn error(State(api): State<Arc<Api>>, InPath(id): InPath<String>, body: Bytes) -> StatusCode {
    let error = String::from_utf8_lossy(&body);
    tracing::error!(function = api.function, %error, "a function reports an error");
    api.end(&id, Err(Failure::Crashed))
}

async fn init_error(State(api): State<Arc<Api>>, body: Bytes) -> StatusCode {
    let error = String::from_utf8_lossy(&body);
    tracing::error!(function = api.function, %error, "a function reports that it does not start");
    StatusCode::ACCEPTED
}

/// The variables of a function's process: those of `variables` that the template gives it, and what
/// Lambda itself does.
pub fn environment(function: &Function, variables: &HashMap<String, String>) -> Vec<(String, String)> {
    let given = function.variables.iter().filter_map(|name| Some((name.clone(), variables.get(name)?.clone())));
    given.chain(of_lambda(function, variables)).collect()
}

/// What Lambda itself gives a process.
fn of_lambda(function: &Function, variables: &HashMap<String, String>) -> Vec<(String, String)> {
    const PASSED: [&str; 4] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION"];
    let own = [
        ("AWS_LAMBDA_FUNCTION_NAME", function.name.clone()),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", function.memory.to_string()),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".to_owned()),
        ("_HANDLER", "bootstrap".to_owned()),
        ("PATH", "/usr/local/bin:/usr/bin:/bin".to_owned()),
        ("TZ", ":UTC".to_owned()),
    ];
    let own = own.into_iter().map(|(name, value)| (name.to_owned(), value));
    let passed = PASSED.iter().filter_map(|name| Some(((*name).to_owned(), variables.get(*name)?.clone())));
    own.chain(passed).collect()
}

/// Reads what a process writes, and passes it on where it is `echo_output`: line by line, each behind the
/// function's name.
fn relay(function: &str, output: Option<impl AsyncRead + Unpin + Send + 'static>, echo_output: bool) {
    let Some(output) = output else { return };
    let function = function.to_owned();
    tokio::spawn(async move {
        let mut lines = BufReader::new(output).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            if echo_output {
                // Where stderr is closed there is nobody to tell.
                let _ = writeln!(std::io::stderr(), "[{function}] {line}");
            }
        }
    });
}

/// Whether a program is there and made for this machine, by the header of its ELF file.
fn check(program: &Path) -> Result<(), StartError> {
    let refused = |why: String| Err(StartError::Function(format!("{} {why}", program.display())));
    let mut header = [0; 20];
    match std::fs::File::open(program).and_then(|mut file| file.read_exact(&mut header)) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return refused(format!("is missing; {BUILD}")),
        Err(error) => return refused(format!("cannot be read ({error}); {BUILD}")),
    }
    // e_machine of the ELF specification, in the byte order of both.
    let machine = match (&header[..4], u16::from_le_bytes([header[18], header[19]])) {
        (b"\x7fELF", 62) => "x86_64",
        (b"\x7fELF", 183) => "aarch64",
        _ => return refused(format!("is no program for Lambda; {BUILD}")),
    };
    let in_process = std::env::consts::ARCH;
    let option = if in_process == "aarch64" { "--arm64" } else { "--x86-64" };
    if machine != in_process {
        return refused(format!("is made for {machine}, this machine is {in_process}; {BUILD} {option}"));
    }
    Ok(())
}
