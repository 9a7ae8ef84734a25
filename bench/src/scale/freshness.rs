//! The time from the response of a create until a search and a sorted list show the new end user.

use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};

use super::measure::GUESTS;
use crate::Result;
use crate::end_users;
use crate::http::{ApiClient, list};
use crate::times::Times;

/// The number of measured creates.
const MEASURED: u32 = 200;
/// The interval of requests. Without it they would take the processor from the indexing.
const INTERVAL: Duration = Duration::from_millis(5);
/// The time after which the measurement fails, because indexing does not keep up.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The times until end users were visible.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Freshness {
    /// The number of other creates per second.
    pub(crate) load: u32,
    pub(crate) list: Times,
    pub(crate) search: Times,
}

/// Measures creates, while `load` other end users are created per second.
pub(crate) async fn measure(api: &ApiClient, load: u32, bar: &ProgressBar) -> Result<Freshness> {
    let others = tokio::spawn(create_others(api.clone(), load));
    let (mut listed, mut found) = (Vec::new(), Vec::new());
    for i in 0..MEASURED {
        let number = GUESTS + i;
        let mut body = end_users::body(number);
        // Sorts before all other end users.
        body["lastname"] = format!("{:08}", GUESTS - i - 1_000 * load).into();
        body["company"] = format!("Fresh{load}x{i}x").into();
        let id = api.post("/api/EndUsers", &body).await?.expect(201)?.id()?;
        let created = Instant::now();
        let visible = async |path: String| -> Result<Duration> {
            while !api.get(&path).await?.expect(200)?.ids().contains(&id) {
                if created.elapsed() > TIMEOUT {
                    return Err(format!("{id} is not on {path}").into());
                }
                tokio::time::sleep(INTERVAL).await;
            }
            Ok(created.elapsed())
        };
        let search = list(&format!("Fresh{load}x{i}x"), "endUserID", false, 1);
        let (in_list, in_search) = tokio::try_join!(visible(list("", "lastname", false, 1)), visible(search))?;
        listed.push(in_list);
        found.push(in_search);
        bar.inc(1);
    }
    others.abort();
    Ok(Freshness { load, list: Times::of(listed), search: Times::of(found) })
}

/// Creates end users at a constant rate until it is aborted.
async fn create_others(api: ApiClient, per_second: u32) {
    if per_second == 0 {
        return;
    }
    let mut pace = tokio::time::interval(Duration::from_secs(1) / per_second);
    for number in GUESTS + MEASURED.. {
        pace.tick().await;
        let api = api.clone();
        // Failures are ignored: these creates are only load.
        tokio::spawn(async move { drop(api.post("/api/EndUsers", &end_users::body(number)).await) });
    }
}
