//! Which column becomes which field, and what body a row becomes by that.

use std::collections::HashMap;
use std::fmt;
use std::sync::LazyLock;

use shared::domain::input::{Faults, Json};
use shared::domain::profile::Field;
use shared::domain::text;
use shared::domain::uid::UidType;

use crate::presets::Preset;
use crate::stop::Stop;

/// What a column is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Target {
    /// A field of the profile.
    Field(Field),
    /// A whole name: the first name up to the first space, the last name behind it.
    Name,
    /// HubSpot's lifecycle stage: a customer from `Customer` on, else what a new person is.
    Lifecycle,
    /// UIDs of a type.
    Uid(UidType),
    /// `uids` as the API takes them, in CSV as JSON.
    Uids,
    /// Nothing that is imported.
    Nothing,
}

const NAME: &str = "name";
const LIFECYCLE: &str = "lifecycle";
const UIDS: &str = "uids";
const NOTHING: &str = "-";
const UID: &str = "uid:";

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(field) => f.write_str(field.name()),
            Self::Name => f.write_str(NAME),
            Self::Lifecycle => f.write_str(LIFECYCLE),
            Self::Uid(UidType::Other(kind)) => write!(f, "{UID}{kind}"),
            Self::Uid(kind) => f.write_str(&kind.as_str().to_ascii_lowercase()),
            Self::Uids => f.write_str(UIDS),
            Self::Nothing => f.write_str(NOTHING),
        }
    }
}

impl Target {
    /// What a column of this very name is, in any case.
    fn of_header(header: &str) -> Option<Self> {
        let is = |name: &str| header.eq_ignore_ascii_case(name);
        if let Some(field) = Field::ALL.into_iter().find(|field| is(field.name())) {
            return Some(Self::Field(field));
        }
        if let Some((prefix, kind)) = header.split_at_checked(UID.len())
            && prefix.eq_ignore_ascii_case(UID)
            && !kind.trim().is_empty()
        {
            return Some(Self::Uid(UidType::parse(kind.trim())));
        }
        let kinds = [UidType::Email, UidType::Phone, UidType::WhatsApp];
        let kind = kinds.into_iter().find(|kind| is(kind.as_str()));
        kind.map(Self::Uid).or_else(|| is(UIDS).then_some(Self::Uids))
    }

    /// What `--map` and the presets name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        [Self::Name, Self::Lifecycle, Self::Nothing]
            .into_iter()
            .find(|target| name.eq_ignore_ascii_case(&target.to_string()))
            .or_else(|| Self::of_header(name))
    }
}

/// What each column of a file is. The order is that in which a person's UIDs stand, and in which the
/// first of several values is chosen.
#[derive(Debug)]
pub(crate) struct Mapping {
    columns: Vec<(String, Target)>,
    ignored: Vec<String>,
}

impl Mapping {
    /// The mapping of a file with these columns: what is asked for by `maps` (header and field), then
    /// what the preset says, then columns with the names of fields. A column may be several fields, and
    /// a field may have several columns.
    pub(crate) fn new(columns: &[String], maps: &[(String, String)], preset: Option<Preset>) -> Result<Self, Stop> {
        let mut found: Vec<(String, Target)> = Vec::new();
        for (header, name) in maps {
            let target = Target::parse(name.trim()).ok_or_else(|| Stop::Usage(unknown_field(name)))?;
            let column = columns.iter().find(|column| same(column, header));
            let column = column.ok_or_else(|| Stop::Usage(unknown_column(header, columns)))?;
            found.push((column.clone(), target));
        }
        let is_free = |found: &[(String, Target)], column: &String| found.iter().all(|(taken, _)| !same(taken, column));
        let mut free: Vec<&String> = columns.iter().filter(|column| is_free(&found, column)).collect();
        for (header, target) in preset.map(Preset::targets).unwrap_or_default() {
            found.extend(free.iter().find(|column| same(column, header)).map(|column| ((*column).clone(), target)));
        }
        free.retain(|column| is_free(&found, column));
        for column in free {
            if let Some(target) = Target::of_header(column)
                && is_free(&found, column)
            {
                found.push((column.clone(), target));
            }
        }
        let ignored = columns.iter().filter(|column| is_free(&found, column)).cloned().collect();
        found.retain(|(_, target)| *target != Target::Nothing);
        if found.is_empty() {
            let message = format!("no column is mapped to a field; {}", choice(columns));
            return Err(Stop::Usage(message));
        }
        Ok(Self { columns: found, ignored })
    }

