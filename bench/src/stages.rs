//! Stages of a benchmark: each runs once, and its result is stored in a file.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::system::empty;
use crate::{Result, print_line};

/// The directory of the results.
pub(crate) struct Stages(PathBuf);

impl Stages {
    /// Opens or creates the directory. With `fresh` it is emptied.
    pub(crate) fn open(directory: &Path, fresh: bool) -> Result<Self> {
        if fresh {
            empty(directory)?;
        }
        std::fs::create_dir_all(directory)?;
        Ok(Self(directory.to_owned()))
    }

    /// Runs a stage, unless its result is stored. Returns the result.
    pub(crate) async fn run<T: Serialize + DeserializeOwned>(
        &self,
        name: &str,
        stage: impl AsyncFnOnce() -> Result<T>,
    ) -> Result<T> {
        let path = self.0.join(format!("{name}.json"));
        if path.exists() {
            return Ok(serde_json::from_slice(&std::fs::read(path)?)?);
        }
        print_line(&format!("{name} …"));
        let result = stage().await.map_err(|error| format!("{name}: {error}"))?;
        // The rename makes the write atomic.
        let unfinished = path.with_extension("unfinished");
        std::fs::write(&unfinished, serde_json::to_vec_pretty(&result)?)?;
        std::fs::rename(unfinished, path)?;
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn stage_runs_once_unless_it_failed_or_starts_fresh() {
        let directory = std::env::temp_dir().join(format!("bench-stages-{}", std::process::id()));
        let stages = Stages::open(&directory, true).expect("a directory");
        assert!(stages.run::<u32>("one", async || Err("not yet".into())).await.is_err());
        assert_eq!(stages.run("one", async || Ok(1)).await.expect("a result"), 1);
        assert_eq!(stages.run("one", async || Ok(2)).await.expect("a result"), 1);
        let stages = Stages::open(&directory, true).expect("a directory");
        assert_eq!(stages.run("one", async || Ok(3)).await.expect("a result"), 3);
        std::fs::remove_dir_all(&directory).expect("removed");
    }
}
