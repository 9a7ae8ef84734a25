//! The stored keys of about a hundred values, pinned to the version of the index. A new release of collation, case
//! folding, IDNA or phone metadata may change a key. Look-ups would then miss the end users that are stored under the
//! old key.

use std::collections::BTreeSet;
use std::fmt::Write;

use shared::domain::phone::Region;
use shared::domain::text::{sort_key, words};
use shared::domain::uid::{MatchKey, lookup_keys, text_key};
use shared::store::keys::ENTRIES_VERSION;

const PINS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/suite/pins.tsv");

/// Latin, Greek, Cyrillic, Hebrew, Arabic, Devanagari, Thai, Hangul, Kana and Han names, and spellings that a new
/// release of Unicode data may treat differently.
const TEXTS: &[&str] = &[
    "Jane Doe",
    "jane doe",
    "JANE DOE",
    "O'Brien",
    "O\u{2019}Brien",
    "Ann-Marie",
    "van der Berg",
    "Müller",
    "Mu\u{308}ller",
    "Mueller",
    "Straße",
    "STRASSE",
    "Ångström",
    "Åse",
    "Øst",
    "Łódź",
    "Đorđe",
    "Þór",
    "Œuvre",
    "Æsop",
    "İstanbul",
    "ırmak",
    "Ñandú",
    "Çelik",
    "Škoda",
    "Žižek",
    "Nguyễn",
    "ﬁnance",
    "①②③",
    "１２３",
    "Ⅷ",
    "½",
    "m²",
    "㌖",
    "ﷺ",
    "Ω",
    "Ω",
    "Αθήνα",
    "ΣΊΣΥΦΟΣ",
    "Σίσυφος",
    "Київ",
    "Москва",
    "москва",
    "שלום",
    "שָׁלוֹם",
    "محمد",
    "مُحَمَّد",
    "हिन्दी",
    "กรุงเทพ",
    "서울",
    "ᄉ\u{1165}울",
    "さくら",
    "サクラ",
    "ｻｸﾗ",
    "東京",
    "臺灣",
    "台灣",
    "😀",
    "👩\u{200d}👩\u{200d}👧",
    "e\u{301}",
    "é",
    "\u{200b}zero",
    "a\u{ad}b",
    "A",
    "a",
    "á",
    "Z",
    "z",
    "0",
    "9",
    "10",
    "2",
    "-",
    "_",
    ".",
    "#",
    "~",
    "@",
    "\u{1e9e}",
    "\u{345}",
    "\u{390}",
    "ŉ",
    "ǰ",
    "ǅ",
    "ꭰ",
    "\u{10400}",
    "𝒥ane",
    "ﬀ",
    "Dž",
    "1200 AB",
    "B-1000",
    "BE0123.456.789",
];

const ADDRESSES: &[&str] = &[
    "Jane.Doe@Example.COM",
    "jane+tag@example.com",
    "jane@bücher.example",
    "JANE@XN--BCHER-KVA.example",
    "jane@faß.de",
    "jane@fass.de",
    "jane@例え.テスト",
    "jane@ｅxample。com",
    "joe@пример.рф",
    "joe@مثال.إختبار",
    "jane@",
    "@jane",
    "jane@@x",
    "ja\u{200b}ne@x.be",
    "a@xn--a.example",
    "o'brien@x.ie",
];

/// National and international spellings of one phone number per region.
const NUMBERS: &[(&str, &str)] = &[
    ("BE", "0470 12 34 56"),
    ("BE", "02 123 45 67"),
    ("NL", "06 12345678"),
    ("FR", "06 12 34 56 78"),
    ("DE", "0151 23456789"),
    ("GB", "07400 123456"),
    ("US", "(201) 555-0123"),
    ("IT", "06 698 12345"),
    ("ES", "612 34 56 78"),
    ("PL", "512 345 678"),
    ("CH", "078 123 45 67"),
    ("AT", "0664 123456"),
    ("SE", "070 123 45 67"),
    ("BR", "(11) 96123-4567"),
    ("AR", "011 15-2345-6789"),
    ("MX", "222 123 4567"),
    ("IN", "081234 56789"),
    ("CN", "131 2345 6789"),
    ("JP", "090-1234-5678"),
    ("AU", "0412 345 678"),
    ("ZA", "071 123 4567"),
    ("RU", "8 (912) 345-67-89"),
    ("TR", "0501 234 56 78"),
    ("IL", "050-234-5678"),
    ("SG", "8123 4567"),
    ("BE", "+32 470 12 34 56"),
    ("BE", "0032470123456"),
    ("BE", "32470123456"),
    ("BE", "+32 (0)470/12.34.56"),
    ("BE", "tel:+32-470-12-34-56"),
    ("BE", "+32 2 123 45 67 ext. 5"),
    ("US", "+1 800 FLOWERS"),
    ("BE", "+٣٢٤٧٠١٢٣٤٥٦"),
    ("BE", "112"),
    ("BE", "+999 123 456"),
];

fn key(key: &MatchKey) -> String {
    match key {
        MatchKey::Text(text) => format!("t={text}"),
        MatchKey::Phone(text) => format!("p={text}"),
    }
}

fn joined(parts: impl IntoIterator<Item = String>) -> String {
    parts.into_iter().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(" ")
}

/// One tab-separated line per value: the value, its sort key, its text key, its look-up keys and its words.
fn pins() -> String {
    let mut pins = format!("ENTRIES_VERSION {ENTRIES_VERSION}\n");
    let plain = TEXTS.iter().chain(ADDRESSES).map(|text| (None, *text));
    let twice = TEXTS.iter().zip(TEXTS.iter().skip(1)).map(|(a, b)| format!("{a} {b}")).collect::<Vec<_>>();
    let twice = twice.iter().map(|text| (None, text.as_str()));
    let numbers = NUMBERS.iter().map(|(region, text)| (Region::parse(region), *text));
    for (region, text) in plain.chain(twice).chain(numbers) {
        let keys = joined(lookup_keys(text, region).iter().map(key));
        let line = [text.to_owned(), sort_key(text), text_key(text), keys, joined(words(text))]
            .map(|cell| cell.escape_debug().to_string());
        let _ = writeln!(pins, "{}", line.join("\t"));
    }
    pins
}

#[test]
fn stored_keys_match_the_pinned_versions() {
    let pins = pins();
    if std::env::var_os("WRITE_PINS").is_some() {
        std::fs::write(PINS, &pins).unwrap();
    }
    let pinned = std::fs::read_to_string(PINS).unwrap();
    let changed: Vec<_> = pins.lines().zip(pinned.lines()).filter(|(now, then)| now != then).collect();
    assert!(
        pins == pinned,
        "{} of {} lines differ from {PINS}, for example {:?}. Stored keys of such values are no longer found. Raise \
         ENTRIES_VERSION in shared/src/store/keys.rs, run this test with WRITE_PINS=1, and repair every tenant after the \
         deployment (docs/operations.md).",
        changed.len(),
        pinned.lines().count(),
        changed.first(),
    );
}
