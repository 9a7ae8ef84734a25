//! The claims of a token.

use super::AuthError::{Expired, Invalid, NoTenant, Scope};
use super::*;

#[tokio::test]
async fn claims_are_one_object_with_unique_names() {
    let auth = by_secret(&[]);
    for payload in [
        "",
        "7",
        "[]",
        "null",
        r#""exp""#,
        &claims(r#","customerID":8"#),
        &claims(r#","customer\u0049D":8"#),
        &claims(r#","a":[{"b":1,"b":1}]"#),
        &format!("{}{{}}", claims("")),
        &format!("\u{feff}{}", claims("")),
        &claims(r#","a":"\ud800""#),
    ] {
        assert_eq!(judge(&auth, &token(HS256, payload)).await, Err(Invalid), "{payload}");
    }
    assert_eq!(judge(&auth, &token(HS256, &claims(r#","CustomerID":8"#))).await, tenant_7());
}

#[tokio::test]
async fn times_are_numbers_in_range_and_exp_is_required() {
    let auth = by_secret(&[]);
    let with = |times: &str| token(HS256, &format!(r#"{{"customerID":7{times}}}"#));
    for (times, expected) in [
        (r#","exp":1800000060"#, tenant_7()),
        (r#","exp":1799999970.5"#, tenant_7()),
        (r#","exp":1.8e9"#, tenant_7()),
        (r#","exp":253402300799"#, tenant_7()),
        (r#","exp":1800000060,"nbf":1800000030,"iat":1800000000"#, tenant_7()),
        (r#","exp":1800000060,"nbf":0,"iat":1900000000"#, tenant_7()),
        (r#","exp":1799999970"#, Err(Expired)),
        (r#","exp":0"#, Err(Expired)),
        (r#","exp":1800000060,"nbf":1800000030.5"#, Err(Invalid)),
        (r#","exp":0,"nbf":1800000031"#, Err(Invalid)),
        ("", Err(Invalid)),
        (r#","Exp":1800000060"#, Err(Invalid)),
        (r#","exp":1e999"#, Err(Invalid)),
    ] {
        assert_eq!(judge(&auth, &with(times)).await, expected, "{times}");
    }
    for value in ["null", r#""1800000060""#, "true", "[1800000060]", "{}", "-1", "-0.5", "253402300800", "1e300"] {
        for name in ["exp", "nbf", "iat"] {
            let exp = if name == "exp" { "" } else { r#","exp":1800000060"# };
            let times = format!(r#"{exp},"{name}":{value}"#);
            assert_eq!(judge(&auth, &with(&times)).await, Err(Invalid), "{times}");
        }
    }
    let exact = by_secret(&[("JWT_LEEWAY_SECONDS", "0")]);
    assert_eq!(judge(&exact, &with(r#","exp":1800000000.5"#)).await, tenant_7());
    assert_eq!(judge(&exact, &with(r#","exp":1800000000"#)).await, Err(Expired));
}

#[tokio::test]
async fn issuer_and_audience_are_enforced_if_configured() {
    let strict = by_secret(&[("JWT_ISSUER", "https://issuer.test"), ("JWT_AUDIENCE", "api")]);
    let lax = by_secret(&[]);
    for (more, expected) in [
        (r#","iss":"https://issuer.test","aud":"api""#, tenant_7()),
        (r#","iss":"https://issuer.test","aud":["x","api"]"#, tenant_7()),
        ("", Err(Invalid)),
        (r#","aud":"api""#, Err(Invalid)),
        (r#","iss":"https://issuer.test""#, Err(Invalid)),
        (r#","iss":"https://issuer.test/","aud":"api""#, Err(Invalid)),
        (r#","iss":["https://issuer.test"],"aud":"api""#, Err(Invalid)),
        (r#","iss":null,"aud":"api""#, Err(Invalid)),
        (r#","iss":"https://issuer.test","aud":"API""#, Err(Invalid)),
        (r#","iss":"https://issuer.test","aud":"x api""#, Err(Invalid)),
        (r#","iss":"https://issuer.test","aud":[]"#, Err(Invalid)),
        (r#","iss":"https://issuer.test","aud":["api",1]"#, Err(Invalid)),
        (r#","iss":"https://issuer.test","aud":[["api"]]"#, Err(Invalid)),
        (r#","iss":"https://issuer.test","aud":{"api":"api"}"#, Err(Invalid)),
    ] {
        let token = token(HS256, &claims(more));
        assert_eq!(judge(&strict, &token).await, expected, "{more}");
        assert_eq!(judge(&lax, &token).await, tenant_7(), "{more}");
    }
}

#[tokio::test]
async fn tenant_is_a_short_name_or_a_safe_integer() {
    let auth = by_secret(&[]);
    let long = format!(r#""{}""#, "a".repeat(64));
    let too_long = format!(r#""{}""#, "a".repeat(65));
    for (claim, expected) in [
        ("7", Ok("7")),
        (r#""7""#, Ok("7")),
        (r#""07""#, Ok("07")),
        (r#""Acme_eu-1""#, Ok("Acme_eu-1")),
        ("9007199254740991", Ok("9007199254740991")),
        (&long, Ok(&long[1..65])),
        ("9007199254740992", Err(NoTenant)),
        ("0", Err(NoTenant)),
        ("-7", Err(NoTenant)),
        ("7.5", Err(NoTenant)),
        ("null", Err(NoTenant)),
        ("true", Err(NoTenant)),
        ("[7]", Err(NoTenant)),
        (r#"{"id":7}"#, Err(NoTenant)),
        (r#""""#, Err(NoTenant)),
        (r#"" 7""#, Err(NoTenant)),
        (r#""a#b""#, Err(NoTenant)),
        (r#""é""#, Err(NoTenant)),
        (&too_long, Err(NoTenant)),
    ] {
        let payload = format!(r#"{{"exp":1800000060,"customerID":{claim}}}"#);
        assert_eq!(judge(&auth, &token(HS256, &payload)).await, expected.map(str::to_owned), "{claim}");
    }
    let none = token(HS256, r#"{"exp":1800000060,"customerid":7}"#);
    assert_eq!(judge(&auth, &none).await, Err(NoTenant));
    let expired = token(HS256, r#"{"exp":1}"#);
    assert_eq!(judge(&auth, &expired).await, Err(Expired), "the tenant is checked last");
    let renamed = by_secret(&[("JWT_CUSTOMER_CLAIM", "https://acme.test/tenant")]);
    let token = token(HS256, &claims(r#","https://acme.test/tenant":"acme""#));
    assert_eq!(judge(&renamed, &token).await, Ok("acme".to_owned()));
}

#[tokio::test]
async fn read_needs_read_or_write_scope_and_write_needs_write_scope() {
    let both = by_secret(&[("JWT_READ_SCOPE", "r"), ("JWT_WRITE_SCOPE", "w")]);
    let read_only = by_secret(&[("JWT_READ_SCOPE", "r")]);
    let write_only = by_secret(&[("JWT_WRITE_SCOPE", "w")]);
    let (yes, no) = (tenant_7, || Err(Scope));
    // The granted scopes, then the results of read and write with both scopes configured, with only the read scope, and
    // with only the write scope.
    for (more, [both_read, both_write], [read_read, read_write], [write_read, write_write]) in [
        (r#","scope":"r""#, [yes(), no()], [yes(), yes()], [yes(), no()]),
        (r#","scope":"x w y""#, [yes(), yes()], [no(), no()], [yes(), yes()]),
        (r#","scope":["r","w"]"#, [yes(), yes()], [yes(), yes()], [yes(), yes()]),
        (r#","scp":"r""#, [yes(), no()], [yes(), yes()], [yes(), no()]),
        (r#","scp":["w"]"#, [yes(), yes()], [no(), no()], [yes(), yes()]),
        (r#","scope":"x","scp":"r w""#, [no(), no()], [no(), no()], [yes(), no()]),
        (r#","scope":"R W rw""#, [no(), no()], [no(), no()], [yes(), no()]),
        (r#","scope":["r w"]"#, [no(), no()], [no(), no()], [yes(), no()]),
        (r#","scope":["r","w",1]"#, [no(), no()], [no(), no()], [yes(), no()]),
        (r#","scope":{"r":"w"}"#, [no(), no()], [no(), no()], [yes(), no()]),
        ("", [no(), no()], [no(), no()], [yes(), no()]),
    ] {
        let token = token(HS256, &claims(more));
        for (auth, read, write) in [
            (&both, both_read, both_write),
            (&read_only, read_read, read_write),
            (&write_only, write_read, write_write),
            (&by_secret(&[]), yes(), yes()),
        ] {
            assert_eq!(
                judge_at(auth, &token, Access::Read, NOW).await,
                read,
                "read with {more} by {:?}",
                auth.config.read_scope()
            );
            assert_eq!(judge_at(auth, &token, Access::Write, NOW).await, write, "write with {more}");
        }
    }
    let nobody = token(HS256, r#"{"exp":1800000060}"#);
    assert_eq!(judge(&both, &nobody).await, Err(NoTenant));
}
