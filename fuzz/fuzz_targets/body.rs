//! Bodies of a create, an update, an assign and an upsert. Lines: the default region; the body of a create; the body of
//! an update of the created end user; the bodies of an assign to the updated end user and of an upsert that matches it.
#![no_main]

use fuzz::{assert_storable, end_user_id, lines, region, uid_ids};
use libfuzzer_sys::fuzz_target;
use shared::domain::end_user::{
    EndUser, EndUserReadDto, EndUserUpdate, EndUserUpsert, MAX_UID_LENGTH, MAX_UIDS, PendingEndUser, UidAssignment,
};
use shared::domain::input::{Json, ValidationErrors};
use shared::domain::phone::Region;
use shared::domain::profile::Field;
use shared::domain::uid::{lookup_keys, reference_key};

/// Asserts that validation errors have paths and messages, within the limit of 1,000 paths.
fn assert_errors(errors: &ValidationErrors) {
    assert!(!errors.is_empty() && errors.as_map().len() <= 1_000);
    assert!(errors.as_map().values().all(|messages| !messages.is_empty()));
}

/// The value of a result; asserts its validation errors if it has none.
fn accepted<T>(result: Result<T, ValidationErrors>) -> Option<T> {
    result.inspect_err(assert_errors).ok()
}

/// Asserts the invariants of an end user: UIDs, keys, sizes, and that its EndUserReadDTO can be sent back unchanged.
fn assert_sound(end_user: &EndUser, default: Option<Region>) {
    assert!(end_user.uids.len() <= MAX_UIDS && end_user.uids.iter().filter(|uid| uid.is_primary).count() <= 1);
    assert!(end_user.uids.windows(2).all(|pair| pair[0].id < pair[1].id), "UIDs are not in the order of ids");
    for (at, uid) in end_user.uids.iter().enumerate() {
        assert!((1..=MAX_UID_LENGTH).contains(&uid.value.chars().count()), "{uid:?}");
        let is_duplicate =
            end_user.uids[..at].iter().any(|other| other.kind.is_same_type(&uid.kind) && other.key() == uid.key());
        assert!(!is_duplicate, "{uid:?} is a duplicate");
        assert!(lookup_keys(&uid.value, None).contains(&uid.key()), "{uid:?} is not found");
    }
    if let Some(reference) = end_user.profile.get(Field::CustomerRef) {
        assert!(lookup_keys(reference, None).contains(&reference_key(reference)), "{reference:?} is not found");
    }
    assert_storable(end_user);

    let dto = serde_json::to_vec(&EndUserReadDto::from(end_user)).expect("JSON");
    assert!(dto.len() <= 48_000);
    let body = Json::parse(&dto).expect("JSON");
    for region in [default, None] {
        let new = PendingEndUser::read(&body, region).expect("an EndUserReadDTO can be created");
        let again = new
            .save(end_user.id, end_user.rev, end_user.uids.iter().map(|uid| uid.id))
            .expect("an end user of the same size");
        assert_eq!(
            (&again.profile, &again.uids),
            (&end_user.profile, &end_user.uids),
            "created from its EndUserReadDTO"
        );
        let update = EndUserUpdate::read(&body, region).expect("an EndUserReadDTO can be sent back");
        let updated = update.apply(end_user).and_then(|changed| changed.save(end_user.id, end_user.rev, []));
        assert_eq!(updated.as_ref(), Ok(end_user), "updated with its EndUserReadDTO");
    }
}

fuzz_target!(|input: &[u8]| {
    let input = String::from_utf8_lossy(input);
    let [default, create, update, assign, upsert] = lines(&input);
    let default = region(default);
    let parse = |text: &str| Json::parse(text.as_bytes()).ok().filter(|json| json.duplicate_names().is_empty());

    let new = parse(create).and_then(|body| accepted(PendingEndUser::read(&body, default)));
    let created = new.and_then(|new| accepted(new.save(end_user_id(), 1, uid_ids(1))));
    let Some(mut end_user) = created else { return };
    assert_sound(&end_user, default);

    if let Some(update) = parse(update).and_then(|body| accepted(EndUserUpdate::read(&body, default))) {
        let updated = update.apply(&end_user).and_then(|changed| changed.save(end_user.id, end_user.rev, uid_ids(101)));
        if let Some(updated) = accepted(updated) {
            assert_sound(&updated, default);
            end_user = updated;
        }
    }
    if let Some(upsert) = parse(upsert).and_then(|body| accepted(EndUserUpsert::read(&body, default))) {
        let upsert =
            |end_user: &EndUser, first| upsert.apply(end_user)?.save(end_user.id, end_user.rev, uid_ids(first));
        if let Some(after) = accepted(upsert(&end_user, 401)) {
            assert_sound(&after, default);
            assert_eq!(upsert(&after, 501).as_ref(), Ok(&after), "upserted again");
        }
    }
    let Some(assignment) = parse(assign).and_then(|body| accepted(UidAssignment::read(&body, default))) else { return };
    let assign =
        |end_user: &EndUser, first| assignment.apply(end_user)?.save(end_user.id, end_user.rev, uid_ids(first));
    if let Some(after) = accepted(assign(&end_user, 201)) {
        assert_sound(&after, default);
        let assigned = assignment.result(&end_user, &after).expect("the UID is stored");
        assert_eq!(assigned.already_linked, assigned.uid.id.get() != 201);
        assert!(after.uids.contains(&assigned.uid));
        assert_eq!(assign(&after, 301).as_ref(), Ok(&after), "assigned again");
    }
});
