//! The mapping of a file's columns to fields, and of a row to a request body.

use std::borrow::Cow;
use std::fmt;

use shared::domain::input::{Json, ValidationErrors};
use shared::domain::profile::Field;

use crate::body::{CreateBody, as_text, is_blank};
use crate::columns::{ColumnKind, IGNORED, LIFECYCLE, NAME, UID, UIDS};
use crate::csv_records::EmbeddedRows;
use crate::error::Error;
use crate::format::Format;
use crate::headers::{self, same};
use crate::matching::Matching;
use crate::presets::Preset;
use crate::spreadsheet;

/// The user's options about columns and end users.
#[derive(Debug, Default)]
pub(crate) struct MappingOptions {
    /// The headers and names of `--map`.
    pub(crate) maps: Vec<(String, String)>,
    pub(crate) preset: Option<Preset>,
    /// The country of rows without one.
    pub(crate) country: Option<String>,
    /// Whether end users without an identifier are imported.
    pub(crate) without_identifiers: bool,
    /// How rows find their end users; `None` if each row creates one.
    pub(crate) matching: Option<Matching>,
}

/// The kind of each column of a file. Its order determines the order of an end user's UIDs, and which of several values
/// is the first.
#[derive(Debug)]
pub(crate) struct Mapping {
    columns: Vec<(String, ColumnKind)>,
    ignored: Vec<String>,
    format: Format,
    country: Option<String>,
    /// Whether a row without a name is rejected, because the file has no identifiers.
    needs_name: bool,
    matching: Option<Matching>,
}

impl Mapping {
    /// The mapping of a file with these columns: first `--map`, then the preset, then columns with the names of fields,
    /// then common headers of fields that have no column yet. A column can be several fields, and a field can have
    /// several columns.
    pub(crate) fn new(columns: &[String], format: Format, options: &MappingOptions) -> Result<Self, Error> {
        let mut found: Vec<(String, ColumnKind)> = Vec::new();
        for (header, name) in &options.maps {
            let kind = ColumnKind::parse(name.trim()).ok_or_else(|| Error::Usage(unknown_field(name)))?;
            let column = columns.iter().find(|column| same(column, header));
            let column = column.ok_or_else(|| Error::Usage(unknown_column(header, columns)))?;
            found.push((column.clone(), kind));
        }
        let is_free =
            |found: &[(String, ColumnKind)], column: &String| found.iter().all(|(taken, _)| !same(taken, column));
        let mut free: Vec<&String> = columns.iter().filter(|column| is_free(&found, column)).collect();
        for (header, kind) in options.preset.map(Preset::columns).unwrap_or_default() {
            found.extend(free.iter().find(|column| same(column, header)).map(|column| ((*column).clone(), kind)));
        }
        free.retain(|column| is_free(&found, column));
        for column in free {
            if let Some(kind) = ColumnKind::of_header(column)
                && is_free(&found, column)
            {
                found.push((column.clone(), kind));
            }
        }
        for column in columns {
            let is_new = |kind: &ColumnKind| kind.may_repeat() || found.iter().all(|(_, taken)| taken != kind);
            if let Some(kind) = ColumnKind::of_common_header(column).filter(is_new)
                && is_free(&found, column)
            {
                found.push((column.clone(), kind));
            }
        }
        let ignored: Vec<_> = columns.iter().filter(|column| is_free(&found, column)).cloned().collect();
        found.retain(|(_, kind)| *kind != ColumnKind::Ignored);
        if found.is_empty() {
            let message = format!("no column is mapped to a field; {}", list_columns(columns));
            return Err(Error::Usage(message));
        }
        let matching = options.matching;
        if let Some(Matching { match_by, .. }) = matching
            && !found.iter().any(|(_, kind)| match_by.includes(kind))
        {
            let message = format!(
                "no column is recognised as an identifier to match by ({}); {}; name one with --map HEADER=FIELD, or \
                 use --create-only",
                match_by.fields(),
                list_columns(columns)
            );
            return Err(Error::Usage(message));
        }
        let has_identifier = found.iter().any(|(_, kind)| kind.is_identifier());
        if !has_identifier && !ignored.is_empty() && !options.without_identifiers {
            let message = format!(
                "no column is recognised as an identifier (email, phone, whatsapp, {UID}TYPE or customerRef); {}; name \
                 one with --map HEADER=FIELD, or use --without-identifiers",
                list_columns(columns)
            );
            return Err(Error::Usage(message));
        }
        let needs_name = !has_identifier && !options.without_identifiers;
        Ok(Self { columns: found, ignored, format, country: options.country.clone(), needs_name, matching })
    }

