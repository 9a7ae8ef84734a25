//! Which column becomes which field, and what body a row becomes by that.

use std::borrow::Cow;
use std::fmt;

use shared::domain::input::{Json, ValidationErrors};
use shared::domain::profile::Field;
use shared::domain::uid::UidType;

use crate::cells;
use crate::error::Error;
use crate::headers::{self, same};
use crate::locale;
use crate::phones;
use crate::presets::Preset;
use crate::rows::Format;
use crate::table::Swallowed;

/// The most UIDs that are sent of an end user: one more than the API takes, so that it refuses them.
const MAX_UIDS: usize = 401;

/// What a column is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Target {
    /// A field of the profile.
    Field(Field),
    /// A whole name: the first name up to the first space, the last name behind it.
    Name,
    /// HubSpot's lifecycle stage: a customer from `Customer` on, else what a new end user is.
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

    /// The meaning of a header that everybody writes, such as `First Name` or `Mobile`.
    fn of_plain_header(header: &str) -> Option<Self> {
        let letters = headers::letters(header);
        let field = Field::ALL.into_iter().find(|field| headers::letters(field.name()) == letters);
        // E-mail, Whats App, …
        let uid = || {
            [UidType::Email, UidType::Phone, UidType::WhatsApp]
                .into_iter()
                .find(|kind| headers::letters(kind.as_str()) == letters)
        };
        let plain = || headers::plain_meaning(header).and_then(Self::parse);
        field.map(Self::Field).or_else(|| uid().map(Self::Uid)).or_else(plain)
    }

    fn is_identifier(&self) -> bool {
        matches!(self, Self::Uid(_) | Self::Uids | Self::Field(Field::CustomerRef))
    }

    /// Whether a text of many lines is usual.
    fn is_long_text(&self) -> bool {
        matches!(self, Self::Field(Field::OtherContactDetails | Field::AiDocumentation))
    }

    /// Whether a column of this meaning adds to another one, instead of being a second choice.
    fn may_repeat(&self) -> bool {
        matches!(self, Self::Uid(_) | Self::Uids | Self::Nothing)
    }
}

/// What the user says about the columns and the end users of a file.
#[derive(Debug, Default)]
pub(crate) struct Choices {
    /// Headers and what `--map` says they are.
    pub(crate) maps: Vec<(String, String)>,
    pub(crate) preset: Option<Preset>,
    /// The country of those who have none in the file.
    pub(crate) country: Option<String>,
    /// Whether end users without any identifier are wanted.
    pub(crate) without_identifiers: bool,
}

/// What each column of a file is. The order is that in which an end user's UIDs stand, and in which the
/// first of several values is chosen.
#[derive(Debug)]
pub(crate) struct Mapping {
    columns: Vec<(String, Target)>,
    ignored: Vec<String>,
    format: Format,
    country: Option<String>,
    /// Whether a row without a name is refused: the file has no identifiers.
    needs_name: bool,
}

