//! The system under load: `local` and its functions as processes that can be killed.

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

/// The location of the data.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum DataLocation {
    /// The embedded engine of the system that is killed.
    Disk,
    /// An engine in this process, behind a proxy that injects faults.
    BehindProxy,
}

/// A process of `local`, and the processes of its functions.
pub(crate) struct SystemUnderLoad {
    command: Command,
    child: Child,
    address: SocketAddr,
    table: String,
    directory: PathBuf,
    /// The proxy and the engine of [`DataLocation::BehindProxy`].
    proxied: Option<(Proxy, Local)>,
    pub(crate) processes_killed: u64,
    pub(crate) restarts: u64,
}

/// Builds the program `local` into the folder of this program.
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

impl SystemUnderLoad {
    pub(crate) async fn start(root: &Path, location: DataLocation, seed: u64) -> Result<Self, String> {
        let failed = |error: std::io::Error| error.to_string();
        let program = std::env::current_exe().map_err(failed)?.with_file_name("local");
        let table = format!("endurance-{}-{}", std::process::id(), location as u8);
        let directory = std::env::temp_dir().join(&table);
        std::fs::create_dir_all(&directory).map_err(failed)?;
        let proxied = match location {
            DataLocation::Disk => None,
            DataLocation::BehindProxy => {
                let variables = HashMap::from([("JWT_SECRET".to_owned(), SECRET.to_owned())]);
                let options = Options { port: 0, storage: Storage::Memory, demo: false, functions: None, variables };
                let engine = Local::start(options).await.map_err(|e| e.to_string())?;
                let proxy = Proxy::start(engine.engine_url(), seed).await.map_err(failed)?;
                Some((proxy, engine))
            }
        };
        // A fixed port, so that clients find the system again after a restart.
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
        system.wait_until_listening().await?;
        if let Some((proxy, _)) = &system.proxied {
            let faults = Fault::ALL.into_iter().filter(|fault| !fault.is_silent()).map(|fault| (fault, 0.01));
            let silent = [(Fault::SilentBefore, 0.0005), (Fault::SilentAfter, 0.0005)];
            proxy.inject(Plan { faults: faults.chain(silent).collect(), reads: 0.5, only: None });
        }
        Ok(system)
    }

    /// The address of the gateway, which stays the same after a restart.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until `local` accepts connections, for at most 60 s.
    async fn wait_until_listening(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(self.address).await.is_err() {
            // With injected faults a start can fail.
            if self.child.try_wait().map_err(|e| e.to_string())?.is_some() {
                self.child = self.command.spawn().map_err(|e| e.to_string())?;
            }
            if Instant::now() > deadline {
                let log = std::fs::read_to_string(self.directory.join("log")).unwrap_or_default();
                return Err(format!("local does not listen: {log}"));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Kills `local` with SIGKILL and starts it on the same data.
    pub(crate) async fn kill_and_restart(&mut self) {
        self.kill();
        self.restarts += 1;
        if let Ok(child) = self.command.spawn() {
            self.child = child;
            // The audit fails if `local` does not start.
            let _ = self.wait_until_listening().await;
        }
    }

    fn kill(&mut self) {
        // An error means that the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Kills one random process of a function with SIGKILL.
    pub(crate) fn kill_a_process(&mut self, rng: &mut Rng) {
        let variable = format!("\0TABLE_NAME={}\0", self.table);
        let processes = std::fs::read_dir("/proc").into_iter().flatten().filter_map(|entry| {
            let process: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let environment = std::fs::read(format!("/proc/{process}/environ")).ok()?;
            let is_of_system = String::from_utf8_lossy(&[b"\0", &environment[..]].concat()).contains(&variable);
            (is_of_system && process != self.child.id()).then_some(process)
        });
        let processes: Vec<_> = processes.collect();
        if let Some(victim) = rng.choice(processes) {
            let killed = Command::new("kill").args(["-9", &victim.to_string()]).stderr(Stdio::null()).status();
            self.processes_killed += u64::from(killed.is_ok_and(|status| status.success()));
        }
    }

    /// Stops the injection of faults, and waits until the system listens.
    pub(crate) async fn stop_faults(&mut self) -> Result<(), String> {
        if let Some((proxy, _)) = &self.proxied {
            proxy.inject(Plan::default());
        }
        self.wait_until_listening().await
    }

    /// Kills the system and runs `index check` for a tenant. Returns its output if it finds an error.
    pub(crate) fn check_index(&mut self, tenant: u64) -> Result<(), String> {
        self.kill();
        let mut command = Command::new(self.command.get_program());
        command.args(["index", "check", "--customer", &tenant.to_string(), "--data"]).arg(&self.directory);
        command.env("TABLE_NAME", &self.table).env_remove("AWS_ENDPOINT_URL_DYNAMODB");
        if let Some((_, engine)) = &self.proxied {
            command.env("AWS_ENDPOINT_URL_DYNAMODB", engine.engine_url());
        }
        let output = command.output().map_err(|error| error.to_string())?;
        let printed = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        if output.status.success() { Ok(()) } else { Err(format!("the index of tenant {tenant}: {printed}")) }
    }

    /// The database calls through the proxy, and the faults injected into them; `None` without a proxy.
    pub(crate) fn calls_and_faults(&self) -> Option<(u64, u64)> {
        let (calls, faults) = self.proxied.as_ref()?.0.injected();
        Some((calls, faults.values().sum()))
    }
}

impl Drop for SystemUnderLoad {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
