//! What is taken and answered: the requests by the constants of their readers, the answers by their types.

use serde_json::{Value, json};
use utoipa::openapi::schema::{
    ArrayBuilder, KnownFormat, Object, ObjectBuilder, Schema, SchemaFormat, SchemaType, Type,
};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use super::super::problem::Problem;
use super::super::response::Paginated;
use crate::domain::end_user::{
    AssignedDto, EndUserReadDto, MAX_ENTRIES, MAX_UID_LENGTH, MAX_UID_TYPE_LENGTH, MAX_UIDS, UidReadDto,
};
use crate::domain::profile::{CUSTOMER_TYPES, Field};
use crate::domain::text::Limit;
use crate::domain::ticket::TicketReadDto;

/// Every schema by its name.
pub(super) fn all() -> Vec<(String, RefOr<Schema>)> {
    let base =
        || Field::ALL.into_iter().fold(ObjectBuilder::new(), |all, field| all.property(field.name(), taken(field)));
    let uids = |element: &str, max: usize, about: &str| {
        let array = ArrayBuilder::new().items(Ref::from_schema_name(element)).max_items(Some(max));
        array.schema_type(nullable(Type::Array)).description(Some(about))
    };
    let create = base()
        .property("uids", uids("EndUserUIDCreateDTO", MAX_ENTRIES, "Repeats converge on one; at most 40 are left."))
        .description(Some("A person to be created. Every member is optional; `null` is absent."));
    let update = base()
        .property(
            "uids",
            uids(
                "EndUserUIDUpdateDTO",
                MAX_ENTRIES,
                "Removals come first, then the others in order; UIDs not mentioned stay.",
            ),
        )
        .description(Some("A change: an absent member keeps its value, `null` or an empty text clears it."));
    let new_uid = with_uid(ObjectBuilder::new()).required("uid").description(Some("A UID to be created."));
    let changed_uid = ObjectBuilder::new()
        .property("endUserUIDID", id().schema_type(nullable(Type::Integer)).description(Some(
            "The record to change. Without one, the record of the same type and value is changed, else one is created.",
        )))
        .description(Some("With an `endUserUIDID`, absent members keep their value; without one, `uid` is required."));
    let changed_uid = with_uid(changed_uid).property(
        "markAsDeleted",
        flag().description(Some("Removes the UID; removing what is not there is no error.")),
    );
    let assign =
        ObjectBuilder::new().property("endUserID", id().description(Some("Whose it is to be."))).required("endUserID");
    let assign = with_uid(assign).required("uid").description(Some("A UID to be linked to a person."));

    let mut all: Vec<(String, RefOr<Schema>)> = [
        ("EndUserCreateDTO", create),
        ("EndUserUpdateDTO", update),
        ("EndUserUIDCreateDTO", new_uid),
        ("EndUserUIDUpdateDTO", changed_uid),
        ("AssignUIDRequest", assign),
        ("GatewayMessage", gateway_message()),
    ]
    .into_iter()
    .map(|(name, schema)| (name.to_owned(), Schema::from(schema).into()))
    .collect();
    all.extend([
        (EndUserReadDto::name().into_owned(), end_user()),
        (UidReadDto::name().into_owned(), answered::<UidReadDto>()),
        (AssignedDto::name().into_owned(), AssignedDto::schema()),
        (TicketReadDto::name().into_owned(), answered::<TicketReadDto>()),
        ("EndUserPage".to_owned(), answered::<Paginated<EndUserReadDto>>()),
        ("TicketPage".to_owned(), answered::<Paginated<TicketReadDto>>()),
        (Problem::name().into_owned(), Problem::schema()),
    ]);
    all
}

/// The answer's type, every member of which is always there.
fn answered<T: PartialSchema>() -> RefOr<Schema> {
    let mut schema = T::schema();
    if let RefOr::T(Schema::Object(object)) = &mut schema {
        object.required = object.properties.keys().cloned().collect();
    }
    schema
}

/// EndUserReadDTO, with what the profile knows of its fields.
fn end_user() -> RefOr<Schema> {
    let mut schema = answered::<EndUserReadDto>();
    if let RefOr::T(Schema::Object(object)) = &mut schema {
        for field in Field::ALL {
            object.properties.insert(field.name().to_owned(), Schema::from(given(field)).into());
        }
        if let Some(RefOr::T(Schema::Array(uids))) = object.properties.get_mut("uids") {
            uids.max_items = Some(MAX_UIDS);
            uids.description = Some("By ascending `endUserUIDID`.".to_owned());
        }
    }
    schema
}

