//! One program over a Runtime API of its own.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use local::runtime::{NextRequest, Process};
use tests::proxy::Proxy;
use tokio::process::Command;

use super::quota::Quota;
use super::subject::Subject;
use crate::times::Times;
use crate::{Outcome, process};

/// How often each thing is done.
#[derive(Clone, Copy)]
pub(crate) struct Repeats {
    pub(crate) starts: u32,
    pub(crate) warm: u32,
    /// Invocations at each size of memory.
    pub(crate) held: u32,
}

/// What one request to one program takes.
pub(crate) struct Measured {
    pub(crate) request: String,
    pub(crate) program: String,
    pub(crate) bytes: u64,
    /// From exec until it asks for its first event.
    pub(crate) init: Times,
    pub(crate) init_cpu_ms: f64,
    /// The first invocation.
    pub(crate) first: Times,
    pub(crate) warm: Times,
    /// User and system time of a warm invocation, from event to asking for the next.
    pub(crate) warm_cpu_ms: f64,
    /// Calls to the database per invocation.
    pub(crate) calls: f64,
    pub(crate) peak_mb: f64,
    pub(crate) held: Vec<Held>,
}

/// The same with a CPU quota behind the start, as on Lambda, where a start has a whole CPU.
pub(crate) struct Held {
    pub(crate) mb: u32,
    pub(crate) first: Times,
    pub(crate) warm: Times,
}

/// A program and what was asked of it.
pub(super) struct Running<'a> {
    subject: &'a Subject,
    process: Process,
    asking: Option<NextRequest>,
    /// How many events there were, of all processes.
    next: &'a mut u32,
}

impl<'a> Running<'a> {
    /// Starts it; answers how long it took until it asked for an event.
    async fn start(subject: &'a Subject, program: &Path, next: &'a mut u32) -> Outcome<(Self, Duration)> {
        Self::run(Command::new(program), &subject.environment, subject, next).await
    }

    /// The same by a command, in an environment.
    pub(super) async fn run(
        command: Command,
        environment: &[(String, String)],
        subject: &'a Subject,
        next: &'a mut u32,
    ) -> Outcome<(Self, Duration)> {
        let started = Instant::now();
        let mut process = Process::start(subject.request, command, environment, false).await?;
        let asking = Some(process.next_request().await.ok_or("it does not start")?);
        Ok((Self { subject, process, asking, next }, started.elapsed()))
    }

    /// The time until the answer; what the function does behind it is over when this returns.
    async fn invoke(&mut self) -> Outcome<Duration> {
        let event = self.subject.event(*self.next);
        *self.next += 1;
        let asking = self.asking.take().ok_or("it asks for nothing")?;
        let started = Instant::now();
        let answer = asking.dispatch(event, self.subject.function.time_out).await.ok_or("it has no answer")?;
        let took = started.elapsed();
        if !Subject::is_good(&answer) {
            return Err(format!("it answers {}", String::from_utf8_lossy(&answer)).into());
        }
        self.asking = Some(self.process.next_request().await.ok_or("it ended")?);
        Ok(took)
    }

    pub(super) async fn invoke_often(&mut self, count: u32) -> Outcome<Times> {
        let mut took = Vec::new();
        for _ in 0..count {
            took.push(self.invoke().await?);
        }
        Ok(Times::of(took))
    }

    /// Has it end by itself.
    pub(super) async fn end(self) -> Outcome<()> {
        Ok(self.process.end(self.asking.ok_or("it asks for nothing")?).await?)
    }

    fn id(&self) -> Outcome<u32> {
        Ok(self.process.id().ok_or("it ended")?)
    }

    fn directory(&self) -> Outcome<PathBuf> {
        Ok(PathBuf::from(format!("/proc/{}", self.id()?)))
    }
}

/// Measures a request to its program under `functions`; calls to the database are counted by a proxy before
/// it.
pub(crate) async fn measure(
    subject: &Subject,
    functions: &Path,
    proxy: &Proxy,
    repeats: Repeats,
    memories: &[u32],
) -> Outcome<Measured> {
    /// Over how many invocations calls are counted.
    const COUNTED: u32 = 10;
    /// How often it is started at each size of memory: under a quota one start may just miss a period.
    const HELD_STARTS: u32 = 9;
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
    // What is made once is made.
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
    let mut held = Vec::new();
    for &mb in memories {
        let quota = Quota::new(mb)?;
        let (mut firsts, mut warm) = (Vec::new(), Times::default());
        for start in 1..=HELD_STARTS {
            let (mut running, _) = Running::start(subject, &program, next).await?;
            quota.hold(running.id()?)?;
            firsts.push(running.invoke().await?);
            if start == HELD_STARTS {
                warm = running.invoke_often(repeats.held).await?;
            }
        }
        held.push(Held { mb, first: Times::of(firsts), warm });
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
        held,
    })
}
