//! The system under load, as processes that can be killed.

use std::collections::HashMap;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fastrand::Rng;
use local::{Local, Options, Storage};
use tests::proxy::{Fault, Plan, Proxy};
use tokio::net::TcpStream;

/// The secret of the tokens.
pub(crate) const SECRET: &str = "a secret of the endurance run, of more than 32 bytes";

/// Where the data is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the embedded engine of the system that is killed.
    Disk,
    /// In an engine of ours, behind a proxy that makes trouble.
    BehindProxy,
}

/// A `local` that is a process, and its functions.
pub(crate) struct System {
    command: Command,
    child: Child,
    address: SocketAddr,
    table: String,
    directory: PathBuf,
    /// Of a data place of ours: the trouble, and the engine behind it.
    proxied: Option<(Proxy, Local)>,
    pub(crate) processes_killed: u64,
    pub(crate) restarts: u64,
}

/// The program `local` beside this one.
pub(crate) fn build(root: &Path) -> Result<(), String> {
    let functions = root.join("target/lambda");
    if !functions.is_dir() {
        return Err(format!("{} is missing; build it with: cargo lambda build --release", functions.display()));
    }
    let mut command = Command::new(env!("CARGO"));
    command.args(["build", "--locked", "-p", "local"]).current_dir(root);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let built = command.status().map_err(|e| format!("cargo cannot be run: {e}"))?;
    if built.success() { Ok(()) } else { Err("local does not build".to_owned()) }
}

impl System {
    pub(crate) async fn start(root: &Path, place: Place, seed: u64) -> Result<Self, String> {
        let failed = |error: std::io::Error| error.to_string();
        let program = std::env::current_exe().map_err(failed)?.with_file_name("local");
        let table = format!("endurance-{}-{}", std::process::id(), place as u8);
        let directory = std::env::temp_dir().join(&table);
        std::fs::create_dir_all(&directory).map_err(failed)?;
        let proxied = match place {
            Place::Disk => None,
            Place::BehindProxy => {
                let variables = HashMap::from([("JWT_SECRET".to_owned(), SECRET.to_owned())]);
                let options = Options { port: 0, storage: Storage::Memory, demo: false, functions: None, variables };
                let engine = Local::start(options).await.map_err(|e| e.to_string())?;
                let proxy = Proxy::start(engine.engine_url(), seed).await.map_err(failed)?;
                Some((proxy, engine))
            }
        };
        // A port that is free now is taken for good, so that clients find the system again.
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = port.map_err(failed)?;
        let log = File::create(directory.join("log")).map_err(failed)?;
        let mut command = Command::new(program);
        command
            .args(["serve", "--no-demo", "--port", &address.port().to_string()])
            .arg("--data")
            .arg(&directory)
            .arg("--functions")
            .arg(root.join("target/lambda"))
            .env("TABLE_NAME", &table)
            .env("JWT_SECRET", SECRET)
            .env_remove("AWS_ENDPOINT_URL_DYNAMODB")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        if let Some((proxy, _)) = &proxied {
            command.env("AWS_ENDPOINT_URL_DYNAMODB", proxy.url());
        }
        let child = command.spawn().map_err(failed)?;
        let mut system = Self { command, child, address, table, directory, proxied, processes_killed: 0, restarts: 0 };
        system.answers().await?;
        if let Some((proxy, _)) = &system.proxied {
            let faults = Fault::ALL.into_iter().filter(|fault| !fault.is_silent()).map(|fault| (fault, 0.01));
            let silent = [(Fault::SilentBefore, 0.0005), (Fault::SilentAfter, 0.0005)];
            proxy.inject(Plan { faults: faults.chain(silent).collect(), reads: 0.5, only: None });
        }
        Ok(system)
    }

    /// Where it answers, also after a restart.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until it takes connections.
    async fn answers(&mut self) -> Result<(), String> {
        let until = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(self.address).await.is_err() {
            // Under trouble a start may fail.
            if self.child.try_wait().map_err(|e| e.to_string())?.is_some() {
                self.child = self.command.spawn().map_err(|e| e.to_string())?;
            }
            if Instant::now() > until {
                let log = std::fs::read_to_string(self.directory.join("log")).unwrap_or_default();
                return Err(format!("local does not answer: {log}"));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// `kill -9` of all of it, and a start on the same data.
    pub(crate) async fn kill_and_restart(&mut self) {
        self.kill();
        self.restarts += 1;
        if let Ok(child) = self.command.spawn() {
            self.child = child;
            // What does not come up is found by the audit.
            let _ = self.answers().await;
        }
    }

    fn kill(&mut self) {
        // An error says that it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// `kill -9` of one process of a function.
    pub(crate) fn kill_a_process(&mut self, rng: &mut Rng) {
        let mine = format!("\0TABLE_NAME={}\0", self.table);
        let processes = std::fs::read_dir("/proc").into_iter().flatten().filter_map(|entry| {
            let process: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let environment = std::fs::read(format!("/proc/{process}/environ")).ok()?;
            let ours = String::from_utf8_lossy(&[b"\0", &environment[..]].concat()).contains(&mine);
            (ours && process != self.child.id()).then_some(process)
        });
        let processes: Vec<_> = processes.collect();
        if let Some(victim) = rng.choice(processes) {
            let killed = Command::new("kill").args(["-9", &victim.to_string()]).stderr(Stdio::null()).status();
            self.processes_killed += u64::from(killed.is_ok_and(|status| status.success()));
        }
    }

    /// No more trouble, and a system that runs.
    pub(crate) async fn calm(&mut self) -> Result<(), String> {
        if let Some((proxy, _)) = &self.proxied {
            proxy.inject(Plan::default());
        }
        self.answers().await
    }

    /// Ends it, and checks the index of a tenant; answers what is wrong with it.
    pub(crate) fn check_index(&mut self, tenant: u64) -> Result<(), String> {
        self.kill();
        let mut command = Command::new(self.command.get_program());
        command.args(["index", "check", "--customer", &tenant.to_string(), "--data"]).arg(&self.directory);
        command.env("TABLE_NAME", &self.table).env_remove("AWS_ENDPOINT_URL_DYNAMODB");
        if let Some((_, engine)) = &self.proxied {
            command.env("AWS_ENDPOINT_URL_DYNAMODB", engine.engine_url());
        }
        let output = command.output().map_err(|error| error.to_string())?;
        let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
        if output.status.success() { Ok(()) } else { Err(format!("the index of tenant {tenant}: {said}")) }
    }

    /// Calls of the database through the proxy, and faults injected into them.
    pub(crate) fn trouble(&self) -> Option<(u64, u64)> {
        let (calls, faults) = self.proxied.as_ref()?.0.injected();
        Some((calls, faults.values().sum()))
    }
}

impl Drop for System {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
