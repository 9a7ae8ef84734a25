//! The values of random sequences: few, so that they collide. The results that docs/api.md promises for each are
//! written by hand, not computed.

use std::sync::LazyLock;

/// A UID as a request sends it, and as it is stored, matched and searched.
pub struct Spelling {
    pub kind: &'static str,
    pub sent: &'static str,
    pub stored_kind: &'static str,
    pub stored: &'static str,
    /// The match key: `t:` and a text, or `p:` and a phone number.
    pub key: &'static str,
    pub words: &'static [&'static str],
}

const fn spelling(
    sent: (&'static str, &'static str),
    stored: (&'static str, &'static str),
    key: &'static str,
    words: &'static [&'static str],
) -> Spelling {
    Spelling { kind: sent.0, sent: sent.1, stored_kind: stored.0, stored: stored.1, key, words }
}

const JANE: &[&str] = &["jane", "example", "com", "jane@example.com"];
const DUTCH: &[&str] = &["31612345678", "0612345678", "612345678"];
const MOBILE: &[&str] = &["32470000001", "0470000001", "470000001"];

/// The UIDs of ordinary requests.
pub const ORDINARY: [Spelling; 11] = [
    spelling(("Email", "jane@example.com"), ("Email", "jane@example.com"), "t:jane@example.com", JANE),
    spelling(("EMAIL", "JANE@Example.COM"), ("Email", "JANE@Example.COM"), "t:jane@example.com", JANE),
    spelling(
        ("", " o'neil@x.be "),
        ("Email", "o'neil@x.be"),
        "t:o'neil@x.be",
        &["o", "neil", "x", "be", "o'neil@x.be"],
    ),
    spelling(("Phone", "+32470000001"), ("Phone", "+32470000001"), "p:+32470000001", MOBILE),
    spelling(("phone", "0032 470 00 00 01"), ("Phone", "+32470000001"), "p:+32470000001", MOBILE),
    spelling(("Phone", "+31612345678"), ("Phone", "+31612345678"), "p:+31612345678", DUTCH),
    spelling(("WhatsApp", "32470000001"), ("WhatsApp", "32470000001"), "p:+32470000001", MOBILE),
    spelling(("whatsapp", "jane.w"), ("WhatsApp", "jane.w"), "t:jane.w", &["jane", "w"]),
    spelling(("Ext", "ERP-1"), ("Ext", "ERP-1"), "t:erp-1", &["erp", "1"]),
    spelling(("EXT", "ERP-1"), ("EXT", "ERP-1"), "t:erp-1", &["erp", "1"]),
    spelling(("ext", "erp-1"), ("ext", "erp-1"), "t:erp-1", &["erp", "1"]),
];

/// The indexes of the UIDs of oversized end users; each UID has 160 words.
pub const WIDE: std::ops::Range<usize> = ORDINARY.len()..ORDINARY.len() + 3;

/// All UIDs: [`ORDINARY`], then [`WIDE`].
pub static SPELLINGS: LazyLock<Vec<Spelling>> = LazyLock::new(|| {
    let wide = WIDE.map(|at| {
        let (value, words) = ideographs(0x5000 + 160 * (at - WIDE.start) as u32, 160);
        spelling(("Ext", value), ("Ext", value), format!("t:{value}").leak(), words)
    });
    ORDINARY.into_iter().chain(wide).collect()
});