    /// The columns that nobody spoke of.
    pub(crate) fn ignored(&self) -> &[String] {
        &self.ignored
    }

    /// The EndUserCreateDTO of a row.
    pub(crate) fn person(&self, members: &[(String, Json)]) -> Result<Json, Faults> {
        let mut person = Person::default();
        for (column, target) in &self.columns {
            for (_, value) in members.iter().filter(|(name, value)| same(name, column) && !is_blank(value)) {
                person.add(target, value)?;
            }
        }
        person.body().ok_or_else(|| Faults::one("body", "nothing of it is mapped to a field"))
    }
}

impl fmt::Display for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<_> = self.columns.iter().map(|(column, target)| format!("{column} → {target}")).collect();
        f.write_str(&columns.join(", "))
    }
}

fn same(left: &str, right: &str) -> bool {
    left.trim().eq_ignore_ascii_case(right.trim())
}

fn is_blank(value: &Json) -> bool {
    match value {
        Json::Null => true,
        Json::String(text) => text.trim().is_empty(),
        _ => false,
    }
}

fn choice(columns: &[String]) -> String {
    format!("there are the columns {}", columns.join(", "))
}

fn unknown_column(header: &str, columns: &[String]) -> String {
    format!("--map: there is no column {header}; {}", choice(columns))
}

fn unknown_field(name: &str) -> String {
    let fields = Field::ALL.map(Field::name).join(", ");
    format!(
        "--map: there is no field {name}; there are {fields}, {NAME}, email, phone, whatsapp, {UID}TYPE, {UIDS}, \
         {LIFECYCLE}, and {NOTHING} for none"
    )
}

/// A body in the making.
#[derive(Default)]
struct Person {
    fields: Vec<(Field, Json)>,
    name: Option<String>,
    uids: Vec<Json>,
    /// Of those from columns of e-mail addresses, where the first is among `uids`.
    first_email: Option<usize>,
    /// Whether a UID from `uids` is marked primary.
    has_primary: bool,
}

impl Person {
    fn add(&mut self, target: &Target, value: &Json) -> Result<(), Faults> {
        match target {
            Target::Field(field) => self.add_field(*field, value),
            Target::Name => self.name = self.name.take().or_else(|| as_text(value)),
            Target::Lifecycle => {
                let stage = as_text(value).unwrap_or_default();
                if ["customer", "evangelist"].iter().any(|customer| same(&stage, customer)) {
                    self.add_field(Field::CustomerType, &Json::String("Customer".to_owned()));
                }
            }
            Target::Uid(kind) => self.add_uids(kind, value),
            Target::Uids => {
                let parsed = value.as_str().map(|text| Json::parse(text.as_bytes()));
                let Some(Json::Array(uids)) = parsed.map_or_else(|| Some(value.clone()), Result::ok) else {
                    return Err(Faults::one(UIDS, "must be a JSON array, as the export writes it"));
                };
                self.has_primary |= uids.iter().any(|uid| member(uid, "isPrimary") == Some(&Json::Bool(true)));
                self.uids.extend(uids);
            }
            Target::Nothing => {}
        }
        Ok(())
    }

    /// Of several values, texts are joined where a text of several makes sense; else the first stays. A
    /// value that is no text goes as it is, for the API to refuse.
    fn add_field(&mut self, field: Field, value: &Json) {
        let value = as_text(value).map_or_else(|| value.clone(), |text| Json::String(spell(field, text)));
        let Some((_, before)) = self.fields.iter_mut().find(|(known, _)| *known == field) else {
            return self.fields.push((field, value));
        };
        let separator = match field {
            Field::OtherContactDetails | Field::AiDocumentation => "\n",
            Field::Firstname | Field::Lastname | Field::Street => " ",
            _ => return,
        };
        if let (Json::String(before), Json::String(more)) = (before, value)
            && *before != more
        {
            *before += &format!("{separator}{more}");
        }
    }

