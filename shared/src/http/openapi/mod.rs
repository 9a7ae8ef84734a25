//! The API in the words of OpenAPI 3.1, made of what parses and answers: names, limits and choices are those of the
//! readers, statuses and errors those of [`Error`](super::Error), and what an example is answered, the code says.

mod operations;
mod responses;
mod schemas;

use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{InfoBuilder, License, OpenApi, OpenApiBuilder, PathsBuilder, ServerBuilder, Tag};

/// The name of the security scheme.
const TOKEN: &str = "token";

/// The tags, with what they say.
const TAGS: [(&str, &str); 3] = [
    (END_USERS, "The people behind the conversations."),
    (UIDS, "Identifiers: any of them finds the person."),
    (TICKETS, "Tickets belong to other services and are only read here."),
];
const END_USERS: &str = "End users";
const UIDS: &str = "UIDs";
const TICKETS: &str = "Tickets";

const DESCRIPTION: &str = "\
The people behind a support platform's conversations, with their many identifiers (UIDs).

A tenant's JWT scopes everything: a record of another tenant is answered exactly like one that does not exist. \
Members and query names are read without regard to case; unknown and response-only members are ignored, so what was \
read can be edited and sent back. Texts are trimmed and NFC-normalised, and an empty one is null; lengths are counted \
after that, in Unicode scalar values. A body is at most 1 MiB.

Faults of a request are answered all at once, as `application/problem+json` (RFC 9457). What the gateway itself \
answers has a body of one `message`: an unknown path or method (404), too much at once (429), a body over 10 MiB \
(413), a function that failed (500) or took too long (503).";

/// The document. Its paths are relative to the server that serves it.
pub fn document() -> OpenApi {
    let token = Http::builder()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some(
            "A JWT of the tenant: HS256, RS256, ES256 or EdDSA, by the deployment's key. `exp` is required, and the \
             claim `customerID` (or the one that the deployment names) is the tenant.",
        ))
        .build();
    let mut components = responses::components().security_scheme(TOKEN, SecurityScheme::Http(token));
    for (name, schema) in schemas::all() {
        components = components.schema(name, schema);
    }
    let mut license = License::new("MIT");
    license.identifier = Some("MIT".to_owned());
    let info = InfoBuilder::new()
        .title("End Users API")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(DESCRIPTION))
        .license(Some(license));
    let paths = operations::all().into_iter().fold(PathsBuilder::new(), |paths, (path, item)| paths.path(path, item));
    let tag = |(name, description)| {
        let mut tag = Tag::new(name);
        tag.description = Some(String::from(description));
        tag
    };
    OpenApiBuilder::new()
        .info(info)
        .servers(Some([ServerBuilder::new().url("/").build()]))
        .paths(paths)
        .components(Some(components.build()))
        .security(Some([SecurityRequirement::new(TOKEN, Vec::<String>::new())]))
        .tags(Some(TAGS.map(tag)))
        .build()
}
