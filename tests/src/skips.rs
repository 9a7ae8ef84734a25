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
    ("model::", Need::Local, "the emulator starts a process for each concurrent call"),
    ("index::slow_indexing_of_an_older_document_changes_nothing", Need::Local, PROXY),
    ("index::killed_indexing_leaves_no_wrong_entry", Need::Local, PROXY),
    ("deep_pages::block_changes_leave_no_page_empty", Need::Local, PROXY),
    ("stream::", Need::Local, PROXY),
    ("tickets::a_slow_delivery_does_not_undo_a_newer_one", Need::Local, PROXY),
    ("tickets::duplicate_members_of_an_event_are_bad", Need::Local, LOCAL_PATHS),
    (
        "tickets::a_ticket_with_very_many_topics_stays_writable",
        Need::Local,
        "events of one ticket compete for longer than the second for which a stack of the tests hides a message",
    ),
    ("auth::no_route_opens_to_a_bad_token_and_none_has_an_effect", Need::Local, RAW),
    ("gateway::a_body_that_the_gateway_does_not_take_never_reaches_a_function", Need::Local, RAW),
    ("gateway::a_quote_or_a_bracket_in_the_query_means_itself", Need::Local, RAW),
    ("gateway::no_raw_request_line_or_host_is_a_server_fault", Need::Local, RAW),
    ("gateway::of_two_authorizations_none_counts_whichever_comes_first", Need::Local, RAW),
    ("gateway::paths_and_methods_match_exactly", Need::Local, RAW),
    ("gateway::settled_means_that_what_was_sent_is_seen", Need::Local, LOCAL_PATHS),
    ("gateway::ticket_events_are_taken_as_json_one_or_one_per_line", Need::Local, LOCAL_PATHS),
    ("gateway::ticket_events_are_taken_one_or_many_valid_or_not", Need::Local, LOCAL_PATHS),
];

/// The reason why a test does not run where `need` is not met; `None` if the test runs.
pub fn reason(test: &str, need: Need) -> Option<&'static str> {
    let matches = |name: &str| test == name || name.ends_with("::") && test.starts_with(name);
    SKIPS.iter().find(|(name, needed, _)| *needed == need && matches(name)).map(|(_, _, reason)| *reason)
}