    fn add_uids(&mut self, kind: &UidType, value: &Json) {
        let values = match value {
            Json::Array(values) => values.clone(),
            value => vec![value.clone()],
        };
        for value in values.iter().filter(|value| !is_blank(value)) {
            let values = match as_text(value) {
                Some(text) if !matches!(kind, UidType::Other(_)) => split(&text),
                Some(text) => vec![text],
                None => {
                    self.push_uid(kind, value.clone());
                    continue;
                }
            };
            values.into_iter().for_each(|text| self.push_uid(kind, Json::String(text)));
        }
    }

    fn push_uid(&mut self, kind: &UidType, value: Json) {
        if *kind == UidType::Email {
            self.first_email.get_or_insert(self.uids.len());
        }
        let kind = Json::String(kind.as_str().to_owned());
        self.uids.push(Json::Object(vec![("uidType".to_owned(), kind), ("uid".to_owned(), value)]));
    }

    /// The body; `None` where there is nothing in it.
    fn body(mut self) -> Option<Json> {
        let is_named = |(field, _): &(Field, Json)| matches!(field, Field::Firstname | Field::Lastname);
        if let Some(name) = self.name.take().filter(|_| !self.fields.iter().any(is_named)) {
            let (first, last) = name.trim().split_once(char::is_whitespace).unwrap_or((name.trim(), ""));
            for (field, part) in [(Field::Firstname, first), (Field::Lastname, last.trim())] {
                if !part.is_empty() {
                    self.fields.push((field, Json::String(part.to_owned())));
                }
            }
        }
        if let Some(Json::Object(email)) = self.first_email.filter(|_| !self.has_primary).map(|i| &mut self.uids[i]) {
            email.push(("isPrimary".to_owned(), Json::Bool(true)));
        }
        let fields = self.fields.into_iter().map(|(field, value)| (field.name().to_owned(), value));
        let uids = (!self.uids.is_empty()).then(|| (UIDS.to_owned(), Json::Array(self.uids)));
        let members: Vec<_> = fields.chain(uids).collect();
        (!members.is_empty()).then_some(Json::Object(members))
    }
}

/// The member of an object, its name in any case.
fn member<'a>(json: &'a Json, name: &str) -> Option<&'a Json> {
    let Json::Object(members) = json else { return None };
    members.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// The text of a value that is one, or a number.
fn as_text(value: &Json) -> Option<String> {
    match value {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The values of a cell that may hold several. The `;` of a phone's own parameters (RFC 3966, as the API
/// writes extensions) divides none.
fn split(text: &str) -> Vec<String> {
    let mut values: Vec<String> = Vec::new();
    for part in text.split_inclusive([';', ',']) {
        let parameter = ["ext=", "phone-context="]
            .iter()
            .any(|name| part.trim_start().get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)));
        match values.last_mut() {
            Some(last) if parameter && last.ends_with(';') => *last += part.trim(),
            _ => values.push(part.trim().to_owned()),
        }
    }
    let trimmed = values.iter().map(|value| value.trim_end_matches([';', ',']).trim());
    trimmed.filter(|value| !value.is_empty()).map(str::to_owned).collect()
}

/// What other products write differently: a country by its English name, a language with more than a
/// region. What is not known is left to the API to refuse.
fn spell(field: Field, text: String) -> String {
    match field {
        Field::Country => country(text.trim()).map_or(text, str::to_owned),
        Field::Lang => language(text.trim()).unwrap_or(text),
        _ => text,
    }
}

fn country(name: &str) -> Option<&'static str> {
    static CODES: LazyLock<HashMap<String, &'static str>> = LazyLock::new(|| {
        let lines = include_str!("countries.tab").lines().filter(|line| !line.starts_with('#'));
        let names = lines.filter_map(|line| line.split_once('\t'));
        names.flat_map(|(code, names)| names.split('\t').map(move |name| (country_key(name), code))).collect()
    });
    (name.len() != 2).then(|| CODES.get(&country_key(name)).copied()).flatten()
}

fn country_key(name: &str) -> String {
    let words = text::words(name).filter(|word| word != "and" && word != "the");
    words.map(|word| if word == "saint" { "st".to_owned() } else { word }).collect()
}

