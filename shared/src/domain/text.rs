//! Normal forms of text: [`clean`] for storing, [`caseless`] for comparing, [`words`] for searching and [`sort_key`]
//! for sorting.

use std::fmt;
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::{GeneralPurpose, general_purpose};
use icu_casemap::CaseMapper;
use icu_collator::options::{AlternateHandling, CollatorOptions, Strength};
use icu_collator::{Collator, CollatorBorrowed, CollatorPreferences};
use icu_normalizer::{ComposingNormalizer, DecomposingNormalizer};
use icu_properties::CodePointMapData;
use icu_properties::props::{GeneralCategory, GeneralCategoryGroup};

/// The maximum length of a text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Limit {
    /// Unicode scalar values.
    Chars(usize),
    /// Bytes of UTF-8.
    Bytes(usize),
}

/// An error of [`clean`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TextError {
    /// The text is longer than its limit.
    TooLong(Limit),
    /// The text contains a control character other than tab, line feed and carriage return.
    ControlCharacter,
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong(Limit::Chars(max)) => write!(f, "must be at most {max} characters"),
            Self::TooLong(Limit::Bytes(max)) => write!(f, "must be at most {max} bytes of UTF-8"),
            Self::ControlCharacter => f.write_str("must not contain control characters"),
        }
    }
}

impl std::error::Error for TextError {}

/// The stored form of a text: trimmed of Unicode white space, in Normalization Form C (UAX #15),
/// free of control characters other than tab, line feed and carriage return, within `limit`.
pub fn clean(raw: &str, limit: Limit) -> Result<String, TextError> {
    let trimmed = raw.trim();
    if trimmed.contains(|c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r')) {
        return Err(TextError::ControlCharacter);
    }
    let text = ComposingNormalizer::new_nfc().normalize(trimmed).into_owned();
    let fits = match limit {
        Limit::Chars(max) => text.chars().count() <= max,
        Limit::Bytes(max) => text.len() <= max,
    };
    if fits { Ok(text) } else { Err(TextError::TooLong(limit)) }
}

/// The compatibility caseless form: two texts have the same form if and only if they are a compatibility caseless match
/// (The Unicode Standard §3.13, D146). Case, width and composition are ignored.
pub fn caseless(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let (case, nfkc) = (CaseMapper::new(), ComposingNormalizer::new_nfkc());
    let decomposed = DecomposingNormalizer::new_nfd().normalize(text);
    let folded = nfkc.normalize(&case.fold_string(&decomposed)).into_owned();
    nfkc.normalize(&case.fold_string(&folded)).into_owned()
}

/// The searched form: compatibility decomposition (NFKD) without marks, case-folded, with Latin letters that do not
/// decompose replaced by basic letters (docs/api.md, Search).
pub fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let decomposed: String = DecomposingNormalizer::new_nfkd()
        .normalize(text)
        .chars()
        .filter(|&c| !is_of(c, GeneralCategoryGroup::Mark))
        .collect();
    let mut folded = String::with_capacity(decomposed.len());
    for c in CaseMapper::new().fold_string(&decomposed).chars() {
        match c {
            'ø' => folded.push('o'),
            'ł' => folded.push('l'),
            'đ' | 'ð' => folded.push('d'),
            'æ' => folded.push_str("ae"),
            'œ' => folded.push_str("oe"),
            'þ' => folded.push_str("th"),
            'ı' => folded.push('i'),
            // Case folding already replaced ß by ss.
            _ => folded.push(c),
        }
    }
    folded
}

/// The number of characters of a word that are searched.
pub(super) const WORD_LENGTH: usize = 200;

/// The folded words of a text in order: runs of letters, marks and decimal digits, each cut to its first 200
/// characters.
///
/// The text is folded before it is split, so its words do not depend on its normalization form.
pub fn words(text: &str) -> impl Iterator<Item = String> {
    let in_word = GeneralCategoryGroup::Letter.union(GeneralCategoryGroup::DecimalNumber);
    let folded = fold(text);
    let words: Vec<String> = folded
        .split(|c| !is_of(c, in_word))
        .filter(|word| !word.is_empty())
        .map(|word| word.chars().take(WORD_LENGTH).collect())
        .collect();
    words.into_iter()
}

/// Returns whether the general category (UAX #44) of `c` is in `group`.
pub(super) fn is_of(c: char, group: GeneralCategoryGroup) -> bool {
    group.contains(CodePointMapData::<GeneralCategory>::new().get(c))
}

