//! Generated end users of typical size, each a pure function of its number. Names repeat as in real data: a few are
//! very frequent, most are rare.

use serde_json::{Value, json};
use shared::domain::end_user::{EndUser, PendingEndUser};
use shared::domain::ids::{EndUserId, UidId};
use shared::domain::input::Json;

use crate::Result;

/// A search that finds 30 % of all end users.
pub(crate) const FREQUENT: &str = "Acme";
/// The number of end users in a company, except that of [`FREQUENT`].
pub(crate) const COLLEAGUES: u32 = 10;

const FIRST: [[&str; 20]; 2] = [
    [
        "An", "Bar", "Cla", "Dir", "El", "Fre", "Ge", "Han", "Il", "Jo", "Ka", "Lie", "Mar", "Nel", "Ol", "Pie", "Ro",
        "Sa", "Ti", "Wil",
    ],
    [
        "a", "ald", "bert", "da", "dine", "ella", "fien", "ine", "ke", "leen", "lies", "mar", "na", "nick", "ra",
        "rik", "sa", "tje", "vin", "wout",
    ],
];
const LAST: [[&str; 20]; 2] = [
    [
        "Aer", "Bogaer", "Claes", "Cools", "De", "Dier", "Gijs", "Goos", "Her", "Jans", "Lam", "Mer", "Nij", "Peet",
        "Ro", "Smee", "Thys", "Van", "Ver", "Wou",
    ],
    [
        "ackers", "aert", "beeck", "borre", "brecht", "bruggen", "daele", "donck", "eghem", "ens", "haegen", "hoven",
        "kens", "linden", "meulen", "mans", "steen", "straeten", "ters", "wijck",
    ],
];
const CITY: [[&str; 32]; 2] = [
    [
        "Aal", "Ant", "Beer", "Blank", "Boor", "Bree", "Brug", "Deinze", "Dender", "Diep", "Eeklo", "Gee", "Gent",
        "Hal", "Has", "Heist", "Herent", "Hoog", "Ieper", "Kapel", "Kort", "Leu", "Lier", "Lok", "Mech", "Mol", "Oost",
        "Pelt", "Roes", "Tiel", "Turn", "Waar",
    ],
    [
        "aarde", "als", "beek", "berg", "brug", "dam", "donk", "dorp", "eind", "em", "ene", "gem", "haven", "heide",
        "hof", "hout", "ingen", "ken", "kerke", "laar", "le", "loo", "monde", "rijk", "rode", "schot", "slag",
        "straat", "veld", "voorde", "werp", "zele",
    ],
];

/// The number of distinct last names.
pub(crate) const LAST_NAMES: usize = 400;

/// A pseudorandom number of an end user's number (SplitMix64). Each use has its own `stream`.
fn mixed(number: u32, stream: u64) -> u64 {
    let mut z = (u64::from(number) << 8 | stream).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A rank below `count`. The frequency of the k-th rank is about 1/k (Zipf's law).
fn rank(number: u32, stream: u64, count: usize) -> usize {
    let share = mixed(number, stream) as f64 / u64::MAX as f64;
    (((count + 1) as f64).powf(share) as usize - 1).min(count - 1)
}

fn word<const N: usize>(parts: &[[&str; N]; 2], rank: usize) -> String {
    // Words of neighbouring ranks are not neighbours in the alphabet.
    let [first, second] = [rank * 7 % N, rank / N];
    format!("{}{}", parts[0][first], parts[1][second])
}

/// The rank of an end user's last name.
pub(crate) fn last_name_rank(number: u32) -> usize {
    rank(number, 1, LAST_NAMES)
}

/// The last name of a rank.
pub(crate) fn last_name(rank: usize) -> String {
    word(&LAST, rank)
}

/// Whether [`FREQUENT`] finds an end user.
pub(crate) fn is_frequent(number: u32) -> bool {
    number % 10 < 3
}

/// The company of an end user.
pub(crate) fn company(number: u32) -> String {
    if is_frequent(number) { format!("{FREQUENT} NV") } else { format!("Firm{:06} BV", number / COLLEAGUES) }
}

/// The customerRef of an end user. It sorts as the number.
pub(crate) fn reference(number: u32) -> String {
    format!("K{number:08}")
}

/// The e-mail address of an end user.
pub(crate) fn email(number: u32) -> String {
    format!("person{number}@example.com")
}

/// The phone number of an end user.
pub(crate) fn phone(number: u32) -> String {
    format!("+3247{number:07}")
}

/// The body of the request that creates the end user.
pub(crate) fn body(number: u32) -> Value {
    let one_of = |all: &[&str], stream| all[(mixed(number, stream) % all.len() as u64) as usize].to_owned();
    let city = (mixed(number, 3) % 1_024) as usize;
    json!({
        "firstname": word(&FIRST, rank(number, 2, 400)),
        "lastname": last_name(last_name_rank(number)),
        "gender": one_of(&["F", "M", "X"], 4),
        "company": company(number),
        "customerRef": reference(number),
        "street": format!("{}laan", word(&CITY, (mixed(number, 5) % 300) as usize)),
        "houseNumber": (mixed(number, 6) % 200 + 1).to_string(),
        "postalCode": (1_000 + city * 8).to_string(),
        "city": word(&CITY, city),
        "country": "BE",
        "lang": one_of(&["nl", "fr"], 7),
        "uids": [{ "uid": email(number), "isPrimary": true }, { "uidType": "Phone", "uid": phone(number) }],
    })
}

/// A body as the API parses it.
pub(crate) fn parse(body: &Value) -> Result<PendingEndUser> {
    let json = Json::parse(body.to_string().as_bytes()).map_err(|_| "an end user is not JSON")?;
    PendingEndUser::read(&json, None).map_err(|errors| format!("an end user is rejected: {errors:?}").into())
}

/// The end user as the API would store it, had it been created as the `number`th of its tenant.
pub(crate) fn end_user(number: u32) -> Result<EndUser> {
    read(&body(number), number)
}

/// The end user of a body, as the `number`th of its tenant.
pub(crate) fn read(body: &Value, number: u32) -> Result<EndUser> {
    let uids = [2 * number - 1, 2 * number].map(|id| UidId::new(id.into()));
    let id = EndUserId::new(number.into()).ok_or("no id")?;
    let end_user = parse(body)?.save(id, 1, uids.into_iter().flatten());
    end_user.map_err(|errors| format!("end user {number} is rejected: {errors:?}").into())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn few_names_are_frequent() {
        let names: std::collections::BTreeSet<_> = (0..LAST_NAMES).map(last_name).collect();
        assert_eq!(names.len(), LAST_NAMES);
        let mut counts = BTreeMap::<usize, u32>::new();
        (1..=100_000).for_each(|number| *counts.entry(last_name_rank(number)).or_default() += 1);
        assert_eq!(counts.len(), LAST_NAMES);
        assert!((10_000..13_000).contains(&counts[&0]), "{:?}", counts[&0]);
        assert!(counts[&(LAST_NAMES - 1)] < 100);
    }

    #[test]
    fn end_user_is_of_typical_size() {
        for number in [1, 999_999, 1_000_000] {
            let end_user = end_user(number).expect("an end user");
            assert_eq!(end_user.uids.len(), 2);
            let stored = serde_json::to_string(&end_user).expect("JSON");
            assert!(stored.len() < 900, "{stored}");
        }
    }
}
