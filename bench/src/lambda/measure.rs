//! Measurements of one program behind a Runtime API.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use local::runtime::{NextRequest, Process};
use tests::proxy::Proxy;
use tokio::process::Command;

use super::quota::Quota;
use super::subject::Subject;
use crate::times::Times;
use crate::{Result, process};

/// The number of repetitions.
#[derive(Clone, Copy)]
pub(crate) struct Repeats {
    pub(crate) starts: u32,
    pub(crate) warm: u32,
    /// Invocations at each memory size.
    pub(crate) throttled: u32,
}

/// The results of one request to one program.
pub(crate) struct Measured {
    pub(crate) request: String,
    pub(crate) program: String,
    /// The size of the program.
    pub(crate) bytes: u64,
    /// The time from exec until the program requests its first event.
    pub(crate) init: Times,
    pub(crate) init_cpu_ms: f64,
    /// The durations of first invocations.
    pub(crate) first: Times,
    pub(crate) warm: Times,
    /// The user and system time of a warm invocation, until the program requests the next event.
    pub(crate) warm_cpu_ms: f64,
    /// The database requests per invocation.
    pub(crate) calls: f64,
    pub(crate) peak_mb: f64,
    pub(crate) throttled: Vec<Throttled>,
}

/// The durations with a CPU quota, which begins after the start: on Lambda a start has a whole CPU.
pub(crate) struct Throttled {
    pub(crate) mb: u32,
    pub(crate) first: Times,
    pub(crate) warm: Times,
}

/// A running program.
pub(super) struct Running<'a> {
    subject: &'a Subject,
    process: Process,
    next_request: Option<NextRequest>,
    /// The number of events so far, of all processes.
    next: &'a mut u32,
}

impl<'a> Running<'a> {
    /// Starts the program. Returns the time until it requested its first event.
    async fn start(subject: &'a Subject, program: &Path, next: &'a mut u32) -> Result<(Self, Duration)> {
        Self::run(Command::new(program), &subject.environment, subject, next).await
    }

    /// Starts the program with a command and an environment.
    pub(super) async fn run(
        command: Command,
        environment: &[(String, String)],
        subject: &'a Subject,
        next: &'a mut u32,
    ) -> Result<(Self, Duration)> {
        let started = Instant::now();
        let mut process = Process::start(subject.request, command, environment, false).await?;
        let next_request = Some(process.next_request().await.ok_or("the program does not start")?);
        Ok((Self { subject, process, next_request, next }, started.elapsed()))
    }

    /// Sends one event. Returns the time until the response. Work after the response is complete when this returns.
    async fn invoke(&mut self) -> Result<Duration> {
        let event = self.subject.event(*self.next);
        *self.next += 1;
        let request = self.next_request.take().ok_or("the program requested no event")?;
        let started = Instant::now();
        let response = request.dispatch(event, self.subject.function.time_out).await.ok_or("no response")?;
        let took = started.elapsed();
        if !Subject::is_success(&response) {
            return Err(format!("unexpected response: {}", String::from_utf8_lossy(&response)).into());
        }
        self.next_request = Some(self.process.next_request().await.ok_or("the program ended")?);
        Ok(took)
    }

    pub(super) async fn invoke_often(&mut self, count: u32) -> Result<Times> {
        let mut took = Vec::new();
        for _ in 0..count {
            took.push(self.invoke().await?);
        }
        Ok(Times::of(took))
    }

    /// Ends the program in order.
    pub(super) async fn end(self) -> Result<()> {
        Ok(self.process.end(self.next_request.ok_or("the program requested no event")?).await?)
    }

    fn id(&self) -> Result<u32> {
        Ok(self.process.id().ok_or("the program ended")?)
    }

    fn directory(&self) -> Result<PathBuf> {
        Ok(PathBuf::from(format!("/proc/{}", self.id()?)))
    }
}

/// Measures a request to its program in the directory `functions`. `proxy` counts the database requests.
pub(crate) async fn measure(
    subject: &Subject,
    functions: &Path,
    proxy: &Proxy,
    repeats: Repeats,
    memories: &[u32],
) -> Result<Measured> {
    /// The invocations over which database requests are counted.
    const COUNTED: u32 = 10;
    /// The starts at each memory size: the duration depends on the position within the quota's period.
    const THROTTLED_STARTS: u32 = 9;
    let next = &mut 0;
    let program = functions.join(&subject.program).join("bootstrap");
    let (mut inits, mut init_cpu, mut firsts) = (Vec::new(), Duration::ZERO, Vec::new());
    for _ in 0..repeats.starts {
        let (mut running, init) = Running::start(subject, &program, next).await?;
        init_cpu += process::cpu(&running.directory()?)?;
        inits.push(init);
        firsts.push(running.invoke().await?);
    }
    let (mut running, _) = Running::start(subject, &program, next).await?;
    // One-time work is done before the measurement.
    running.invoke_often(repeats.warm / 20 + 1).await?;
    let directory = running.directory()?;
    let before = process::cpu(&directory)?;
    let warm = running.invoke_often(repeats.warm).await?;
    let warm_cpu = process::cpu(&directory)? - before;
    let peak_mb = process::peak(&directory)?;
    drop(running);
    let (mut running, _) = Running::run(Command::new(&program), &subject.through(proxy.url()), subject, next).await?;
    let (before, _) = proxy.injected();
    running.invoke_often(COUNTED).await?;
    let calls = (proxy.injected().0 - before) as f64 / f64::from(COUNTED);
    drop(running);
    let mut throttled = Vec::new();
    for &mb in memories {
        let quota = Quota::new(mb)?;
        let (mut firsts, mut warm) = (Vec::new(), Times::default());
        for start in 1..=THROTTLED_STARTS {
            let (mut running, _) = Running::start(subject, &program, next).await?;
            quota.limit(running.id()?)?;
            firsts.push(running.invoke().await?);
            if start == THROTTLED_STARTS {
                warm = running.invoke_often(repeats.throttled).await?;
            }
        }
        throttled.push(Throttled { mb, first: Times::of(firsts), warm });
    }
    let millis = |cpu: Duration, count: u32| cpu.as_secs_f64() * 1e3 / f64::from(count);
    Ok(Measured {
        request: subject.request.to_owned(),
        program: subject.program.clone(),
        bytes: std::fs::metadata(&program)?.len(),
        init: Times::of(inits),
        init_cpu_ms: millis(init_cpu, repeats.starts),
        first: Times::of(firsts),
        warm,
        warm_cpu_ms: millis(warm_cpu, repeats.warm),
        calls,
        peak_mb,
        throttled,
    })
}
