//! The one list of the tests that do not run everywhere, and why.

/// What a test needs of the system under test.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    /// Functions that run as processes of `local`.
    Processes,
    /// `local` itself: a deployed stack cannot serve the test.
    Local,
}

const LOCAL_PATHS: &str = "it uses paths that only local has";
const RAW: &str = "it sends what the emulator's gateway answers in its own way";
const PROXY: &str = "its proxy stands between local and the database";

/// The tests with a need: a test's name, or a suite's with `::` at its end; and the reason.
pub const SKIPS: &[(&str, Need, &str)] = &[
    (
        "processes::killed_functions_lose_no_acknowledged_write",
        Need::Processes,
        "in-process there is no process to kill",
    ),
    ("processes::", Need::Local, "it is about local's own processes"),
    ("issuer::", Need::Local, "its issuers speak HTTP, and the template takes HTTPS alone"),
    ("faults::", Need::Local, PROXY),
    ("hot::", Need::Local, PROXY),
    ("model::", Need::Local, "the emulator starts a process for each concurrent call"),
    ("index::a_slow_indexing_of_an_older_document_changes_nothing", Need::Local, PROXY),
    ("index::an_indexing_that_ended_half_way_leaves_nothing_wrong_behind", Need::Local, PROXY),
    ("pages::a_block_that_comes_or_goes_empties_no_page", Need::Local, PROXY),
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

/// The reason for which a test does not run where `need` is not met.
pub fn reason(test: &str, need: Need) -> Option<&'static str> {
    let matches = |name: &str| test == name || name.ends_with("::") && test.starts_with(name);
    SKIPS.iter().find(|(name, needed, _)| *needed == need && matches(name)).map(|(_, _, reason)| *reason)
}
