//! Match keys. Lines: a UID type; the region of the end user; a value; another value.
#![no_main]

use fuzz::{assert_key_fits, lines, region, tenant};
use libfuzzer_sys::fuzz_target;
use shared::domain::end_user::MAX_UID_LENGTH;
use shared::domain::text::{Limit, clean};
use shared::domain::uid::{
    MatchKey, UidType, check_value, lookup_keys, parse_value, reference_key, stored_key, text_key, ticket_index_key,
    ticket_index_keys_of,
};
use shared::store::keys;

/// The text of a match key.
fn text(key: &MatchKey) -> &str {
    match key {
        MatchKey::Text(text) | MatchKey::Phone(text) => text,
    }
}

/// Asserts that the text of a match key has the same match key.
fn assert_idempotent(key: &MatchKey) {
    match key {
        // A text that gets its `@` only by folding is not an e-mail address, so its domain is not folded as one.
        MatchKey::Text(text) if !text.is_ascii() && text.contains('@') => {}
        MatchKey::Text(text) => assert_eq!(text_key(text), *text),
        MatchKey::Phone(number) => {
            assert_eq!(parse_value(&UidType::Phone, number, None).as_ref(), Ok(number));
            assert!(lookup_keys(number, None).contains(key));
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let input = String::from_utf8_lossy(input);
    let [kind, country, value, other] = lines(&input);
    let (kind, region) = (UidType::parse(kind), region(country));
    assert_eq!(UidType::parse(kind.as_str()), kind);
    let limit = Limit::Chars(MAX_UID_LENGTH);
    let (Ok(value), Ok(other)) = (clean(value, limit), clean(other, limit)) else { return };
    if value.is_empty() || other.is_empty() {
        return;
    }

    if let Ok(stored) = parse_value(&kind, &value, region) {
        assert_eq!(check_value(&kind, &value), Ok(()), "an accepted value is valid without a region");
        assert_eq!(parse_value(&kind, &stored, region).as_ref(), Ok(&stored), "a stored value stays as it is");
        let key = stored_key(&kind, &stored);
        assert!(lookup_keys(&stored, None).contains(&key), "{stored:?} is not found by its stored value");
        assert!(lookup_keys(&value, region).contains(&key), "{stored:?} is not found by its original value");
        assert!(ticket_index_keys_of(&key).contains(&ticket_index_key(&stored)), "{stored:?} finds no tickets");
        assert_idempotent(&key);
        assert_key_fits(&key);
    }

    let (own, others) = (lookup_keys(&value, region), lookup_keys(&other, region));
    assert!(own.contains(&reference_key(&value)));
    for key in own.iter().chain(&others) {
        assert_idempotent(key);
        assert_key_fits(key);
        for other in &others {
            let same = keys::uid_index(&tenant(), key) == keys::uid_index(&tenant(), other);
            assert_eq!(same, key == other, "{:?} and {:?}", text(key), text(other));
        }
    }
});