/// Maximum length of a collation key in bytes. It becomes 880 characters, so that a DynamoDB sort key (1,024 bytes) has
/// room for the rest.
const SORT_KEY_BYTES: usize = 660;

/// The sort key of a text: keys in byte order are the texts in the root collation of CLDR (UTS #10, UTS #35 part 5),
/// with three levels and punctuation not ignored. The empty text has the empty key, which sorts first.
///
/// The key is the first 660 bytes of the collation key in an order-preserving base 64 of `./0-9A-Za-z`.
pub fn sort_key(text: &str) -> String {
    /// The encoding keeps the order of bytes: the alphabet of `crypt` is in ASCII order, and without padding a prefix
    /// sorts before longer keys.
    const ORDERED: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::CRYPT, general_purpose::NO_PAD);
    static ROOT: LazyLock<CollatorBorrowed<'static>> = LazyLock::new(|| {
        let mut options = CollatorOptions::default();
        options.strength = Some(Strength::Tertiary);
        options.alternate_handling = Some(AlternateHandling::NonIgnorable);
        Collator::try_new(CollatorPreferences::default(), options).expect("the root collation is compiled in")
    });

    if text.is_empty() {
        return String::new();
    }
    let mut key = Vec::new();
    let Ok(()) = ROOT.write_sort_key_to(text, &mut key);
    key.truncate(SORT_KEY_BYTES);
    ORDERED.encode(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Vec<String> {
        words(text).collect()
    }

    /// Every assigned character.
    fn characters() -> impl Iterator<Item = char> {
        let unassigned = GeneralCategoryGroup::Unassigned.union(GeneralCategoryGroup::PrivateUse);
        ('\0'..=char::MAX).filter(move |&c| !is_of(c, unassigned))
    }

    #[test]
    fn clean_trims_and_composes() {
        let white_space: String = characters().filter(|c| c.is_whitespace()).collect();
        assert_eq!(white_space.chars().count(), 25);
        assert_eq!(clean(&format!("{white_space}e\u{301} a{white_space}"), Limit::Chars(3)).as_deref(), Ok("é a"));
        assert_eq!(clean(" \u{3000} ", Limit::Chars(0)).as_deref(), Ok(""));
        assert_eq!(clean("a\tb\r\nc", Limit::Chars(6)).as_deref(), Ok("a\tb\r\nc"));
    }

    #[test]
    fn limits_apply_after_trimming_and_composing() {
        assert_eq!(clean(" e\u{301}e\u{301} ", Limit::Chars(2)).as_deref(), Ok("éé"));
        assert_eq!(clean("ééé", Limit::Chars(2)), Err(TextError::TooLong(Limit::Chars(2))));
        assert_eq!(clean("😀😀", Limit::Chars(2)).as_deref(), Ok("😀😀"));
        assert_eq!(clean("é", Limit::Bytes(2)).as_deref(), Ok("é"));
        assert_eq!(clean("éa", Limit::Bytes(2)), Err(TextError::TooLong(Limit::Bytes(2))));
        // U+0958 is a composition exclusion: its NFC has two characters.
        assert_eq!(clean("\u{958}", Limit::Chars(1)), Err(TextError::TooLong(Limit::Chars(1))));
        assert_eq!(TextError::TooLong(Limit::Chars(200)).to_string(), "must be at most 200 characters");
    }

    #[test]
    fn control_characters_except_tab_cr_and_lf_are_refused() {
        let accepted: Vec<char> =
            characters().filter(|c| c.is_control() && clean(&format!("a{c}b"), Limit::Chars(3)).is_ok()).collect();
        assert_eq!(accepted, ['\t', '\n', '\r']);
        assert_eq!(TextError::ControlCharacter.to_string(), "must not contain control characters");
    }

    #[test]
    fn caseless_forms_ignore_case_width_and_composition() {
        for (left, right) in [
            ("Straße", "STRASSE"),
            ("ＡＢＣ１", "abc1"),
            ("E\u{301}", "é"),
            ("ΣΊΣΥΦΟΣ", "σίσυφος"),
            ("ﬁ", "FI"),
            ("\u{1f80}", "\u{3b1}\u{345}\u{313}"),
            ("ſ", "S"),
            ("㎏", "KG"),
        ] {
            assert_eq!(caseless(left), caseless(right), "{left} {right}");
        }
        for (left, right) in [("a", "á"), ("İ", "i"), ("ı", "i"), ("a b", "ab")] {
            assert_ne!(caseless(left), caseless(right), "{left} {right}");
        }
    }

    #[test]
    fn caseless_and_fold_are_idempotent() {
        for c in characters() {
            let text = format!("a{c}\u{301}\u{345}b");
            let (key, folded) = (caseless(&text), fold(&text));
            assert_eq!(caseless(&key), key, "U+{:04X}", u32::from(c));
            assert_eq!(fold(&folded), folded, "U+{:04X}", u32::from(c));
            assert_eq!(split(&folded), split(&text), "U+{:04X}", u32::from(c));
        }
    }

    #[test]
    fn fold_yields_basic_lower_case_letters() {
        for (text, folded) in [
            ("Ærøskøbing ŁÓDŹ", "aeroskobing lodz"),
            ("Đorđe Ðísa", "dorde disa"),
            ("ŒUVRE œuvre", "oeuvre oeuvre"),
            ("Straße STRAẞE", "strasse strasse"),
            ("Þór þú", "thor thu"),
            ("ISTANBUL İstanbul ılık", "istanbul istanbul ilik"),
            ("ﬁx ＡＢ x² Ⅷ ǿ ǽ", "fix ab x2 viii o ae"),
            ("Ελλάς", "ελλασ"),
            ("हिन्दी", "हनद"),
        ] {
            assert_eq!(fold(text), folded);
        }
    }

    #[test]
    fn words_are_runs_of_letters_marks_and_digits() {
        assert_eq!(split("Jean-Luc  O'Neil, 12bis"), ["jean", "luc", "o", "neil", "12bis"]);
        assert_eq!(split("jane.doe+x@example.com"), ["jane", "doe", "x", "example", "com"]);
        assert_eq!(split("東京 都"), ["東京", "都"]);
        assert_eq!(split("a\u{200d}b ٤٧ snake_case"), ["a", "b", "٤٧", "snake", "case"]);
        assert!(split("").is_empty() && split("— ! \u{301} ☎").is_empty());
        assert_eq!(split("É"), split("E\u{301}"));
        // U+1EBE composed, and decomposed into a letter, a mark that NFC reorders, and another mark.
        assert_eq!(split("\u{1ebe}\u{327}x"), split("E\u{327}\u{302}\u{301}x"));
    }

    #[test]
    fn words_are_cut_to_200_characters() {
        assert_eq!(split(&"é".repeat(201)), ["e".repeat(200)]);
        assert_eq!(split(&format!("{} b", "ﷺ".repeat(60))).last().map(String::as_str), Some("b"));
    }

    #[test]
    fn sort_keys_order_as_the_collation_does() {
        let sorted = [
            "", "_", "-", ",", "a b", "a-b", "1", "10", "2", "a", "A", "á", "Á", "aa", "Aa", "ab", "æ", "b", "de luge",
            "de-luge", "deluge", "resume", "résumé", "Résumé", "ss", "ß", "z", "Ω", "я", "あ", "ア", "日本", "😀",
        ];
        let collator = Collator::try_new(CollatorPreferences::default(), CollatorOptions::default()).expect("root");
        for left in sorted {
            for right in sorted {
                assert_eq!(sort_key(left).cmp(&sort_key(right)), collator.compare(left, right), "{left:?} {right:?}");
            }
        }
        for pair in ["a", "A", "á", "aa", "ab", "b", "de luge", "de-luge", "deluge"].windows(2) {
            assert!(sort_key(pair[0]) < sort_key(pair[1]), "{pair:?}");
        }
        assert_eq!(sort_key("é"), sort_key("e\u{301}"));
    }

    #[test]
    fn sort_key_is_short_ascii_and_empty_only_for_empty_text() {
        for c in characters() {
            let key = sort_key(&String::from(c));
            assert!(!key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'/'));
        }
        assert_eq!(sort_key(""), "");
        assert_eq!(sort_key(&"ﷺ日".repeat(100)).len(), 880);
        let long = "x".repeat(190);
        assert!(sort_key(&format!("{long}a")) < sort_key(&format!("{long}b")));
    }

    #[test]
    fn base64_encoding_keeps_the_order_of_bytes() {
        let engine = GeneralPurpose::new(&base64::alphabet::CRYPT, general_purpose::NO_PAD);
        let bytes: Vec<Vec<u8>> = (0..=255u8)
            .flat_map(|a| [vec![a], vec![a, 0], vec![a, 0, 0], vec![a, 0, 1], vec![a, 7, 255, 0], vec![a, 255]])
            .collect();
        for left in &bytes {
            for right in &bytes {
                assert_eq!(engine.encode(left).cmp(&engine.encode(right)), left.cmp(right));
            }
        }
    }
}
