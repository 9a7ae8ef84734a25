//! Which column becomes which field, and what body a row becomes by that.

use std::borrow::Cow;
use std::fmt;

use shared::domain::input::{Json, ValidationErrors};
use shared::domain::profile::Field;

use crate::body::{CreateBody, as_text, is_blank};
use crate::columns::{ColumnKind, LIFECYCLE, NAME, NOTHING, UID, UIDS};
use crate::csv_records::Swallowed;
use crate::error::Error;
use crate::format::Format;
use crate::headers::{self, same};
use crate::presets::Preset;
use crate::spreadsheet;

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
    columns: Vec<(String, ColumnKind)>,
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
        let mut found: Vec<(String, ColumnKind)> = Vec::new();
        for (header, name) in &choices.maps {
            let target = ColumnKind::parse(name.trim()).ok_or_else(|| Error::Usage(unknown_field(name)))?;
            let column = columns.iter().find(|column| same(column, header));
            let column = column.ok_or_else(|| Error::Usage(unknown_column(header, columns)))?;
            found.push((column.clone(), target));
        }
        let is_free =
            |found: &[(String, ColumnKind)], column: &String| found.iter().all(|(taken, _)| !same(taken, column));
        let mut free: Vec<&String> = columns.iter().filter(|column| is_free(&found, column)).collect();
        for (header, target) in choices.preset.map(Preset::targets).unwrap_or_default() {
            found.extend(free.iter().find(|column| same(column, header)).map(|column| ((*column).clone(), target)));
        }
        free.retain(|column| is_free(&found, column));
        for column in free {
            if let Some(target) = ColumnKind::of_header(column)
                && is_free(&found, column)
            {
                found.push((column.clone(), target));
            }
        }
        for column in columns {
            let is_new = |target: &ColumnKind| target.may_repeat() || found.iter().all(|(_, taken)| taken != target);
            if let Some(target) = ColumnKind::of_plain_header(column).filter(is_new)
                && is_free(&found, column)
            {
                found.push((column.clone(), target));
            }
        }
        let ignored: Vec<_> = columns.iter().filter(|column| is_free(&found, column)).cloned().collect();
        found.retain(|(_, target)| *target != ColumnKind::Ignored);
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
        let mut end_user = CreateBody::default();
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
            end_user.into_json(self.country.as_deref()).map_err(|message| ValidationErrors::single("uids", message))?;
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
    fn read<'a>(&self, target: &ColumnKind, value: &'a Json) -> Result<Option<Cow<'a, Json>>, &'static str> {
        match value {
            Json::Number(_) => Ok(as_text(value)?.map(|text| Cow::Owned(Json::String(text)))),
            // As `uids`, JSON.
            Json::String(text) if self.format == Format::Csv && *target != ColumnKind::Uids => {
                let is_identifier = target.is_identifier();
                let text = match spreadsheet::unescape(text, is_identifier) {
                    Some(text) => text,
                    None if is_identifier && spreadsheet::is_placeholder(text) => return Ok(None),
                    None => spreadsheet::text_formula(text).unwrap_or(text),
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

#[cfg(test)]
mod tests {
    use shared::domain::end_user::PendingEndUser;

    use super::*;
    use crate::limits::MAX_UIDS;

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
