//! Lines: a type of UID; the region of the end user; a value; another value.
#![no_main]

use fuzz::{assert_key_fits, lines, region, tenant};
use libfuzzer_sys::fuzz_target;
use shared::domain::end_user::MAX_UID_LENGTH;
use shared::domain::text::{Limit, clean};
use shared::domain::uid::{
    MatchKey, UidType, check_value, stored_key, lookup_keys, parse_value, reference_key, text_key, ticket_index_key,
    ticket_index_keys_of,
};
use shared::store::keys;

fn text(key: &MatchKey) -> &str {
    match key {
        MatchKey::Text(text) | MatchKey::Phone(text) => text,
    }
}

fn assert_idempotent(key: &MatchKey) {
    match key {
        // The domain of what becomes an address only by folding was not taken for one.
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
        assert_eq!(check_value(&kind, &value), Ok(()), "what is taken needs no region to be looked at");
        assert_eq!(parse_value(&kind, &stored, region).as_ref(), Ok(&stored), "what is stored is taken as it is");
        let key = stored_key(&kind, &stored);
        assert!(lookup_keys(&stored, None).contains(&key), "{stored:?} is not found by itself");
        assert!(lookup_keys(&value, region).contains(&key), "{stored:?} is not found as it was given");
        assert!(ticket_index_keys_of(&key).contains(&ticket_index_key(&stored)), "{stored:?} finds no tickets");
        assert_idempotent(&key);
        assert_key_fits(&key);
    }

    let (ours, theirs) = (lookup_keys(&value, region), lookup_keys(&other, region));
    assert!(ours.contains(&reference_key(&value)));
    for key in ours.iter().chain(&theirs) {
        assert_idempotent(key);
        assert_key_fits(key);
        for another in &theirs {
            let same = keys::uid_index(&tenant(), key) == keys::uid_index(&tenant(), another);
            assert_eq!(same, key == another, "{:?} and {:?}", text(key), text(another));
        }
    }
});