/// A text of `count` words of one ideograph each, starting at a code point; and its words.
fn ideographs(first: u32, count: u32) -> (&'static str, &'static [&'static str]) {
    let words = (first..first + count).filter_map(char::from_u32).map(|c| &*c.to_string().leak());
    let words: Vec<&str> = words.collect();
    (words.join(" ").leak(), words.leak())
}

/// A text of 60 words, and its words. Each has 471 bytes once folded, because NFKD replaces `㌖` with six letters of
/// three bytes.
fn growing() -> (&'static str, &'static [&'static str]) {
    let words = |sign: &str| (0..60).map(|n| &*format!("g{n:02}{}", sign.repeat(26)).leak()).collect::<Vec<&str>>();
    (words("㌖").join(" ").leak(), words("キロメートル").leak())
}

/// The values of look-ups and of the uids of tickets, each with the match keys that it finds.
pub const LOOKUPS: [(&str, &[&str]); 8] = [
    ("Jane@EXAMPLE.com", &["t:jane@example.com"]),
    ("o'neil@x.be", &["t:o'neil@x.be"]),
    ("+32 470 00 00 01", &["p:+32470000001", "t:+32 470 00 00 01"]),
    ("32470000001", &["p:+32470000001", "t:32470000001"]),
    ("0031612345678", &["p:+31612345678", "t:0031612345678"]),
    ("JANE.W", &["t:jane.w"]),
    ("Erp-1", &["t:erp-1"]),
    ("nobody", &["t:nobody"]),
];

/// A value of a field: the stored text, its rank in the field's order, and its words.
pub type FieldValue = (&'static str, u32, &'static [&'static str]);

pub struct TextField {
    pub name: &'static str,
    pub values: &'static [FieldValue],
}

/// The number of [`FIELDS`], and the number of those that ordinary requests set, which are the first ones.
pub const FIELD_COUNT: usize = 6;
pub const ORDINARY_FIELDS: usize = 4;

/// The fields that sequences write. All other fields stay empty.
pub static FIELDS: LazyLock<[TextField; FIELD_COUNT]> = LazyLock::new(|| {
    let only = |name, (value, words)| TextField { name, values: vec![(value, 1, words)].leak() };
    [
        TextField {
            name: "firstname",
            values: &[("Ann", 1, &["ann"]), ("bob", 2, &["bob"]), ("Émile", 3, &["emile"])],
        },
        TextField { name: "lastname", values: &[("Doe", 2, &["doe"]), ("doe", 1, &["doe"]), ("Zoë", 3, &["zoe"])] },
        TextField { name: "city", values: &[("Gent", 2, &["gent"]), ("Antwerpen", 1, &["antwerpen"])] },
        TextField { name: "customerRef", values: &[("ERP-1", 2, &["erp", "1"]), ("32470000001", 1, &["32470000001"])] },
        only("company", ideographs(0x4E00, 100)),
        only("otherContactDetails", growing()),
    ]
});

/// The indexes of the fields in the order in which their words count (docs/api.md, Search): before the UIDs, and after
/// them.
pub const SEARCHED_FIELDS: ([usize; 5], usize) = ([0, 1, COMPANY, REFERENCE, 2], DETAILS);
pub const COMPANY: usize = 4;
pub const DETAILS: usize = 5;

/// The index of customerRef in [`FIELDS`], and the match keys of its values.
pub const REFERENCE: usize = 3;
pub const REFERENCE_KEYS: [&str; 2] = ["t:erp-1", "t:32470000001"];

/// The UIDs that the values of customerRef become in a merge with an end user that has another reference.
pub const REFERENCE_UIDS: [Spelling; 2] = [
    spelling(("customerRef", "ERP-1"), ("customerRef", "ERP-1"), REFERENCE_KEYS[0], &["erp", "1"]),
    spelling(("customerRef", "32470000001"), ("customerRef", "32470000001"), REFERENCE_KEYS[1], &["32470000001"]),
];

/// Values of customerType in a request and as they are stored. An empty value keeps the stored type; on create it is
/// Lead.
pub const TYPES: [(&str, Option<&str>); 4] =
    [("", None), ("lead", Some("Lead")), ("PARTNER", Some("Partner")), ("Customer", Some("Customer"))];

/// Searches, each with its alternatives: lists of words that must each be a prefix of some word of the end user.
pub const SEARCHES: [(&str, &[&[&str]]); 10] = [
    ("jan", &[&["jan"]]),
    ("EMILE", &[&["emile"]]),
    ("doe", &[&["doe"]]),
    ("ann doe", &[&["ann", "doe"]]),
    ("example jane", &[&["example", "jane"]]),
    ("Jane@ex", &[&["jane@ex"]]),
    ("0470", &[&["0470"]]),
    ("+32 470", &[&["32", "470"], &["32470"]]),
    ("erp-1", &[&["erp", "1"]]),
    ("nobody", &[&["nobody"]]),
];

/// Searches for words of oversized end users: early words, and words that can be beyond the limits of what is searched.
pub const WIDE_SEARCHES: [(&str, &[&[&str]]); 5] = [
    ("\u{4e00}", &[&["\u{4e00}"]]),
    ("\u{5000}", &[&["\u{5000}"]]),
    ("\u{51df}", &[&["\u{51df}"]]),
    ("g33", &[&["g33"]]),
    ("g59", &[&["g59"]]),
];
