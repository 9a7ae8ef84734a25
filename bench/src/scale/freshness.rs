//! How long after the answer to a create the new end user is found by a search, and stands in a sorted list.

use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};

use super::measure::GUESTS;
use crate::Outcome;
use crate::end_users;
use crate::http::{Caller, list};
use crate::times::Times;

/// How many creates are followed.
const FOLLOWED: u32 = 200;
/// Between two looks whether they show: without it the looking takes the processor from the indexing.
const PAUSE: Duration = Duration::from_millis(5);
/// Who does not show by then shows that indexing does not keep up.
const GIVEN_UP: Duration = Duration::from_secs(60);

/// How long it took until end users showed.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Freshness {
    /// How many others are created each second.
    pub(crate) load: u32,
    pub(crate) list: Times,
    pub(crate) search: Times,
}

/// Follows creates while `load` others are created each second.
pub(crate) async fn measure(caller: &Caller, load: u32, bar: &ProgressBar) -> Outcome<Freshness> {
    let others = tokio::spawn(create_others(caller.clone(), load));
    let (mut listed, mut found) = (Vec::new(), Vec::new());
    for i in 0..FOLLOWED {
        let number = GUESTS + i;
        let mut body = end_users::body(number);
        // Before all others and all who came earlier.
        body["lastname"] = format!("{:08}", GUESTS - i - 1_000 * load).into();
        body["company"] = format!("Fresh{load}x{i}x").into();
        let id = caller.post("/api/EndUsers", &body).await?.expect(201)?.id()?;
        let answered = Instant::now();
        let shows = async |path: String| -> Outcome<Duration> {
            while !caller.get(&path).await?.expect(200)?.ids().contains(&id) {
                if answered.elapsed() > GIVEN_UP {
                    return Err(format!("{id} does not show on {path}").into());
                }
                tokio::time::sleep(PAUSE).await;
            }
            Ok(answered.elapsed())
        };
        let search = list(&format!("Fresh{load}x{i}x"), "endUserID", false, 1);
        let (in_list, in_search) = tokio::try_join!(shows(list("", "lastname", false, 1)), shows(search))?;
        listed.push(in_list);
        found.push(in_search);
        bar.inc(1);
    }
    others.abort();
    Ok(Freshness { load, list: Times::of(listed), search: Times::of(found) })
}

/// Creates so many end users a second, until it is aborted.
async fn create_others(caller: Caller, a_second: u32) {
    if a_second == 0 {
        return;
    }
    let mut pace = tokio::time::interval(Duration::from_secs(1) / a_second);
    for number in GUESTS + FOLLOWED.. {
        pace.tick().await;
        let caller = caller.clone();
        // Whether it succeeds is not what is measured.
        tokio::spawn(async move { drop(caller.post("/api/EndUsers", &end_users::body(number)).await) });
    }
}
