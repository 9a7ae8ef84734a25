//! A check of a file without sending a request.

use shared::domain::end_user::{EndUserUpsert, PendingEndUser};
use shared::domain::input::{Json, ValidationErrors};
use shared::domain::phone::{PhoneError, Region};

use crate::display::{ProgressDisplay, print_line};
use crate::error::Error;
use crate::report::Report;
use crate::source::{ScannedSource, Source};

/// Checks every row as the API would, with `region` as its default phone region. Returns whether no row would be
/// rejected.
pub(crate) fn run(source: &Source, region: Option<Region>) -> Result<bool, Error> {
    let scanned = ScannedSource::new(source)?;
    let validate = if source.options.matching.is_some() { validate_upsert } else { validate_create };
    let mut rows = scanned.open()?;
    // The report of an import that is in progress stays untouched.
    let mut report = Report::open((scanned.beside("dry-run.txt"), 0), None, &[])?;
    let display = ProgressDisplay::start(0, scanned.rows);
    let (mut rejected, mut undecided) = (0, 0);
    while let Some(row) = scanned.next(&mut rows)? {
        display.step();
        let body = scanned.body(&row);
        let checked = body.as_ref().map_err(ValidationErrors::clone).and_then(|body| validate(body, region));
        let Err(mut errors) = checked else { continue };
        if region.is_none() && body.is_ok_and(|body| depends_on_region(&body, &errors)) {
            undecided += 1;
            errors.add(
                "body",
                "is accepted if the number is valid in the deployment's DEFAULT_PHONE_REGION; use --region",
            );
        } else {
            rejected += 1;
        }
        report.add(&row, &errors)?;
    }
    report.flush()?;
    display.end();
    let valid = scanned.rows - rejected - undecided;
    let open = match undecided {
        0 => String::new(),
        undecided => format!(", {undecided} depend on the default phone region"),
    };
    print_line(&format!("dry run: {valid} of {} rows are valid, {rejected} would be rejected{open}", scanned.rows));
    if rejected + undecided > 0 {
        report.print_paths();
    }
    Ok(rejected == 0)
}

/// Validates a body as `POST /api/EndUsers/upsertMany` does.
fn validate_upsert(body: &Json, region: Option<Region>) -> Result<(), ValidationErrors> {
    EndUserUpsert::read(body, region).map(drop)
}

/// Validates a body as `POST /api/EndUsers` does.
fn validate_create(body: &Json, region: Option<Region>) -> Result<(), ValidationErrors> {
    PendingEndUser::read(body, region)?.save_with_shortest_ids().map(drop)
}

/// Whether the deployment's default phone region decides if a body is valid: it has no country, and all its errors are
/// phone numbers that are impossible without a region.
fn depends_on_region(body: &Json, errors: &ValidationErrors) -> bool {
    let impossible = PhoneError::Impossible.to_string();
    body.member("country").is_none() && errors.as_map().values().flatten().all(|message| *message == impossible)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(text: &str) -> Json {
        Json::parse(text.as_bytes()).expect("JSON")
    }

    #[test]
    fn only_phones_without_a_country_depend_on_the_region() {
        for (text, depends) in [
            (r#"{"uids":[{"uidType":"Phone","uid":"0470000000"}]}"#, true),
            (r#"{"country":"BE","uids":[{"uidType":"Phone","uid":"04700"}]}"#, false),
            (r#"{"uids":[{"uidType":"Phone","uid":"0470l00000"}]}"#, false),
            (r#"{"lang":"x","uids":[{"uidType":"Phone","uid":"0470000000"}]}"#, false),
        ] {
            for validate in [validate_upsert, validate_create] {
                let errors = validate(&body(text), None).expect_err("validation errors");
                assert_eq!(depends_on_region(&body(text), &errors), depends, "{text}: {errors:?}");
            }
        }
        let phone = body(r#"{"uids":[{"uidType":"Phone","uid":"0470000000"}]}"#);
        assert_eq!(validate_upsert(&phone, Region::parse("BE")), Ok(()));
        assert_eq!(validate_create(&phone, Region::parse("BE")), Ok(()));
    }

    #[test]
    fn too_large_end_user_is_rejected() {
        let large = format!(r#"{{"customerRef":"1","aiDocumentation":"{}"}}"#, "x\\n".repeat(16_000));
        for validate in [validate_upsert, validate_create] {
            let errors = validate(&body(&large), None).expect_err("a validation error");
            assert_eq!(errors.as_map().keys().collect::<Vec<_>>(), ["aiDocumentation"]);
        }
    }
}
