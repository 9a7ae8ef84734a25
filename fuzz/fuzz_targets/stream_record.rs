//! A record of the table's stream, as JSON.
#![no_main]

use aws_lambda_events::dynamodb::EventRecord;
use index_end_users::{Task, tasks};
use libfuzzer_sys::fuzz_target;
use shared::store::keys;

fuzz_target!(|input: &[u8]| {
    let Ok(record) = serde_json::from_slice::<EventRecord>(input) else { return };
    for (tenant, task) in tasks(&record) {
        let stored: serde_json::Value = serde_dynamo::from_item(record.change.keys.clone()).expect("keys");
        let key = match task {
            Task::Index(id) => keys::end_user(&tenant, id),
            Task::Count(field) => keys::rank_index(&tenant, field),
            Task::Erase(..) => continue,
        };
        assert_eq!(stored["pk"], key.pk, "the task is of another item");
        // An id can have another number of leading zeros.
        let same = |sk: &str| sk == key.sk || sk.parse::<u64>().is_ok_and(|id| Some(id) == key.sk.parse().ok());
        assert!(stored["sk"].as_str().is_some_and(same), "the task is of another item");
    }
});