impl Mapping {
    /// The mapping of a file with these columns: what is asked for by `--map`, then what the preset says, then columns
    /// with the names of fields, then other plain headers of fields that no column has yet. A column may be several
    /// fields, and a field may have several columns.
    pub(crate) fn new(columns: &[String], format: Format, choices: &Choices) -> Result<Self, Error> {
        let mut found: Vec<(String, Target)> = Vec::new();
        for (header, name) in &choices.maps {
            let target = Target::parse(name.trim()).ok_or_else(|| Error::Usage(unknown_field(name)))?;
            let column = columns.iter().find(|column| same(column, header));
            let column = column.ok_or_else(|| Error::Usage(unknown_column(header, columns)))?;
            found.push((column.clone(), target));
        }
        let is_free = |found: &[(String, Target)], column: &String| found.iter().all(|(taken, _)| !same(taken, column));
        let mut free: Vec<&String> = columns.iter().filter(|column| is_free(&found, column)).collect();
        for (header, target) in choices.preset.map(Preset::targets).unwrap_or_default() {
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
        for column in columns {
            let is_new = |target: &Target| target.may_repeat() || found.iter().all(|(_, taken)| taken != target);
            if let Some(target) = Target::of_plain_header(column).filter(is_new)
                && is_free(&found, column)
            {
                found.push((column.clone(), target));
            }
        }
        let ignored: Vec<_> = columns.iter().filter(|column| is_free(&found, column)).cloned().collect();
        found.retain(|(_, target)| *target != Target::Nothing);
        if found.is_empty() {
            let message = format!("no column is mapped to a field; {}", choice(columns));
            return Err(Error::Usage(message));
        }
        let has_identifier = found.iter().any(|(_, target)| target.is_identifier());
        if !has_identifier && !ignored.is_empty() && !choices.without_identifiers {
            let message = format!(
                "no column is known to hold an identifier (email, phone, whatsapp, {UID}TYPE or customerRef); {}; say \
                 which one does by --map HEADER=FIELD, or --without-identifiers",
                choice(columns)
            );
            return Err(Error::Usage(message));
        }
        let needs_name = !has_identifier && !choices.without_identifiers;
        Ok(Self { columns: found, ignored, format, country: choices.country.clone(), needs_name })
    }

    /// The columns without a meaning.
    pub(crate) fn ignored(&self) -> &[String] {
        &self.ignored
    }

    /// The EndUserCreateDTO of a row.
    pub(crate) fn end_user(&self, members: &[(String, Json)]) -> Result<Json, ValidationErrors> {
        let mut end_user = RowEndUser::default();
        for (column, target) in &self.columns {
            for (_, value) in members.iter().filter(|(name, value)| same(name, column) && !is_blank(value)) {
                let value = self.read(target, value);
                let added = value.and_then(|value| value.map_or(Ok(()), |value| end_user.add(target, &value)));
                added.map_err(|message| ValidationErrors::single(column.clone(), message))?;
            }
        }
        if end_user.is_empty() {
            return Err(ValidationErrors::single("body", "nothing of it is mapped to a field"));
        }
        let body =
            end_user.body(self.country.as_deref()).map_err(|message| ValidationErrors::single("uids", message))?;
        let is_named = ["firstname", "lastname", "company"].iter().any(|name| body.member(name).is_some());
        if self.needs_name && !is_named {
            return Err(ValidationErrors::single(
                "body",
                "has neither a name nor an identifier; see --without-identifiers",
            ));
        }
        Ok(body)
    }

    /// Refuses a row of which a cell seems to hold other rows.
    pub(crate) fn check_swallowed(&self, swallowed: &[Swallowed]) -> Result<(), ValidationErrors> {
        let is_wrong = |found: &&Swallowed| {
            let mut targets = self.columns.iter().filter(|(column, _)| same(column, &found.column));
            targets.any(|(_, target)| found.entirely || !target.is_long_text())
        };
        match swallowed.iter().find(is_wrong) {
            Some(Swallowed { column, .. }) => Err(ValidationErrors::single(
                column.clone(),
                "holds lines that look like rows of the file; is a quote not closed?",
            )),
            None => Ok(()),
        }
    }

    /// The value of a cell as it is meant; `None` where it stands for nothing.
    fn read<'a>(&self, target: &Target, value: &'a Json) -> Result<Option<Cow<'a, Json>>, &'static str> {
        match value {
            Json::Number(_) => Ok(as_text(value)?.map(|text| Cow::Owned(Json::String(text)))),
            // As `uids`, JSON.
            Json::String(text) if self.format == Format::Csv && *target != Target::Uids => {
                let is_identifier = target.is_identifier();
                let text = match cells::unescape(text, is_identifier) {
                    Some(text) => text,
                    None if is_identifier && cells::is_placeholder(text) => return Ok(None),
                    None => cells::text_formula(text).unwrap_or(text),
                };
                Ok(Some(Cow::Owned(Json::String(text.to_owned()))))
            }
            _ => Ok(Some(Cow::Borrowed(value))),
        }
    }
}

impl fmt::Display for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<_> = self.columns.iter().map(|(column, target)| format!("{column} → {target}")).collect();
        f.write_str(&columns.join(", "))?;
        self.country.iter().try_for_each(|country| write!(f, ", else country {country}"))
    }
}

fn is_blank(value: &Json) -> bool {
    match value {
        Json::Null => true,
        Json::String(text) => text.trim().is_empty(),
        _ => false,
    }
}

