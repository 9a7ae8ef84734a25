//! The body of a create request, built from the cells of one row.

use shared::domain::input::Json;
use shared::domain::profile::Field;
use shared::domain::uid::UidType;

use crate::columns::{ColumnKind, UIDS};
use crate::headers::same;
use crate::identifiers::identifiers;
use crate::limits::MAX_UIDS;
use crate::{locale, phones, spreadsheet};

/// A request body under construction.
#[derive(Default)]
pub(crate) struct CreateBody {
    fields: Vec<(Field, Json)>,
    /// A whole name, which is split unless a column has a first or last name.
    name: Option<String>,
    uids: Vec<Json>,
    /// The index in `uids` of the first address from an e-mail column.
    first_email: Option<usize>,
    /// The indexes in `uids` of numbers from phone columns.
    phones: Vec<usize>,
    /// Whether a UID of a `uids` column is marked primary.
    has_primary: bool,
}

impl CreateBody {
    pub(crate) fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.name.is_none() && self.uids.is_empty()
    }

    pub(crate) fn add(&mut self, column: &ColumnKind, value: &Json) -> Result<(), &'static str> {
        match column {
            ColumnKind::Field(field) => self.add_field(*field, value)?,
            ColumnKind::Name => self.name = self.name.take().or(as_text(value)?),
            ColumnKind::Lifecycle => {
                let stage = as_text(value)?.unwrap_or_default();
                if ["customer", "evangelist"].iter().any(|customer| same(&stage, customer)) {
                    self.add_field(Field::CustomerType, &Json::String("Customer".to_owned()))?;
                }
            }
            ColumnKind::Uid(kind) => self.add_uids(kind, value)?,
            ColumnKind::Uids => {
                let parsed = value.as_str().map(|text| Json::parse(text.as_bytes()));
                let Some(Json::Array(uids)) = parsed.map_or_else(|| Some(value.clone()), Result::ok) else {
                    return Err("must be a JSON array, as the export writes it");
                };
                self.has_primary |= uids.iter().any(|uid| member(uid, "isPrimary") == Some(&Json::Bool(true)));
                let room = MAX_UIDS.saturating_sub(self.uids.len());
                self.uids.extend(uids.into_iter().take(room));
            }
            ColumnKind::Ignored => {}
        }
        Ok(())
    }

    /// Adds a field. The texts of several columns are joined for long texts, names and streets; for other fields the
    /// first one is used. A value that is not a text is passed on, so that the API rejects it.
    fn add_field(&mut self, field: Field, value: &Json) -> Result<(), &'static str> {
        let value = match as_text(value)? {
            Some(text) => Json::String(normalize(field, text)?),
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
                    identifiers(kind, &text)?.into_iter().for_each(|text| self.push_uid(kind, Json::String(text)));
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

    /// The body, with `country` if the row has none.
    pub(crate) fn into_json(mut self, country: Option<&str>) -> Result<Json, &'static str> {
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

    /// Rejects numbers from phone columns that are ambiguous in the end user's country.
    fn check_phones(&self) -> Result<(), &'static str> {
        let country = self.fields.iter().find(|(field, _)| *field == Field::Country);
        let country =
            country.and_then(|(_, country)| country.as_str()).map(|country| country.trim().to_ascii_uppercase());
        let mut numbers = self.phones.iter().filter_map(|phone| self.uids[*phone].member("uid")?.as_str());
        numbers.try_for_each(|number| phones::check_country_code(number, country.as_deref()))
    }
}

pub(crate) fn is_blank(value: &Json) -> bool {
    match value {
        Json::Null => true,
        Json::String(text) => text.trim().is_empty(),
        _ => false,
    }
}

/// The member of an object with this name, ignoring case.
fn member<'a>(json: &'a Json, name: &str) -> Option<&'a Json> {
    let Json::Object(members) = json else { return None };
    members.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// The text of a string or an integer; `None` for another value. A number with lost digits is an error; the JSON reader
/// has turned all other fractions into strings.
pub(crate) fn as_text(value: &Json) -> Result<Option<String>, &'static str> {
    match value {
        Json::String(text) => Ok(Some(text.clone())),
        Json::Number(number) if number.is_f64() => Err(spreadsheet::INCOMPLETE),
        Json::Number(number) => Ok(Some(number.to_string())),
        _ => Ok(None),
    }
}

/// A field's text in the API's spelling: other products write the name of a country, and a language tag with more than
/// a region. An unknown value is passed on, so that the API rejects it.
fn normalize(field: Field, text: String) -> Result<String, &'static str> {
    Ok(match field {
        Field::Country => locale::country(text.trim()).map_or(text, str::to_owned),
        Field::Lang => locale::language(text.trim()).unwrap_or(text),
        Field::CustomerRef | Field::PostalCode | Field::HouseNumber => spreadsheet::reference(&text)?.into_owned(),
        _ => text,
    })
}
