//! The schemas: requests from the constants of their readers, responses from their types.

use serde_json::{Value, json};
use utoipa::openapi::schema::{
    ArrayBuilder, KnownFormat, Object, ObjectBuilder, Schema, SchemaFormat, SchemaType, Type,
};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use super::super::items::{ItemDto, ItemsDto};
use super::super::problem::Problem;
use super::super::response::Paginated;
use crate::domain::end_user::{
    AssignedDto, ConflictingEndUser, DuplicateDto, EndUserReadDto, LookUpDto, LookUpItemDto, MATCH_BY_NAMES,
    MAX_ENTRIES, MAX_LOOK_UPS, MAX_UID_LENGTH, MAX_UID_TYPE_LENGTH, MAX_UIDS, MAX_UPSERTS, MergeRecordDto, MergedDto,
    ON_MATCH_NAMES, UidReadDto, UnmergedDto, UpsertOutcome, UpsertedDto,
};
use crate::domain::profile::{CUSTOMER_TYPES, Field};
use crate::domain::text::Limit;
use crate::domain::ticket::TicketReadDto;

/// Every schema with its name.
pub(super) fn all() -> Vec<(String, RefOr<Schema>)> {
    let base = || {
        Field::ALL.into_iter().fold(ObjectBuilder::new(), |all, field| all.property(field.name(), request_field(field)))
    };
    let uids = |element: &str, max: usize, about: &str| {
        let array = ArrayBuilder::new().items(Ref::from_schema_name(element)).max_items(Some(max));
        array.schema_type(nullable(Type::Array)).description(Some(about))
    };
    let create = base()
        .property("uids", uids("EndUserUIDCreateDTO", MAX_ENTRIES, "Repeated UIDs become one; at most 40 remain."))
        .description(Some("A new end user. Every member is optional; `null` counts as absent."));
    let options = |object: ObjectBuilder, name: &str, values: [&'static str; 3], about: &str| {
        let text = ObjectBuilder::new().schema_type(nullable(Type::String)).examples(values);
        object.property(name, text.description(Some(about)))
    };
    let upsert =
        base().property("uids", uids("EndUserUIDCreateDTO", MAX_UIDS, "Repeated UIDs become one.")).description(Some(
            "An end user to find or create. The request needs a UID or a customerRef, as `matchBy` selects.",
        ));
    let upsert = options(
        upsert,
        "matchBy",
        MATCH_BY_NAMES,
        "The identifiers that decide which end user matches: `any` of them (default), `customerRef` or `uids`.",
    );
    let upsert = options(
        upsert,
        "onMatch",
        ON_MATCH_NAMES,
        "The effect on the profile of the end user that matches: `update` (default) changes it as an update does, `fill` \
         sets only empty fields, `none` leaves it. UIDs that the end user lacks are linked in all three cases.",
    );
    let upserts = ArrayBuilder::new().items(Ref::from_schema_name("EndUserUpsertDTO"));
    let upsert_many = ObjectBuilder::new()
        .property("endUsers", upserts.min_items(Some(1)).max_items(Some(MAX_UPSERTS)))
        .required("endUsers")
        .description(Some("Upserts, which are applied one after another."));
    let merge = ObjectBuilder::new()
        .property("endUserID", id().description(Some("The end user that becomes part of the one in the path.")))
        .required("endUserID")
        .property("dryRun", flag().description(Some("Returns the result without writing anything.")))
        .description(Some("A merge of two end users."));
    let values = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(MAX_UID_LENGTH));
    let look_up = ObjectBuilder::new()
        .property("uids", ArrayBuilder::new().items(values).min_items(Some(1)).max_items(Some(MAX_LOOK_UPS)))
        .required("uids")
        .description(Some("Identifiers of any type, in any spelling."));
    let update = base()
        .property(
            "uids",
            uids(
                "EndUserUIDUpdateDTO",
                MAX_ENTRIES,
                "Removals are applied first, then the other elements in order. UIDs that are not mentioned stay.",
            ),
        )
        .description(Some(
            "Changes of an end user. An absent member keeps its value; `null` or an empty text clears it.",
        ));
    let new_uid = with_uid(ObjectBuilder::new()).required("uid").description(Some("A new UID."));
    let changed_uid = ObjectBuilder::new()
        .property(
            "endUserUIDID",
            id().schema_type(nullable(Type::Integer)).description(Some(
                "The id of the record to change. Without it, the record of the same type and value is changed, or a \
                 record is created.",
            )),
        )
        .description(Some("With `endUserUIDID`, absent members keep their value. Without it, `uid` is required."));
    let changed_uid = with_uid(changed_uid).property(
        "markAsDeleted",
        flag().description(Some("Removes the UID. Removing a UID that does not exist is no error.")),
    );
    let assign = ObjectBuilder::new()
        .property("endUserID", id().description(Some("The end user to link the UID to.")))
        .required("endUserID");
    let assign = with_uid(assign).required("uid").description(Some("A UID to link to an end user."));

    let mut all: Vec<(String, RefOr<Schema>)> = [
        ("EndUserCreateDTO", create),
        ("EndUserUpdateDTO", update),
        ("EndUserUpsertDTO", upsert),
        ("EndUserUpsertManyDTO", upsert_many),
        ("EndUserLookUpDTO", look_up),
        ("EndUserMergeDTO", merge),
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
        (UidReadDto::name().into_owned(), response_schema::<UidReadDto>()),
        (AssignedDto::name().into_owned(), AssignedDto::schema()),
        (TicketReadDto::name().into_owned(), response_schema::<TicketReadDto>()),
        ("EndUserPage".to_owned(), response_schema::<Paginated<EndUserReadDto>>()),
        ("TicketPage".to_owned(), response_schema::<Paginated<TicketReadDto>>()),
        (UpsertOutcome::name().into_owned(), UpsertOutcome::schema()),
        (UpsertedDto::name().into_owned(), response_schema::<UpsertedDto>()),
        (MergedDto::name().into_owned(), response_schema::<MergedDto>()),
        (UnmergedDto::name().into_owned(), response_schema::<UnmergedDto>()),
        (MergeRecordDto::name().into_owned(), response_schema::<MergeRecordDto>()),
        (DuplicateDto::name().into_owned(), response_schema::<DuplicateDto>()),
        (ItemsDto::name().into_owned(), response_schema::<ItemsDto>()),
        (ItemDto::name().into_owned(), ItemDto::schema()),
        (LookUpDto::name().into_owned(), response_schema::<LookUpDto>()),
        (LookUpItemDto::name().into_owned(), response_schema::<LookUpItemDto>()),
        (ConflictingEndUser::name().into_owned(), response_schema::<ConflictingEndUser>()),
        (Problem::name().into_owned(), Problem::schema()),
    ]);
    all
}