    /// The columns that are not imported.
    pub(crate) fn ignored(&self) -> &[String] {
        &self.ignored
    }

    /// The EndUserUpsertDTO of a row, or its EndUserCreateDTO.
    pub(crate) fn end_user(&self, members: &[(String, Json)]) -> Result<Json, ValidationErrors> {
        let mut end_user = CreateBody::default();
        for (column, kind) in &self.columns {
            for (_, value) in members.iter().filter(|(name, value)| same(name, column) && !is_blank(value)) {
                let value = self.read(kind, value);
                let added = value.and_then(|value| value.map_or(Ok(()), |value| end_user.add(kind, &value)));
                added.map_err(|message| ValidationErrors::single(column.clone(), message))?;
            }
        }
        if end_user.is_empty() {
            return Err(ValidationErrors::single("body", "has no value in a column that is mapped to a field"));
        }
        let body =
            end_user.into_json(self.country.as_deref()).map_err(|message| ValidationErrors::single("uids", message))?;
        let is_named = ["firstname", "lastname", "company"].iter().any(|name| body.member(name).is_some());
        if self.needs_name && !is_named {
            return Err(ValidationErrors::single(
                "body",
                "has neither a name nor an identifier; use --without-identifiers to import it",
            ));
        }
        match &self.matching {
            Some(matching) => matching.apply(body),
            None => Ok(body),
        }
    }

    /// Rejects a row with a cell that seems to contain other rows. A long text may contain some such lines.
    pub(crate) fn check_embedded_rows(&self, embedded_rows: &[EmbeddedRows]) -> Result<(), ValidationErrors> {
        let is_wrong = |found: &&EmbeddedRows| {
            let mut kinds = self.columns.iter().filter(|(column, _)| same(column, &found.column));
            kinds.any(|(_, kind)| found.entirely || !kind.is_long_text())
        };
        match embedded_rows.iter().find(is_wrong) {
            Some(EmbeddedRows { column, .. }) => Err(ValidationErrors::single(
                column.clone(),
                "contains lines that look like rows of the file; check for an unclosed quote",
            )),
            None => Ok(()),
        }
    }

