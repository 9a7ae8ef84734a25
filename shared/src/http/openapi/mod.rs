//! The OpenAPI 3.1 description of the API. Names, limits and choices come from the readers, statuses and errors from
//! [`Error`](super::Error), and the responses of examples from the code that produces them.

mod operations;
mod responses;
mod schemas;

use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{InfoBuilder, License, OpenApi, OpenApiBuilder, PathsBuilder, ServerBuilder, Tag};

/// The name of the security scheme.
const TOKEN: &str = "token";

/// The tags with their descriptions.
const TAGS: [(&str, &str); 4] = [
    (END_USERS, "Create, read, update, delete, list and search end users."),
    (UIDS, "Find end users by an identifier, and link identifiers."),
    (MERGING, "Find duplicates, merge them into one end user, and undo a merge."),
    (TICKETS, "Read the tickets of an end user. Tickets belong to another service."),
];
const END_USERS: &str = "End users";
const UIDS: &str = "UIDs";
const MERGING: &str = "Merging";
const TICKETS: &str = "Tickets";

const DESCRIPTION: &str = "\
The end users of a support platform, with their identifiers (UIDs) and ticket history.

A JWT limits every request to the data of one tenant. A record of another tenant gives the same response as a record \
that does not exist. Member names and query parameter names are case-insensitive. Unknown and response-only members \
are ignored, so an end user that was read can be edited and sent back. Texts are trimmed and normalised to NFC, and an \
empty text is null. Lengths count Unicode scalar values after that. A body is at most 1 MiB.

An error response is `application/problem+json` (RFC 9457) and names all validation errors at once. The gateway's own \
error responses have a body with only `message`: an unknown path or method (404), throttling (429), a body over 10 MB \
(413), a function that failed (500), a time-out (503).";

/// The OpenAPI document. Its paths are relative to the server that returns it.
pub fn document() -> OpenApi {
    let token = Http::builder()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some(
            "A JWT signed with HS256, RS256, ES256 or EdDSA, depending on the deployment's key. `exp` is required. The \
             claim `customerID` (the name is configurable) is the tenant.",
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
