//! The memory and time of a Lambda function for the largest search.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::http::{ApiClient, list};
use crate::{Result, end_users, process};

/// The measured function.
const FUNCTION: &str = "list-end-users";
/// The function's memory on Lambda.
const MB: f64 = 256.0;

/// The memory and time of one request.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Footprint {
    pub(crate) request: String,
    pub(crate) status: u16,
    /// The peak resident memory of the process so far.
    pub(crate) peak_mb: f64,
    pub(crate) cpu_seconds: f64,
    /// The CPU time divided by the vCPU share of a function of 256 MB.
    pub(crate) lambda_seconds: f64,
    pub(crate) wall_seconds: f64,
}

/// Measures the search that finds 30 % of a tenant, `found` end users. Functions must run as processes.
pub(crate) async fn measure(api: &ApiClient, found: u32) -> Result<Vec<Footprint>> {
    api.get("/api/EndUsers").await?.expect(200)?;
    let process = process::of_function(FUNCTION)?;
    let mut all = Vec::new();
    for (request, order, page) in [
        ("search, 30 % found", "endUserID", 1),
        ("search, 30 % found, by lastname", "lastname", 1),
        ("search, 30 % found, middle page by lastname", "lastname", found / 20),
    ] {
        let (before, started) = (process::cpu(&process)?, Instant::now());
        let response = api.get(&list(end_users::FREQUENT, order, false, page)).await?;
        let wall_seconds = started.elapsed().as_secs_f64();
        let cpu_seconds = (process::cpu(&process)? - before).as_secs_f64();
        let lambda_seconds = cpu_seconds * process::MB_PER_VCPU / MB;
        let (request, status, peak_mb) = (request.to_owned(), response.status, process::peak(&process)?);
        all.push(Footprint { request, status, peak_mb, cpu_seconds, lambda_seconds, wall_seconds });
    }
    Ok(all)
}
