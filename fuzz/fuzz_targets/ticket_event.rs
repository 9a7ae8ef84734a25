//! The body of one message of the queue of ticket events.
#![no_main]

use std::fmt::Debug;

use aws_sdk_dynamodb::types::AttributeValue;
use fuzz::{assert_fits, assert_key_fits};
use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_dynamo::aws_sdk_dynamodb_1::{from_attribute_value, to_attribute_value};
use shared::domain::ids::Tenant;
use shared::domain::ticket::{Change, Computed, Event, Message, Ticket, TicketReadDto, TicketView, comments};
use shared::domain::uid::{ticket_index_key, ticket_index_keys_of, ticket_keys};
use shared::store::keys;

/// Asserts that a stored value is read back unchanged.
fn assert_round_trip<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let stored: AttributeValue = to_attribute_value(value).expect("storable");
    assert_eq!(from_attribute_value::<T>(stored).expect("readable"), *value);
}

fn check_ticket(ticket: Ticket, tenant: &Tenant) {
    assert_round_trip(&ticket);
    assert_fits(&keys::ticket(tenant, ticket.ticket_id));
    assert_key_fits(&ticket_index_key(&ticket.uid));
    for key in ticket_keys(&ticket.uid) {
        let queried = ticket_index_keys_of(&key);
        assert!(queried.contains(&ticket_index_key(&ticket.uid)), "an end user with {key:?} does not find the ticket");
    }
    let custom = ticket.custom_fields_data.is_some();
    let dto = TicketReadDto::new(TicketView { ticket, computed: Computed::default() }, Vec::new());
    let json = serde_json::to_value(&dto).expect("JSON");
    assert_eq!(json["customFieldsData"].is_object(), custom);
}

fn check_message(message: Message, tenant: &Tenant) {
    assert_round_trip(&message);
    assert_fits(&keys::message(tenant, message.ticket_id, message.ticket_message_id));
    let messages = [message];
    let computed = Computed::of(&messages);
    assert_round_trip(&computed);
    assert_eq!(computed.has_comments, !comments(&messages).is_empty());
}

fuzz_target!(|input: &[u8]| {
    let event = match Event::parse(input) {
        Ok(event) => event,
        Err(errors) => return assert!(!errors.is_empty()),
    };
    let digits = event.occurred_at.nanoseconds().unsigned_abs().to_string().len();
    assert!(digits <= 38, "DynamoDB stores 38 digits of a number");
    match event.change {
        Change::TicketUpserted(ticket) => check_ticket(ticket, &event.tenant),
        Change::MessageUpserted(message) => check_message(message, &event.tenant),
        Change::TicketDeleted { ticket } => assert_fits(&keys::ticket(&event.tenant, ticket)),
        Change::MessageDeleted { ticket, message } => assert_fits(&keys::message(&event.tenant, ticket, message)),
    }
});