fn choice(columns: &[String]) -> String {
    format!("there are the columns {}", headers::list(columns))
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
struct RowEndUser {
    fields: Vec<(Field, Json)>,
    name: Option<String>,
    uids: Vec<Json>,
    /// Of those from columns of e-mail addresses, where the first is among `uids`.
    first_email: Option<usize>,
    /// Where phone numbers from columns are among `uids`.
    phones: Vec<usize>,
    /// Whether a UID from `uids` is marked primary.
    has_primary: bool,
}

impl RowEndUser {
    fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.name.is_none() && self.uids.is_empty()
    }

    fn add(&mut self, target: &Target, value: &Json) -> Result<(), &'static str> {
        match target {
            Target::Field(field) => self.add_field(*field, value)?,
            Target::Name => self.name = self.name.take().or(as_text(value)?),
            Target::Lifecycle => {
                let stage = as_text(value)?.unwrap_or_default();
                if ["customer", "evangelist"].iter().any(|customer| same(&stage, customer)) {
                    self.add_field(Field::CustomerType, &Json::String("Customer".to_owned()))?;
                }
            }
            Target::Uid(kind) => self.add_uids(kind, value)?,
            Target::Uids => {
                let parsed = value.as_str().map(|text| Json::parse(text.as_bytes()));
                let Some(Json::Array(uids)) = parsed.map_or_else(|| Some(value.clone()), Result::ok) else {
                    return Err("must be a JSON array, as the export writes it");
                };
                self.has_primary |= uids.iter().any(|uid| member(uid, "isPrimary") == Some(&Json::Bool(true)));
                let room = MAX_UIDS.saturating_sub(self.uids.len());
                self.uids.extend(uids.into_iter().take(room));
            }
            Target::Nothing => {}
        }
        Ok(())
    }

    /// Adds a field. Texts of several columns are joined where a text of several makes sense; else the first stays. A
    /// value that is no text stays as it is, for the API to refuse.
    fn add_field(&mut self, field: Field, value: &Json) -> Result<(), &'static str> {
        let value = match as_text(value)? {
            Some(text) => Json::String(spell(field, text)?),
            None => value.clone(),
        };
        let Some((_, before)) = self.fields.iter_mut().find(|(known, _)| *known == field) else {
            self.fields.push((field, value));
            return Ok(());
        };
        let separator = match field {
            Field::OtherContactDetails | Field::AiDocumentation => "\n",
            Field::Firstname | Field::Lastname | Field::Street => " ",
            _ => return Ok(()),
        };
        if let (Json::String(before), Json::String(more)) = (before, value)
            && *before != more
        {
            *before += &format!("{separator}{more}");
        }
        Ok(())
    }

    fn add_uids(&mut self, kind: &UidType, value: &Json) -> Result<(), &'static str> {
        let values = match value {
            Json::Array(values) => values.as_slice(),
            value => std::slice::from_ref(value),
        };
        for value in values.iter().filter(|value| !is_blank(value)) {
            match as_text(value)? {
                Some(text) => {
                    cells::identifiers(kind, &text)?
                        .into_iter()
                        .for_each(|text| self.push_uid(kind, Json::String(text)));
                }
                None => self.push_uid(kind, value.clone()),
            }
        }
        Ok(())
    }

    fn push_uid(&mut self, kind: &UidType, value: Json) {
        if self.uids.len() == MAX_UIDS {
            return;
        }
        if *kind == UidType::Email {
            self.first_email.get_or_insert(self.uids.len());
        }
        if *kind == UidType::Phone {
            self.phones.push(self.uids.len());
        }
        let kind = Json::String(kind.as_str().to_owned());
        self.uids.push(Json::Object(vec![("uidType".to_owned(), kind), ("uid".to_owned(), value)]));
    }

    /// The body, with `country` where there is none.
    fn body(mut self, country: Option<&str>) -> Result<Json, &'static str> {
        let is_named = |(field, _): &(Field, Json)| matches!(field, Field::Firstname | Field::Lastname);
        if let Some(name) = self.name.take().filter(|_| !self.fields.iter().any(is_named)) {
            let (first, last) = name.trim().split_once(char::is_whitespace).unwrap_or((name.trim(), ""));
            for (field, part) in [(Field::Firstname, first), (Field::Lastname, last.trim())] {
                if !part.is_empty() {
                    self.fields.push((field, Json::String(part.to_owned())));
                }
            }
        }
        if let Some(country) = country.filter(|_| self.fields.iter().all(|(field, _)| *field != Field::Country)) {
            self.fields.push((Field::Country, Json::String(country.to_owned())));
        }
        self.check_phones()?;
        if let Some(Json::Object(email)) = self.first_email.filter(|_| !self.has_primary).map(|i| &mut self.uids[i]) {
            email.push(("isPrimary".to_owned(), Json::Bool(true)));
        }
        let fields = self.fields.into_iter().map(|(field, value)| (field.name().to_owned(), value));
        let uids = (!self.uids.is_empty()).then(|| (UIDS.to_owned(), Json::Array(self.uids)));
        Ok(Json::Object(fields.chain(uids).collect()))
    }

    /// Refuses phone numbers from columns that the country would make others.
    fn check_phones(&self) -> Result<(), &'static str> {
        let country = self.fields.iter().find(|(field, _)| *field == Field::Country);
        let country =
            country.and_then(|(_, country)| country.as_str()).map(|country| country.trim().to_ascii_uppercase());
        let mut numbers = self.phones.iter().filter_map(|phone| self.uids[*phone].member("uid")?.as_str());
        numbers.try_for_each(|number| phones::check_country_code(number, country.as_deref()))
    }
}