/// `zh-Hans-CN` as `zh-CN`, `es-419` as `es`; `None` for what is short enough, or no language tag (BCP 47).
fn language(tag: &str) -> Option<String> {
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
    use shared::domain::end_user::Draft;

    use super::*;

    fn columns(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn mapping(names: &[&str], maps: &[(&str, &str)]) -> Result<Mapping, String> {
        let maps: Vec<_> = maps.iter().map(|(header, field)| ((*header).to_owned(), (*field).to_owned())).collect();
        Mapping::new(&columns(names), &maps, None).map_err(|stop| stop.to_string())
    }

    /// The body of a row of texts, or its faults.
    fn person(cells: &[(&str, &str)], maps: &[(&str, &str)]) -> String {
        let names: Vec<_> = cells.iter().map(|(name, _)| *name).collect();
        let cells: Vec<_> =
            cells.iter().map(|(name, text)| ((*name).to_owned(), Json::String((*text).into()))).collect();
        match mapping(&names, maps).expect("a mapping").person(&cells) {
            Ok(body) => serde_json::to_string(&body).expect("JSON"),
            Err(faults) => format!("{:?}", faults.as_map()),
        }
    }

    #[test]
    fn columns_are_known_by_the_names_of_fields_in_any_case() {
        let cells = [
            ("FirstName", "Ann"),
            ("CUSTOMERREF", "7"),
            ("Email", "a@x.be"),
            ("uid:Crm", "1, 2"),
            ("uid:phone", "1"),
            ("Tags", "vip"),
            ("whatsapp", " "),
        ];
        assert_eq!(
            person(&cells, &[]),
            r#"{"firstname":"Ann","customerRef":"7","uids":[{"uidType":"Email","uid":"a@x.be","isPrimary":true},{"uidType":"Crm","uid":"1, 2"},{"uidType":"Phone","uid":"1"}]}"#
        );
        let mapping = mapping(&cells.map(|(name, _)| name), &[]).expect("a mapping");
        assert_eq!(mapping.ignored(), ["Tags"]);
        assert_eq!(mapping.to_string().split(", ").nth(3), Some("uid:Crm → uid:Crm"));
    }

    #[test]
    fn a_map_overrides_a_name_and_may_use_a_column_twice_or_not_at_all() {
        let cells = [("Id", "7"), ("Email", "a@x.be"), ("Phone", "1"), ("Work", "b@x.be")];
        let maps = [("id", "customerRef"), ("Id", "uid:Crm"), ("work", "email"), ("Phone", "-")];
        assert_eq!(
            person(&cells, &maps),
            r#"{"customerRef":"7","uids":[{"uidType":"Crm","uid":"7"},{"uidType":"Email","uid":"b@x.be","isPrimary":true},{"uidType":"Email","uid":"a@x.be"}]}"#
        );
    }

    #[test]
    fn what_is_mapped_to_nowhere_is_named_with_what_there_is() {
        let error = mapping(&["Mail", "Tags"], &[("E-mail", "email")]).expect_err("no such column");
        assert_eq!(error, "--map: there is no column E-mail; there are the columns Mail, Tags");
        let error = mapping(&["Mail"], &[("Mail", "mail")]).expect_err("no such field");
        assert!(error.starts_with("--map: there is no field mail; there are firstname, "), "{error}");
        let error = mapping(&["Mail", "uid:"], &[]).expect_err("nothing to import");
        assert_eq!(error, "no column is mapped to a field; there are the columns Mail, uid:");
    }

    #[test]
    fn a_whole_name_is_divided_at_its_first_space_unless_its_parts_are_there() {
        let map = [("Full", "name")];
        assert_eq!(person(&[("Full", " Ann van Dam ")], &map), r#"{"firstname":"Ann","lastname":"van Dam"}"#);
        assert_eq!(person(&[("Full", "Ann")], &map), r#"{"firstname":"Ann"}"#);
        assert_eq!(person(&[("Full", "Ann Dam"), ("lastname", "Smit")], &map), r#"{"lastname":"Smit"}"#);
    }

    #[test]
    fn several_columns_of_a_field_are_joined_or_the_first_that_is_not_blank_counts() {
        let maps = [
            ("a", "otherContactDetails"),
            ("b", "otherContactDetails"),
            ("c", "street"),
            ("d", "street"),
            ("e", "customerRef"),
            ("f", "customerRef"),
            ("g", "customerRef"),
        ];
        let cells = [("a", "1"), ("b", "2"), ("c", "3"), ("d", "3"), ("e", ""), ("f", "5"), ("g", "6")];
        assert_eq!(person(&cells, &maps), r#"{"otherContactDetails":"1\n2","street":"3","customerRef":"5"}"#);
    }

    #[test]
    fn a_cell_of_several_addresses_is_several_uids() {
        let kinds = |cell| split(cell).join(" | ");
        assert_eq!(kinds(" a@x.be; b@x.be,c@x.be ;"), "a@x.be | b@x.be | c@x.be");
        assert_eq!(kinds("+32470000000;ext=5;+32470000001 ; EXT=6,1"), "+32470000000;ext=5 | +32470000001 ;EXT=6 | 1");
        assert_eq!(kinds("0470;phone-context=+32"), "0470;phone-context=+32");
        assert_eq!(kinds(",;"), "");
    }

    #[test]
    fn uids_are_taken_as_the_export_writes_them_with_their_own_primary() {
        let uids = r#"[{"endUserUIDID":1,"uidType":"Phone","uid":"1","isPrimary":true}]"#;
        let expected = format!(r#"{{"uids":[{{"uidType":"Email","uid":"a@x.be"}},{}}}"#, &uids[1..]);
        assert_eq!(person(&[("email", "a@x.be"), ("uids", uids)], &[]), expected);
        assert!(person(&[("uids", "{}")], &[]).starts_with(r#"{"uids": ["must be a JSON array"#));
        assert!(person(&[("uids", "a@x.be")], &[]).starts_with(r#"{"uids": "#));
    }

    #[test]
    fn members_that_are_no_texts_go_to_the_api_as_they_are() {
        let text = r#"{"postalCode":2000,"firstname":true,"lastname":null,"email":["a@x.be",{}],"uids":[]}"#;
        let Ok(Json::Object(members)) = Json::parse(text.as_bytes()) else { panic!("an object") };
        let names: Vec<_> = members.iter().map(|(name, _)| name.clone()).collect();
        let body = Mapping::new(&names, &[], None).expect("a mapping").person(&members).expect("a body");
        assert_eq!(
            serde_json::to_string(&body).expect("JSON"),
            r#"{"firstname":true,"postalCode":"2000","uids":[{"uidType":"Email","uid":"a@x.be","isPrimary":true},{"uidType":"Email","uid":{}}]}"#
                .replace(r#""firstname":true,"postalCode":"2000""#, r#""postalCode":"2000","firstname":true"#)
        );
        let faults = Draft::read(&body, None).expect_err("faults");
        assert_eq!(faults.as_map().keys().collect::<Vec<_>>(), ["firstname", "uids[1].uid"]);
    }

    #[test]
    fn a_row_with_nothing_in_it_is_nobody() {
        assert!(person(&[("firstname", " "), ("email", ";"), ("x", "1")], &[]).contains("nothing of it is mapped"));
    }

    #[test]
    fn countries_and_languages_are_spelt_as_the_api_takes_them() {
        for (name, code) in [
            ("Belgium", "BE"),
            ("the netherlands", "NL"),
            ("United States of America", "US"),
            ("Côte d’Ivoire", "CI"),
            ("Saint Lucia", "LC"),
            ("Trinidad and Tobago", "TT"),
            ("Britain (UK)", "GB"),
            ("Turkiye", "TR"),
        ] {
            assert_eq!(country(name), Some(code), "{name}");
        }
        for name in ["BE", "be", "", "Atlantis"] {
            assert_eq!(country(name), None, "{name}");
        }
        for (tag, short) in [("zh-Hans-CN", "zh-CN"), ("es-419", "es"), ("fil-PH", "fil"), ("sr_Latn", "sr")] {
            assert_eq!(language(tag).as_deref(), Some(short));
        }
        for tag in ["nl", "nl-BE", "EN_us", "", "English", "a-b-c"] {
            assert_eq!(language(tag), None, "{tag}");
        }
    }
}