/// A field as a request may say it.
fn taken(field: Field) -> ObjectBuilder {
    let text = text(field).description(Some(about(field)));
    match field {
        Field::CustomerType => {
            text.description(Some("Lead, Customer or Partner in any case. Empty: Lead on create, unchanged on update."))
        }
        _ => text,
    }
}

/// A field as it is answered.
fn given(field: Field) -> Object {
    let text = text(field).description(Some(about(field)));
    match field {
        Field::CustomerType => ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some(CUSTOMER_TYPES))
            .description(Some(about(field)))
            .build(),
        _ => text.build(),
    }
}

fn text(field: Field) -> ObjectBuilder {
    // No UTF-8 of so many bytes has more characters.
    let (Limit::Chars(max) | Limit::Bytes(max)) = field.limit();
    let text = ObjectBuilder::new().schema_type(nullable(Type::String)).examples([example(field)]);
    text.max_length(Some(max))
}

fn about(field: Field) -> String {
    let about = match field {
        Field::Firstname => "First name.",
        Field::Lastname => "Last name.",
        Field::Gender => "Gender, in the tenant's own words.",
        Field::OtherContactDetails => {
            "Anything else to reach the person by; the first 100 distinct words are searched."
        }
        Field::AiDocumentation => "Internal context for AI; never searched.",
        Field::CustomerRef => "The person's id in another system; byUid finds it, and tickets are found over it.",
        Field::CustomerType => "What the person is to the tenant.",
        Field::Country => "Country code of two letters, stored in upper case. Phone numbers are read by its plan.",
        Field::Lang => "Language code such as `nl` or `nl-BE`.",
        Field::Street => "Street.",
        Field::HouseNumber => "House number.",
        Field::PostalCode => "Postal code.",
        Field::City => "City.",
        Field::Company => "Company.",
    };
    match field.limit() {
        Limit::Chars(_) => about.to_owned(),
        Limit::Bytes(max) => format!("{about} At most {max} bytes of UTF-8."),
    }
}

fn example(field: Field) -> Value {
    json!(match field {
        Field::Firstname => "Jane",
        Field::Lastname => "Doe",
        Field::Gender => "female",
        Field::OtherContactDetails => "Skype: jane.doe; prefers mornings",
        Field::AiDocumentation => "Has a maintenance contract until 2027.",
        Field::CustomerRef => "ERP-3049353",
        Field::CustomerType => "Customer",
        Field::Country => "BE",
        Field::Lang => "nl",
        Field::Street => "Bisschoppenhoflaan",
        Field::HouseNumber => "380",
        Field::PostalCode => "2100",
        Field::City => "Antwerpen",
        Field::Company => "Acme NV",
    })
}

/// `object` with the members that every UID of a request has.
fn with_uid(object: ObjectBuilder) -> ObjectBuilder {
    let kind = ObjectBuilder::new()
        .schema_type(nullable(Type::String))
        .max_length(Some(MAX_UID_TYPE_LENGTH))
        .examples(["Email", "Phone", "WhatsApp"])
        .description(Some(
            "`Email`, `Phone` and `WhatsApp` are known in any case; empty is `Email`; any other is kept as given.",
        ));
    let value = ObjectBuilder::new()
        .schema_type(nullable(Type::String))
        .max_length(Some(MAX_UID_LENGTH))
        .examples(["jane@example.com", "+32 470 00 00 00"])
        .description(Some(
            "An e-mail address as HTML has it; a phone number, stored as E.164 and read by the plan of the person's \
             country; a WhatsApp number, user name or id; or any text of another type.",
        ));
    let primary = flag().description(Some("Marks the preferred UID: at most one, marking one demotes the other."));
    object.property("uidType", kind).property("uid", value).property("isPrimary", primary)
}

fn flag() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(nullable(Type::Boolean))
}

/// An id of an end user or a UID.
pub(super) fn id() -> ObjectBuilder {
    integer(i32::MAX as u64).format(Some(SchemaFormat::KnownFormat(KnownFormat::Int32)))
}

/// An integer from 1 to `max`.
pub(super) fn integer(max: u64) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1_u64)).maximum(Some(max))
}

fn nullable(kind: Type) -> SchemaType {
    [kind, Type::Null].into_iter().collect()
}

fn gateway_message() -> ObjectBuilder {
    let message = ObjectBuilder::new().schema_type(Type::String).examples(["Too Many Requests"]);
    ObjectBuilder::new()
        .property("message", message)
        .required("message")
        .description(Some("An answer of the gateway itself; it has no other headers."))
}