/// The member of an object, its name in any case.
fn member<'a>(json: &'a Json, name: &str) -> Option<&'a Json> {
    let Json::Object(members) = json else { return None };
    members.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// The text of a value that is one, or an integer. Of other numbers, the file's reader has made texts where it could.
fn as_text(value: &Json) -> Result<Option<String>, &'static str> {
    match value {
        Json::String(text) => Ok(Some(text.clone())),
        Json::Number(number) if number.is_f64() => Err(cells::INCOMPLETE),
        Json::Number(number) => Ok(Some(number.to_string())),
        _ => Ok(None),
    }
}

/// A text as the API takes it: other products write a country by its name and a language with more than a region. What
/// is unknown is left to the API to refuse.
fn spell(field: Field, text: String) -> Result<String, &'static str> {
    Ok(match field {
        Field::Country => locale::country(text.trim()).map_or(text, str::to_owned),
        Field::Lang => locale::language(text.trim()).unwrap_or(text),
        Field::CustomerRef | Field::PostalCode | Field::HouseNumber => cells::reference(&text)?.into_owned(),
        _ => text,
    })
}

#[cfg(test)]
mod tests {
    use shared::domain::end_user::PendingEndUser;

    use super::*;

    fn columns(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn choices(maps: &[(&str, &str)]) -> Choices {
        let maps = maps.iter().map(|(header, field)| ((*header).to_owned(), (*field).to_owned())).collect();
        Choices { maps, without_identifiers: true, ..Choices::default() }
    }

    fn mapping(names: &[&str], maps: &[(&str, &str)]) -> Result<Mapping, String> {
        Mapping::new(&columns(names), Format::Csv, &choices(maps)).map_err(|stop| stop.to_string())
    }

    /// The body of a row of texts, or its faults.
    fn body(mapping: &Mapping, cells: &[(&str, &str)]) -> String {
        let cells: Vec<_> =
            cells.iter().map(|(name, text)| ((*name).to_owned(), Json::String((*text).into()))).collect();
        match mapping.end_user(&cells) {
            Ok(body) => serde_json::to_string(&body).expect("JSON"),
            Err(errors) => format!("{:?}", errors.as_map()),
        }
    }

    fn end_user(cells: &[(&str, &str)], maps: &[(&str, &str)]) -> String {
        let names: Vec<_> = cells.iter().map(|(name, _)| *name).collect();
        body(&mapping(&names, maps).expect("a mapping"), cells)
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
            end_user(&cells, &[]),
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
            end_user(&cells, &maps),
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
        assert_eq!(end_user(&[("Full", " Ann van Dam ")], &map), r#"{"firstname":"Ann","lastname":"van Dam"}"#);
        assert_eq!(end_user(&[("Full", "Ann")], &map), r#"{"firstname":"Ann"}"#);
        assert_eq!(end_user(&[("Full", "Ann Dam"), ("lastname", "Smit")], &map), r#"{"lastname":"Smit"}"#);
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
        assert_eq!(end_user(&cells, &maps), r#"{"otherContactDetails":"1\n2","street":"3","customerRef":"5"}"#);
    }

    #[test]
    fn uids_are_taken_as_the_export_writes_them_with_their_own_primary() {
        let uids = r#"[{"endUserUIDID":1,"uidType":"Phone","uid":"1","isPrimary":true}]"#;
        let expected = format!(r#"{{"uids":[{{"uidType":"Email","uid":"a@x.be"}},{}}}"#, &uids[1..]);
        assert_eq!(end_user(&[("email", "a@x.be"), ("uids", uids)], &[]), expected);
        assert!(end_user(&[("uids", "{}")], &[]).starts_with(r#"{"uids": ["must be a JSON array"#));
        assert!(end_user(&[("uids", "a@x.be")], &[]).starts_with(r#"{"uids": "#));
    }

    #[test]
    fn members_that_are_no_texts_go_to_the_api_as_they_are() {
        let text = r#"{"postalCode":2000,"firstname":true,"lastname":null,"email":["a@x.be",{}],"uids":[]}"#;
        let Ok(Json::Object(members)) = Json::parse(text.as_bytes()) else { panic!("an object") };
        let names: Vec<_> = members.iter().map(|(name, _)| name.clone()).collect();
        let mapping = Mapping::new(&names, Format::Ndjson, &choices(&[])).expect("a mapping");
        let body = mapping.end_user(&members).expect("a body");
        assert_eq!(
            serde_json::to_string(&body).expect("JSON"),
            r#"{"firstname":true,"postalCode":"2000","uids":[{"uidType":"Email","uid":"a@x.be","isPrimary":true},{"uidType":"Email","uid":{}}]}"#
                .replace(r#""firstname":true,"postalCode":"2000""#, r#""postalCode":"2000","firstname":true"#)
        );
        let errors = PendingEndUser::read(&body, None).expect_err("faults");
        assert_eq!(errors.as_map().keys().collect::<Vec<_>>(), ["firstname", "uids[1].uid"]);
    }

    #[test]
    fn a_row_with_nothing_in_it_is_nobody() {
        assert!(end_user(&[("firstname", " "), ("email", ";"), ("x", "1")], &[]).contains("nothing of it is mapped"));
    }

    #[test]
    fn plain_headers_are_known_without_a_map() {
        let cells = [
            ("First Name", "Ann"),
            ("Last name", "Smit"),
            ("E-mail", "a@x.be"),
            ("Mobile", "1"),
            ("phone_number", "2"),
            ("Company name", "Acme"),
            ("External ID", "R1"),
            ("Postal code", "2000"),
            ("id", "7"),
        ];
        assert_eq!(
            end_user(&cells, &[]),
            r#"{"firstname":"Ann","lastname":"Smit","company":"Acme","customerRef":"R1","postalCode":"2000","uids":[{"uidType":"Email","uid":"a@x.be","isPrimary":true},{"uidType":"Phone","uid":"1"},{"uidType":"Phone","uid":"2"}]}"#
        );
        // A field that has its own column keeps it.
        let cells =
            [("First name", "Anna"), ("firstname", "Ann"), ("identifier", "2"), ("customerRef", ""), ("name", "B C")];
        assert_eq!(end_user(&cells, &[]), r#"{"firstname":"Ann"}"#);
    }

    #[test]
    fn file_without_identifiers_asks_for_a_choice() {
        let new = |names: &[&str], without_identifiers| {
            let choices = Choices { without_identifiers, ..Choices::default() };
            Mapping::new(&columns(names), Format::Csv, &choices).map_err(|stop| stop.to_string())
        };
        let error = new(&["firstname", "Contact point"], false).expect_err("a choice");
        assert!(error.starts_with("no column is known to hold an identifier (email, phone, "), "{error}");
        assert!(
            error.contains("there are the columns firstname, Contact point; say which one does by --map"),
            "{error}"
        );
        assert!(new(&["firstname", "Contact point"], true).is_ok());
        // Without any other column there is nothing to choose; but nobody is created without a name.
        let mapping = new(&["firstname", "city"], false).expect("a mapping");
        assert!(
            body(&mapping, &[("firstname", ""), ("city", "Gent")]).contains("has neither a name nor an identifier")
        );
        assert!(body(&mapping, &[("firstname", "Ann"), ("city", "")]).contains("Ann"));
    }

    #[test]
    fn country_of_the_file_is_that_of_rows_without_one() {
        let choices = Choices { country: Some("BE".to_owned()), ..choices(&[]) };
        let names = columns(&["email", "country"]);
        let mapping = Mapping::new(&names, Format::Csv, &choices).expect("a mapping");
        assert!(body(&mapping, &[("email", "a@x.be"), ("country", " ")]).starts_with(r#"{"country":"BE","#));
        assert!(body(&mapping, &[("email", "a@x.be"), ("country", "Nederland")]).starts_with(r#"{"country":"NL","#));
        assert!(body(&mapping, &[("email", ""), ("country", "")]).contains("nothing of it is mapped"));
        assert!(mapping.to_string().ends_with("country → country, else country BE"));
    }

    #[test]
    fn cell_of_a_spreadsheet_is_read_as_it_is_meant() {
        let cells = [
            ("firstname", "'=1+1"),
            ("lastname", "'t Hooft"),
            ("customerRef", "=\"007\""),
            ("phone", "'+32470123456"),
            ("email", "n/a"),
            ("street", "-"),
        ];
        assert_eq!(
            end_user(&cells, &[]),
            r#"{"firstname":"=1+1","lastname":"'t Hooft","customerRef":"007","street":"-","uids":[{"uidType":"Phone","uid":"+32470123456"}]}"#
        );
        assert_eq!(end_user(&[("customerRef", "'-")], &[]), r#"{"customerRef":"-"}"#);
        assert!(end_user(&[("customerRef", "-")], &[]).contains("nothing of it is mapped"));
        assert!(
            end_user(&[("customerRef", "1.23457E+11")], &[]).starts_with(r#"{"customerRef": ["is a number without"#)
        );
        assert!(end_user(&[("phone", "02 123 45 67 / 68")], &[]).starts_with(r#"{"phone": ["holds several numbers"#));
    }

    #[test]
    fn json_number_without_its_last_digits_is_refused() {
        let read = |text: &str| {
            let members = crate::json::read_object(text.as_bytes()).expect("an object");
            let names: Vec<_> = members.iter().map(|(name, _)| name.clone()).collect();
            let mapping = Mapping::new(&names, Format::Ndjson, &choices(&[])).expect("a mapping");
            let body = mapping.end_user(&members).map_err(|errors| errors.as_map().keys().cloned().collect::<Vec<_>>());
            body.map(|body| serde_json::to_string(&body).expect("JSON"))
        };
        assert_eq!(
            read(r#"{"phone":[31612345678.0],"customerRef":12345678901234567890123,"postalCode":1011.0}"#).as_deref(),
            Ok(
                r#"{"customerRef":"12345678901234567890123","postalCode":"1011","uids":[{"uidType":"Phone","uid":"31612345678"}]}"#
            )
        );
        for name in ["phone", "customerRef", "firstname", "uid:Crm"] {
            assert_eq!(read(&format!(r#"{{"{name}":3.16e10}}"#)), Err(vec![name.to_owned()]));
        }
        // Of JSON, a text is what it says.
        assert_eq!(
            read(r#"{"firstname":"'=1","customerRef":"-"}"#).as_deref(),
            Ok(r#"{"firstname":"'=1","customerRef":"-"}"#)
        );
    }

    #[test]
    fn cell_that_holds_rows_is_refused_unless_it_is_a_long_text() {
        let mapping = mapping(&["email", "otherContactDetails", "tags"], &[]).expect("a mapping");
        let check = |column: &str, entirely| {
            mapping.check_swallowed(&[Swallowed { column: column.to_owned(), entirely }]).is_ok()
        };
        assert!(!check("email", false) && !check("email", true));
        assert!(check("otherContactDetails", false) && !check("otherContactDetails", true));
        assert!(check("tags", true));
    }

    #[test]
    fn end_user_has_a_bounded_number_of_uids() {
        let many = "a@x.be,".repeat(1_000);
        let body = end_user(&[("email", &many), ("phone", "1")], &[]);
        assert_eq!(body.matches("uidType").count(), MAX_UIDS);
    }
}