    /// The value of a cell without the marks of a spreadsheet; `None` for a placeholder such as `n/a`.
    fn read<'a>(&self, kind: &ColumnKind, value: &'a Json) -> Result<Option<Cow<'a, Json>>, &'static str> {
        match value {
            Json::Number(_) => Ok(as_text(value)?.map(|text| Cow::Owned(Json::String(text)))),
            // A `uids` column is JSON and is never escaped.
            Json::String(text) if self.format == Format::Csv && *kind != ColumnKind::Uids => {
                let is_identifier = kind.is_identifier();
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
        let columns: Vec<_> = self.columns.iter().map(|(column, kind)| format!("{column} → {kind}")).collect();
        f.write_str(&columns.join(", "))?;
        self.country.iter().try_for_each(|country| write!(f, "; default country {country}"))?;
        self.matching.iter().try_for_each(|matching| write!(f, "; {matching}"))
    }
}

fn list_columns(columns: &[String]) -> String {
    format!("the columns are {}", headers::list(columns))
}

fn unknown_column(header: &str, columns: &[String]) -> String {
    format!("--map: unknown column {header}; {}", list_columns(columns))
}

fn unknown_field(name: &str) -> String {
    let fields = Field::ALL.map(Field::name).join(", ");
    format!(
        "--map: unknown field {name}; the fields are {fields}, {NAME}, email, phone, whatsapp, {UID}TYPE, {UIDS}, \
         {LIFECYCLE}, and {IGNORED} to ignore the column"
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

    fn options(maps: &[(&str, &str)]) -> MappingOptions {
        let maps = maps.iter().map(|(header, field)| ((*header).to_owned(), (*field).to_owned())).collect();
        MappingOptions { maps, without_identifiers: true, ..MappingOptions::default() }
    }

    fn mapping(names: &[&str], maps: &[(&str, &str)]) -> Result<Mapping, String> {
        Mapping::new(&columns(names), Format::Csv, &options(maps)).map_err(|error| error.to_string())
    }

    /// The body of a row of texts, or its validation errors.
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
    fn column_is_recognised_by_field_name_in_any_case() {
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
    fn map_overrides_the_recognised_kind() {
        let cells = [("Id", "7"), ("Email", "a@x.be"), ("Phone", "1"), ("Work", "b@x.be")];
        let maps = [("id", "customerRef"), ("Id", "uid:Crm"), ("work", "email"), ("Phone", "-")];
        assert_eq!(
            end_user(&cells, &maps),
            r#"{"customerRef":"7","uids":[{"uidType":"Crm","uid":"7"},{"uidType":"Email","uid":"b@x.be","isPrimary":true},{"uidType":"Email","uid":"a@x.be"}]}"#
        );
    }

    #[test]
    fn unknown_column_or_field_is_reported_with_choices() {
        let error = mapping(&["Mail", "Tags"], &[("E-mail", "email")]).expect_err("unknown column");
        assert_eq!(error, "--map: unknown column E-mail; the columns are Mail, Tags");
        let error = mapping(&["Mail"], &[("Mail", "mail")]).expect_err("unknown field");
        assert!(error.starts_with("--map: unknown field mail; the fields are firstname, "), "{error}");
        let error = mapping(&["Mail", "uid:"], &[]).expect_err("nothing to import");
        assert_eq!(error, "no column is mapped to a field; the columns are Mail, uid:");
    }

    #[test]
    fn whole_name_is_split_unless_the_row_has_its_parts() {
        let map = [("Full", "name")];
        assert_eq!(end_user(&[("Full", " Ann van Dam ")], &map), r#"{"firstname":"Ann","lastname":"van Dam"}"#);
        assert_eq!(end_user(&[("Full", "Ann")], &map), r#"{"firstname":"Ann"}"#);
        assert_eq!(end_user(&[("Full", "Ann Dam"), ("lastname", "Smit")], &map), r#"{"lastname":"Smit"}"#);
    }

    #[test]
    fn several_columns_of_a_field_are_joined_or_first_is_used() {
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
    fn uids_column_keeps_its_own_primary() {
        let uids = r#"[{"endUserUIDID":1,"uidType":"Phone","uid":"1","isPrimary":true}]"#;
        let expected = format!(r#"{{"uids":[{{"uidType":"Email","uid":"a@x.be"}},{}}}"#, &uids[1..]);
        assert_eq!(end_user(&[("email", "a@x.be"), ("uids", uids)], &[]), expected);
        assert!(end_user(&[("uids", "{}")], &[]).starts_with(r#"{"uids": ["must be a JSON array"#));
        assert!(end_user(&[("uids", "a@x.be")], &[]).starts_with(r#"{"uids": "#));
    }

    #[test]
    fn value_that_is_not_a_text_is_passed_on() {
        let text = r#"{"postalCode":2000,"firstname":true,"lastname":null,"email":["a@x.be",{}],"uids":[]}"#;
        let Ok(Json::Object(members)) = Json::parse(text.as_bytes()) else { panic!("an object") };
        let names: Vec<_> = members.iter().map(|(name, _)| name.clone()).collect();
        let mapping = Mapping::new(&names, Format::Ndjson, &options(&[])).expect("a mapping");
        let body = mapping.end_user(&members).expect("a body");
        assert_eq!(
            serde_json::to_string(&body).expect("JSON"),
            r#"{"firstname":true,"postalCode":"2000","uids":[{"uidType":"Email","uid":"a@x.be","isPrimary":true},{"uidType":"Email","uid":{}}]}"#
                .replace(r#""firstname":true,"postalCode":"2000""#, r#""postalCode":"2000","firstname":true"#)
        );
        let errors = PendingEndUser::read(&body, None).expect_err("validation errors");
        assert_eq!(errors.as_map().keys().collect::<Vec<_>>(), ["firstname", "uids[1].uid"]);
    }

    #[test]
    fn row_without_values_is_rejected() {
        assert!(end_user(&[("firstname", " "), ("email", ";"), ("x", "1")], &[]).contains("has no value in a column"));
    }

    #[test]
    fn common_headers_are_recognised() {
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
        // A field with a column of its own name ignores common headers.
        let cells =
            [("First name", "Anna"), ("firstname", "Ann"), ("identifier", "2"), ("customerRef", ""), ("name", "B C")];
        assert_eq!(end_user(&cells, &[]), r#"{"firstname":"Ann"}"#);
    }

    #[test]
    fn file_without_identifiers_requires_an_option() {
        let new = |names: &[&str], without_identifiers| {
            let options = MappingOptions { without_identifiers, ..MappingOptions::default() };
            Mapping::new(&columns(names), Format::Csv, &options).map_err(|error| error.to_string())
        };
        let error = new(&["firstname", "Contact point"], false).expect_err("an option");
        assert!(error.starts_with("no column is recognised as an identifier (email, phone, "), "{error}");
        assert!(error.contains("the columns are firstname, Contact point; name one with --map"), "{error}");
        assert!(new(&["firstname", "Contact point"], true).is_ok());
        // If all columns are recognised, no option is required, but each row needs a name.
        let mapping = new(&["firstname", "city"], false).expect("a mapping");
        assert!(
            body(&mapping, &[("firstname", ""), ("city", "Gent")]).contains("has neither a name nor an identifier")
        );
        assert!(body(&mapping, &[("firstname", "Ann"), ("city", "")]).contains("Ann"));
    }

    #[test]
    fn default_country_is_used_for_rows_without_one() {
        let options = MappingOptions { country: Some("BE".to_owned()), ..options(&[]) };
        let names = columns(&["email", "country"]);
        let mapping = Mapping::new(&names, Format::Csv, &options).expect("a mapping");
        assert!(body(&mapping, &[("email", "a@x.be"), ("country", " ")]).starts_with(r#"{"country":"BE","#));
        assert!(body(&mapping, &[("email", "a@x.be"), ("country", "Nederland")]).starts_with(r#"{"country":"NL","#));
        assert!(body(&mapping, &[("email", ""), ("country", "")]).contains("has no value in a column"));
        assert!(mapping.to_string().ends_with("country → country; default country BE"));
    }

    #[test]
    fn spreadsheet_cell_is_read_without_marks() {
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
        assert!(end_user(&[("customerRef", "-")], &[]).contains("has no value in a column"));
        assert!(
            end_user(&[("customerRef", "1.23457E+11")], &[]).starts_with(r#"{"customerRef": ["is a number without"#)
        );
        assert!(
            end_user(&[("phone", "02 123 45 67 / 68")], &[]).starts_with(r#"{"phone": ["contains several numbers"#)
        );
    }

    #[test]
    fn json_number_without_its_last_digits_is_rejected() {
        let read = |text: &str| {
            let members = crate::json::read_object(text.as_bytes()).expect("an object");
            let names: Vec<_> = members.iter().map(|(name, _)| name.clone()).collect();
            let mapping = Mapping::new(&names, Format::Ndjson, &options(&[])).expect("a mapping");
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
        // A JSON string is never unescaped.
        assert_eq!(
            read(r#"{"firstname":"'=1","customerRef":"-"}"#).as_deref(),
            Ok(r#"{"firstname":"'=1","customerRef":"-"}"#)
        );
    }

    #[test]
    fn cell_that_contains_rows_is_rejected_except_long_texts() {
        let mapping = mapping(&["email", "otherContactDetails", "tags"], &[]).expect("a mapping");
        let check = |column: &str, entirely| {
            mapping.check_embedded_rows(&[EmbeddedRows { column: column.to_owned(), entirely }]).is_ok()
        };
        assert!(!check("email", false) && !check("email", true));
        assert!(check("otherContactDetails", false) && !check("otherContactDetails", true));
        assert!(check("tags", true));
    }

    #[test]
    fn number_of_uids_is_bounded() {
        let many = "a@x.be,".repeat(1_000);
        let body = end_user(&[("email", &many), ("phone", "1")], &[]);
        assert_eq!(body.matches("uidType").count(), MAX_UIDS);
    }
}
