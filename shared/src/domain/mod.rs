//! End users, UIDs, tickets and searches: typed values, validation and rules. No HTTP, no AWS, no clock.

pub mod email;
pub mod end_user;
pub mod idempotency;
pub mod ids;
pub mod input;
pub mod page;
pub mod phone;
pub mod profile;
pub mod search;
pub mod text;
pub mod ticket;
pub mod time;
pub mod uid;

#[cfg(test)]
pub(crate) mod vectors {
    use std::collections::HashMap;
    use std::path::PathBuf;
    use std::{env, fs};

    /// Reads a file of test vectors from the folder `VECTORS`, by default `../shared/vectors` beside the repository;
    /// `None` if the default folder does not exist.
    pub(crate) fn file(name: &str) -> Option<String> {
        let named = env::var_os("VECTORS").map(PathBuf::from);
        let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/vectors");
        let folder = named.clone().unwrap_or_else(|| default.into());
        if named.is_none() && !folder.exists() {
            println!("skipped {name}: VECTORS is not set and {} does not exist", folder.display());
            return None;
        }
        let path = folder.join(name);
        Some(fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
    }

    /// The rows of a CSV file of test vectors, by column name.
    pub(super) fn csv(name: &str) -> Vec<HashMap<String, String>> {
        let text = file(name).unwrap_or_default();
        csv::Reader::from_reader(text.as_bytes())
            .deserialize()
            .map(|row| row.expect("a row of the header's width"))
            .collect()
    }

    /// The text of a cell, decoded as the row's column `enc` says; `None` if it is not valid UTF-8.
    pub(super) fn cell(row: &HashMap<String, String>, column: &str) -> Option<String> {
        match row["enc"].as_str() {
            "json" => serde_json::from_str(&row[column]).ok(),
            _ => Some(row[column].clone()),
        }
    }
}