/// The schema of a response type. Every member is required.
fn response_schema<T: PartialSchema>() -> RefOr<Schema> {
    let mut schema = T::schema();
    if let RefOr::T(Schema::Object(object)) = &mut schema {
        object.required = object.properties.keys().cloned().collect();
    }
    schema
}

/// EndUserReadDTO with the limits and descriptions of the profile's fields.
fn end_user() -> RefOr<Schema> {
    let mut schema = response_schema::<EndUserReadDto>();
    if let RefOr::T(Schema::Object(object)) = &mut schema {
        for field in Field::ALL {
            object.properties.insert(field.name().to_owned(), Schema::from(response_field(field)).into());
        }
        if let Some(RefOr::T(Schema::Array(uids))) = object.properties.get_mut("uids") {
            uids.max_items = Some(MAX_UIDS);
            uids.description = Some("By ascending `endUserUIDID`.".to_owned());
        }
    }
    schema
}

/// A profile field of a request.
fn request_field(field: Field) -> ObjectBuilder {
    let text = text(field).description(Some(about(field)));
    match field {
        Field::CustomerType => text.description(Some(
            "`Lead`, `Customer` or `Partner`, in any case. Empty: `Lead` on create, unchanged on update.",
        )),
        _ => text,
    }
}

/// A profile field of a response.
fn response_field(field: Field) -> Object {
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
    // A limit in bytes is also an upper bound of characters.
    let (Limit::Chars(max) | Limit::Bytes(max)) = field.limit();
    let text = ObjectBuilder::new().schema_type(nullable(Type::String)).examples([example(field)]);
    text.max_length(Some(max))
}

fn about(field: Field) -> String {
    let about = match field {
        Field::Firstname => "First name.",
        Field::Lastname => "Last name.",
        Field::Gender => "Gender, as free text.",
        Field::OtherContactDetails => "Other ways to contact the end user. The first 100 distinct words are searched.",
        Field::AiDocumentation => "Internal context for AI; never searched.",
        Field::CustomerRef => "The end user's id in another system. byUid finds end users by it, and it links tickets.",
        Field::CustomerType => "The relation of the end user to the tenant.",
        Field::Country => {
            "Two-letter country code, stored in upper case. National phone numbers are read by its numbering plan."
        }
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

/// Adds the members that every UID of a request has.
fn with_uid(object: ObjectBuilder) -> ObjectBuilder {
    let kind = ObjectBuilder::new()
        .schema_type(nullable(Type::String))
        .max_length(Some(MAX_UID_TYPE_LENGTH))
        .examples(["Email", "Phone", "WhatsApp"])
        .description(Some(
            "`Email`, `Phone` and `WhatsApp` are recognised in any case. Empty: `Email`. Any other type is stored as \
             sent.",
        ));
    let value = ObjectBuilder::new()
        .schema_type(nullable(Type::String))
        .max_length(Some(MAX_UID_LENGTH))
        .examples(["jane@example.com", "+32 470 00 00 00"])
        .description(Some(
            "An e-mail address (HTML standard); a phone number, read by the numbering plan of the end user's country \
             and stored as E.164; a WhatsApp number, user name or id; or any text of another type.",
        ));
    let primary = flag().description(Some(
        "Marks the preferred UID. An end user has at most one; marking a UID unmarks the previous one.",
    ));
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
        .description(Some("An error response of the gateway itself. It has none of the other headers."))
}
