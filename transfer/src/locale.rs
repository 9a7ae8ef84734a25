//! Names of countries and languages, converted to the API's codes.

use std::collections::HashMap;
use std::sync::LazyLock;

use shared::domain::text;

type Codes = HashMap<String, &'static str>;

/// The two-letter code of a name or a three-letter code. `None` for a two-letter code and an unknown name.
pub(crate) fn country(name: &str) -> Option<&'static str> {
    static CODES: LazyLock<Codes> = LazyLock::new(|| read_table(include_str!("countries.tab")));
    find(&CODES, name)
}

/// The code of a name or of a tag with more than a region: `nl` for `Dutch`, `zh-CN` for `zh-Hans-CN`, `es` for
/// `es-419`. `None` for a tag in the API's format and an unknown name.
pub(crate) fn language(name: &str) -> Option<String> {
    static CODES: LazyLock<Codes> = LazyLock::new(|| read_table(include_str!("languages.tab")));
    find(&CODES, name).map(str::to_owned).or_else(|| shorten_tag(name))
}

fn read_table(table: &'static str) -> Codes {
    let lines = table.lines().filter(|line| !line.starts_with('#'));
    let names = lines.filter_map(|line| line.split_once('\t'));
    // The code itself finds spellings such as U.S.
    let names = names.map(|(code, names)| (code, names.split('\t').chain([code])));
    names.flat_map(|(code, names)| names.map(move |name| (letters(name), code))).collect()
}

/// The code of a name of 3 to 100 bytes; no name in the tables is longer.
fn find(codes: &Codes, name: &str) -> Option<&'static str> {
    (3..=100).contains(&name.len()).then(|| codes.get(&letters(name)).copied()).flatten()
}

/// The letters by which names are compared, without the optional words `and` and `the`.
fn letters(name: &str) -> String {
    let words: Vec<String> = text::words(name).collect();
    // A single word is kept: AND is Andorra.
    let counts = |word: &&String| words.len() == 1 || !matches!(word.as_str(), "and" | "the");
    words.iter().filter(counts).map(|word| if word == "saint" { "st" } else { word }).collect()
}

/// The language and region of a longer language tag (BCP 47).
fn shorten_tag(tag: &str) -> Option<String> {
    let parts: Vec<&str> = tag.split(['-', '_']).collect();
    let alphabetic = |part: &str| part.bytes().all(|byte| byte.is_ascii_alphabetic());
    let (language, more) = parts.split_first()?;
    let plain = more.is_empty() || tag.len() <= 5 && more.len() == 1 && more[0].len() == 2;
    if plain || !(2..=3).contains(&language.len()) || !alphabetic(language) {
        return None;
    }
    let region = more.iter().find(|part| part.len() == 2 && alphabetic(part)).filter(|_| language.len() == 2);
    Some(region.map_or_else(|| (*language).to_owned(), |region| format!("{language}-{region}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn country_is_found_by_name_and_three_letter_code() {
        for (name, code) in [
            ("Belgium", "BE"),
            ("the netherlands", "NL"),
            ("United States of America", "US"),
            ("Côte d’Ivoire", "CI"),
            ("Saint Lucia", "LC"),
            ("Trinidad and Tobago", "TT"),
            ("Britain (UK)", "GB"),
            ("Turkiye", "TR"),
            ("BEL", "BE"),
            ("deu", "DE"),
            ("U.S.", "US"),
            ("AND", "AD"),
            ("België", "BE"),
            ("BELGIQUE", "BE"),
            ("Österreich", "AT"),
            ("Ελλάδα", "GR"),
            ("日本", "JP"),
        ] {
            assert_eq!(country(name), Some(code), "{name}");
        }
        for name in ["BE", "be", "", "Atlantis", "XYZ", "the", "&&&", &"Belgium ".repeat(1_000)] {
            assert_eq!(country(name), None, "{name}");
        }
    }

    #[test]
    fn language_is_found_by_name_and_long_tag() {
        for (name, code) in [
            ("zh-Hans-CN", "zh-CN"),
            ("es-419", "es"),
            ("fil-PH", "fil"),
            ("sr_Latn", "sr"),
            ("Dutch", "nl"),
            ("Français", "fr"),
            ("ENGLISH", "en"),
            ("日本語", "ja"),
        ] {
            assert_eq!(language(name).as_deref(), Some(code), "{name}");
        }
        for tag in ["nl", "nld", "nl-BE", "EN_us", "", "Klingon", "a-b-c"] {
            assert_eq!(language(tag), None, "{tag}");
        }
    }

    #[test]
    fn name_has_one_code() {
        for table in [include_str!("countries.tab"), include_str!("languages.tab")] {
            let mut codes = Codes::new();
            for line in table.lines().filter(|line| !line.starts_with('#')) {
                let (code, names) = line.split_once('\t').expect("a code and names");
                for name in names.split('\t') {
                    let other = codes.insert(letters(name), code);
                    assert!(other.is_none_or(|other| other == code) && name.len() <= 100, "{name}");
                    assert!(!letters(name).is_empty(), "{name}");
                }
            }
        }
    }
}
