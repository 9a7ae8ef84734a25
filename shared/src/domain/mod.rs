//! The ground floor: what an end user, a UID and a ticket are. Knows neither HTTP nor AWS.

pub mod email;
pub mod end_user;
pub mod idempotency;
pub mod ids;
pub mod input;
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

    /// A file of the folder that `VECTORS` names; without the variable, of `../shared/vectors`, and
    /// `None` where that does not exist.
    pub(crate) fn file(name: &str) -> Option<String> {
        let named = env::var_os("VECTORS").map(PathBuf::from);
        let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/vectors");
        let folder = named.clone().unwrap_or_else(|| default.into());
        if named.is_none() && !folder.exists() {
            println!("{name} is not read: VECTORS is not set and there is no {}", folder.display());
            return None;
        }
        let path = folder.join(name);
        Some(fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
    }

    /// The rows of a CSV file, by column name.
    pub(super) fn csv(name: &str) -> Vec<HashMap<String, String>> {
        let text = file(name).unwrap_or_default();
        csv::Reader::from_reader(text.as_bytes())
            .deserialize()
            .map(|row| row.expect("a row of the header's width"))
            .collect()
    }

    /// The text of a cell whose row's `enc` says how it is written; `None` for what no UTF-8 holds.
    pub(super) fn cell(row: &HashMap<String, String>, column: &str) -> Option<String> {
        match row["enc"].as_str() {
            "json" => serde_json::from_str(&row[column]).ok(),
            _ => Some(row[column].clone()),
        }
    }
}
