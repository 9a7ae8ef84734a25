//! The pages of `local`, which are part of no deployment: a console, an API reference in which requests can be tried,
//! and demo tokens for both.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::{HeaderMap, Method, header};
use serde_json::{Value, json};

use crate::demo;

/// The description of the API in OpenAPI 3.1.
const OPENAPI: &str = include_str!("../../openapi.json");

/// The Content-Security-Policy: a page loads and calls only its own origin, and no other page can frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'; form-action 'none'";

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const JSON: &str = "application/json";

/// A path, its content type and its content.
struct Page {
    path: &'static str,
    kind: &'static str,
    content: Content,
}

enum Content {
    /// A file of this repository.
    File(&'static str),
    /// A file of Swagger UI, by its name.
    Swagger(&'static str),
    /// The tokens of the demo tenants.
    Tokens,
}

const PAGES: [Page; 10] = [
    page("/", HTML, Content::File(include_str!("../pages/console.html"))),
    page("/console.css", STYLE, Content::File(include_str!("../pages/console.css"))),
    page("/console.js", SCRIPT, Content::File(include_str!("../pages/console.js"))),
    page("/docs", HTML, Content::File(include_str!("../pages/docs.html"))),
    page("/docs/docs.css", STYLE, Content::File(include_str!("../pages/docs.css"))),
    page("/docs/docs.js", SCRIPT, Content::File(include_str!("../pages/docs.js"))),
    page("/docs/swagger-ui.css", STYLE, Content::Swagger("swagger-ui.css")),
    page("/docs/swagger-ui-bundle.js", SCRIPT, Content::Swagger("swagger-ui-bundle.js")),
    page("/openapi.json", JSON, Content::File(OPENAPI)),
    page("/local/tokens", JSON, Content::Tokens),
];

const fn page(path: &'static str, kind: &'static str, content: Content) -> Page {
    Page { path, kind, content }
}

/// Whether a page has this path.
pub(crate) fn is_page(path: &str) -> bool {
    PAGES.iter().any(|page| page.path == path)
}

/// The pages of a running system.
pub(crate) struct Pages {
    /// The configuration that demo tokens are signed with, or `None` if no tokens are served.
    variables: Option<HashMap<String, String>>,
}

impl Pages {
    /// Creates the pages. `serves_tokens` says whether `/local/tokens` contains the demo tokens.
    pub(crate) fn new(serves_tokens: bool, variables: &HashMap<String, String>) -> Self {
        Self { variables: serves_tokens.then(|| variables.clone()) }
    }

    /// Returns the requested page, or `None` if the method or the `Host` is not allowed. The `Host` must be localhost:
    /// otherwise a web site whose name resolves to this machine (DNS rebinding) could read the tokens.
    pub(crate) fn respond(&self, request: &Request) -> Option<Response> {
        let page = PAGES.iter().find(|page| page.path == request.uri().path())?;
        if request.method() != Method::GET || !is_for_localhost(request.headers()) {
            return None;
        }
        let body = self.body(&page.content)?;
        let cache = if matches!(page.content, Content::Tokens) { "no-store" } else { "no-cache" };
        let response = http::Response::builder()
            .header(header::CONTENT_TYPE, page.kind)
            .header(header::CACHE_CONTROL, cache)
            .header(header::CONTENT_SECURITY_POLICY, POLICY)
            .header("cross-origin-resource-policy", "same-origin")
            .header(header::REFERRER_POLICY, "no-referrer")
            .header(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
        response.body(body).ok()
    }

    fn body(&self, content: &Content) -> Option<Body> {
        match content {
            Content::File(text) => Some(Body::from(*text)),
            Content::Swagger(name) => swagger(name),
            Content::Tokens => Some(Body::from(self.tokens().to_string())),
        }
    }

    /// The demo tokens as `[{ "tenant", "token" }]`, or an empty array if none are served.
    fn tokens(&self) -> Value {
        let of_tenant = |tenant: u64| {
            let token = demo::make_token(self.variables.as_ref()?, tenant).ok()?;
            Some(json!({ "tenant": tenant, "token": token }))
        };
        demo::TENANTS.into_iter().filter_map(of_tenant).collect()
    }
}

fn swagger(name: &str) -> Option<Body> {
    let file = utoipa_swagger_ui::serve(name, Arc::new(utoipa_swagger_ui::Config::default())).ok()??;
    Some(Body::from(file.bytes.into_owned()))
}

fn is_for_localhost(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|digit| digit.is_ascii_digit());
    ["127.0.0.1", "localhost", "[::1]"].iter().any(|name| {
        let rest = host.to_str().ok().and_then(|host| host.strip_prefix(name));
        rest.is_some_and(|rest| rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port))
    })
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use http_body_util::BodyExt;

    use super::*;
    use crate::{Local, Options, Storage};

    const HOST: &str = "127.0.0.1:3000";

    async fn start(demo: bool, variables: &[(&str, &str)]) -> Local {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let options = Options { port: 0, storage: Storage::Memory, demo, functions: None, variables };
        Local::start(options).await.expect("a system")
    }

    async fn send(local: &Local, request: http::request::Builder) -> (StatusCode, HeaderMap, Vec<u8>) {
        let response = local.call(request.body(Body::empty()).expect("a request")).await;
        let (head, body) = response.into_parts();
        (head.status, head.headers, body.collect().await.expect("a body").to_bytes().to_vec())
    }

    fn get(path: &str) -> http::request::Builder {
        http::Request::get(path).header(header::HOST, HOST)
    }

    async fn tokens(local: &Local) -> Value {
        let (status, _, body) = send(local, get("/local/tokens")).await;
        assert_eq!(status, StatusCode::OK);
        serde_json::from_slice(&body).expect("JSON")
    }

    #[track_caller]
    fn assert_gateway_404((status, headers, body): (StatusCode, HeaderMap, Vec<u8>), what: &str) {
        assert_eq!(status, StatusCode::NOT_FOUND, "{what}");
        assert_eq!(body, br#"{"message":"Not Found"}"#, "{what}");
        let names: Vec<_> = headers.keys().collect();
        assert_eq!(names, [header::CONTENT_TYPE], "{what}");
    }

    #[tokio::test]
    async fn pages_have_their_type_and_strict_headers() {
        let local = start(false, &[]).await;
        for page in &PAGES {
            let (status, headers, body) = send(&local, get(&format!("{}?x=1", page.path))).await;
            assert_eq!((status, body.is_empty()), (StatusCode::OK, false), "{}", page.path);
            let cache = if page.path == "/local/tokens" { "no-store" } else { "no-cache" };
            let expected = [
                ("content-type", page.kind),
                ("cache-control", cache),
                ("cross-origin-resource-policy", "same-origin"),
                ("referrer-policy", "no-referrer"),
                ("x-content-type-options", "nosniff"),
            ];
            for (name, value) in expected {
                assert_eq!(headers[name], value, "{}: {name}", page.path);
            }
            let policy = headers["content-security-policy"].to_str().expect("text");
            assert!(!policy.contains("unsafe"), "{}: {policy}", page.path);
            let directives: Vec<_> = policy.split("; ").collect();
            for directive in [
                "default-src 'none'",
                "script-src 'self'",
                "style-src 'self'",
                "connect-src 'self'",
                "img-src 'self' data:",
                "base-uri 'none'",
                "frame-ancestors 'none'",
                "form-action 'none'",
            ] {
                assert!(directives.contains(&directive), "{}: {policy}", page.path);
            }
        }
        local.stop().await;
    }

    #[tokio::test]
    async fn pages_are_served_on_localhost_only() {
        let local = start(true, &[]).await;
        for host in ["127.0.0.1", "127.0.0.1:80", "localhost", "localhost:3000", "[::1]", "[::1]:65535"] {
            for page in &PAGES {
                let (status, ..) = send(&local, http::Request::get(page.path).header(header::HOST, host)).await;
                assert_eq!(status, StatusCode::OK, "{} at {host}", page.path);
            }
        }
        let others = [
            "evil.test",
            "evil.test:3000",
            "localhost.evil.test",
            "127.0.0.1.evil.test",
            "localhost:3000.evil.test",
            "localhost:",
            "localhost:x",
            "user@localhost",
            "127.0.0.1@evil.test",
            "[::1",
            "::1",
            "[::1].evil.test",
            "0.0.0.0:3000",
            "127.1",
            "",
        ];
        for page in &PAGES {
            for host in others {
                let request = http::Request::get(page.path).header(header::HOST, host);
                assert_gateway_404(send(&local, request).await, &format!("{} at {host:?}", page.path));
            }
            assert_gateway_404(send(&local, http::Request::get(page.path)).await, "no host");
            let two = get(page.path).header(header::HOST, "evil.test");
            assert_gateway_404(send(&local, two).await, "two hosts");
        }
        local.stop().await;
    }

    #[tokio::test]
    async fn pages_allow_only_get_and_no_other_origin() {
        let local = start(true, &[("CORS_ALLOWED_ORIGINS", "*")]).await;
        for page in &PAGES {
            for method in ["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "get"] {
                let request = http::Request::builder().method(method).uri(page.path).header(header::HOST, HOST);
                let request = request
                    .header(header::ORIGIN, "https://app.test")
                    .header(header::ACCESS_CONTROL_REQUEST_METHOD, "GET");
                assert_gateway_404(send(&local, request).await, &format!("{method} {}", page.path));
            }
            let (status, headers, _) = send(&local, get(page.path).header(header::ORIGIN, "https://app.test")).await;
            assert_eq!(status, StatusCode::OK);
            let cors = headers.keys().find(|name| name.as_str().starts_with("access-control"));
            assert_eq!(cors, None, "{}", page.path);
        }
        let (_, headers, _) = send(&local, get("/api/EndUsers").header(header::ORIGIN, "https://app.test")).await;
        assert_eq!(headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*", "CORS of the API");
        local.stop().await;
    }

    #[tokio::test]
    async fn unknown_paths_are_404() {
        let local = start(false, &[]).await;
        for path in [
            "//",
            "/index.html",
            "/console.html",
            "/Docs",
            "/docs/",
            "/docs/index.html",
            "/docs/swagger-initializer.js",
            "/docs/../console.js",
            "/openapi",
            "/openapi.json/",
            "/local",
            "/local/tokens/",
            "/local/token",
            "/favicon.ico",
        ] {
            assert_gateway_404(send(&local, get(path)).await, path);
        }
        local.stop().await;
    }

    #[tokio::test]
    async fn tokens_are_valid_for_each_demo_tenant() {
        let local = start(true, &[]).await;
        let tokens = tokens(&local).await;
        let tokens = tokens.as_array().expect("an array");
        let tenants: Vec<_> = tokens.iter().filter_map(|token| token["tenant"].as_u64()).collect();
        assert_eq!(tenants, demo::TENANTS);
        for token in tokens {
            let bearer = format!("Bearer {}", token["token"].as_str().expect("a token"));
            let jane = get("/api/EndUsers/byUid?uid=jane@example.com").header(header::AUTHORIZATION, bearer);
            let (status, _, body) = send(&local, jane).await;
            let end_users: Value = serde_json::from_slice(&body).expect("JSON");
            assert_eq!(status, StatusCode::OK);
            let company = if token["tenant"] == 7 { "Acme NV" } else { "Globex BV" };
            assert_eq!(end_users[0]["company"], company);
        }
        local.stop().await;
    }

    #[tokio::test]
    async fn tokens_need_the_demo_and_the_development_secret() {
        let secret = ("JWT_SECRET", "a secret of the tests, of more than 32 bytes");
        let issuer = ("JWT_JWKS_URL", "https://issuer.test/keys");
        for (demo, variables) in [(false, &[][..]), (true, &[secret]), (true, &[issuer])] {
            let local = start(demo, variables).await;
            assert_eq!(tokens(&local).await, json!([]), "{demo} {variables:?}");
            local.stop().await;
        }
    }

    #[test]
    fn openapi_has_the_operation_that_the_docs_page_opens() {
        let description: Value = serde_json::from_str(OPENAPI).expect("JSON");
        assert_eq!(description["paths"]["/api/EndUsers"]["get"]["operationId"], "listEndUsers");
        assert_eq!(description["components"]["securitySchemes"]["token"]["scheme"], "bearer");
    }
}
