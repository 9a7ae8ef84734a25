//! The only list of tests that do not run everywhere, with the reasons.

/// A requirement of a test on the system under test.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    /// Functions that run as processes of `local`.
    Processes,
    /// `local` itself, not a deployed stack.
    Local,
}

const LOCAL_PATHS: &str = "it uses paths that only local has";
const RAW: &str = "the emulator's gateway responds differently from API Gateway";
const PROXY: &str = "its proxy is between local and the database";

/// The name of a test, or of a suite with `::` at its end; its requirement; and the reason.
pub const SKIPS: &[(&str, Need, &str)] = &[
    (
        "processes::killed_functions_lose_no_acknowledged_write",
        Need::Processes,
        "in-process there is no process to kill",
    ),
    ("processes::", Need::Local, "it tests the processes of local"),
    ("issuer::", Need::Local, "its issuers use HTTP, and the template allows only HTTPS"),
    ("faults::", Need::Local, PROXY),
    ("contention::", Need::Local, PROXY),
    ("races::", Need::Local, PROXY),
    ("model::", Need::Local, "the emulator starts a process for each concurrent call"),
    ("index::slow_indexing_of_an_older_document_changes_nothing", Need::Local, PROXY),
    ("index::killed_indexing_leaves_no_wrong_entry", Need::Local, PROXY),
    ("deep_pages::block_changes_leave_no_page_empty", Need::Local, PROXY),
    ("stream::", Need::Local, PROXY),
    ("tickets::events::slow_delivery_does_not_undo_a_newer_one", Need::Local, PROXY),
    ("tickets::events::event_with_duplicate_members_is_invalid", Need::Local, LOCAL_PATHS),
    (
        "tickets::events::ticket_with_very_many_topics_stays_writable",
        Need::Local,
        "events of one ticket compete for longer than the second for which a stack of the tests hides a message",
    ),
    ("auth::bad_tokens_are_rejected_on_every_route", Need::Local, RAW),
    ("gateway::bodies_over_the_gateway_limit_reach_no_function", Need::Local, RAW),
    ("gateway::quotes_and_brackets_in_a_query_are_literal", Need::Local, RAW),
    ("gateway::unusual_request_lines_and_hosts_never_cause_a_5xx", Need::Local, RAW),
    ("gateway::two_authorization_headers_are_rejected", Need::Local, RAW),
    ("gateway::paths_and_methods_match_exactly", Need::Local, RAW),
    ("gateway::settle_waits_until_events_are_visible", Need::Local, LOCAL_PATHS),
    ("gateway::ticket_events_are_json_or_ndjson", Need::Local, LOCAL_PATHS),
    ("gateway::ticket_events_are_accepted_even_if_invalid", Need::Local, LOCAL_PATHS),
];

/// The reason why a test does not run where `need` is not met; `None` if the test runs.
pub fn reason(test: &str, need: Need) -> Option<&'static str> {
    let matches = |name: &str| test == name || name.ends_with("::") && test.starts_with(name);
    SKIPS.iter().find(|(name, needed, _)| *needed == need && matches(name)).map(|(_, _, reason)| *reason)
}
