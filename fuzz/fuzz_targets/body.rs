//! Lines: the default region; the body of a create; that of an update of the end user so created; that
//! of an assignment to the end user then.
#![no_main]

use fuzz::{assert_storable, lines, end_user_id, region, uid_ids};
use libfuzzer_sys::fuzz_target;
use shared::domain::end_user::{UidAssignment, PendingEndUser, EndUser, EndUserReadDto, MAX_UID_LENGTH, MAX_UIDS, EndUserUpdate};
use shared::domain::ids::UidId;
use shared::domain::input::{ValidationErrors, Json};
use shared::domain::phone::Region;
use shared::domain::profile::Field;
use shared::domain::uid::{lookup_keys, reference_key};

/// A refusal says where, in an answer of bounded size.
fn assert_refusal(errors: &ValidationErrors) {
    assert!(!errors.is_empty() && errors.as_map().len() <= 1_000);
    assert!(errors.as_map().values().all(|messages| !messages.is_empty()));
}

fn accepted<T>(read: Result<T, ValidationErrors>) -> Option<T> {
    read.inspect_err(assert_refusal).ok()
}

fn assert_sound(end_user: &EndUser, default: Option<Region>) {
    assert!(end_user.uids.len() <= MAX_UIDS && end_user.uids.iter().filter(|uid| uid.is_primary).count() <= 1);
    assert!(end_user.uids.windows(2).all(|pair| pair[0].id < pair[1].id), "by ascending id");
    for (at, uid) in end_user.uids.iter().enumerate() {
        assert!((1..=MAX_UID_LENGTH).contains(&uid.value.chars().count()), "{uid:?}");
        let twice = end_user.uids[..at].iter().any(|other| other.kind.is_same_type(&uid.kind) && other.key() == uid.key());
        assert!(!twice, "{uid:?} is held twice");
        assert!(lookup_keys(&uid.value, None).contains(&uid.key()), "{uid:?} is not found");
    }
    if let Some(reference) = end_user.profile.get(Field::CustomerRef) {
        assert!(lookup_keys(reference, None).contains(&reference_key(reference)), "{reference:?} is not found");
    }
    assert_storable(end_user);

    let answered = serde_json::to_vec(&EndUserReadDto::from(end_user)).expect("JSON");
    assert!(answered.len() <= 48_000);
    let body = Json::parse(&answered).expect("JSON");
    for region in [default, None] {
        let draft = PendingEndUser::read(&body, region).expect("what was answered can be created");
        let again = draft.save(end_user.id, end_user.rev, end_user.uids.iter().map(|uid| uid.id)).expect("of the same size");
        assert_eq!((&again.profile, &again.uids), (&end_user.profile, &end_user.uids), "created anew");
        let update = EndUserUpdate::read(&body, region).expect("what was answered can be sent back");
        let updated = update.apply(end_user).and_then(|draft| draft.save(end_user.id, end_user.rev, []));
        assert_eq!(updated.as_ref(), Ok(end_user), "sent back");
    }
}

fuzz_target!(|input: &[u8]| {
    let input = String::from_utf8_lossy(input);
    let [default, create, update, assign] = lines(&input);
    let default = region(default);
    let parse = |text: &str| Json::parse(text.as_bytes()).ok().filter(|json| json.duplicate_names().is_empty());

    let draft = parse(create).and_then(|body| accepted(PendingEndUser::read(&body, default)));
    let created = draft.and_then(|draft| accepted(draft.save(end_user_id(), 1, uid_ids(1))));
    let Some(mut end_user) = created else { return };
    assert_sound(&end_user, default);

    if let Some(update) = parse(update).and_then(|body| accepted(EndUserUpdate::read(&body, default))) {
        let updated = update.apply(&end_user).and_then(|draft| draft.save(end_user.id, end_user.rev, uid_ids(101)));
        if let Some(updated) = accepted(updated) {
            assert_sound(&updated, default);
            end_user = updated;
        }
    }
    let Some(assignment) = parse(assign).and_then(|body| accepted(UidAssignment::read(&body, default))) else { return };
    let assign = |end_user: &EndUser, first| assignment.apply(end_user)?.save(end_user.id, end_user.rev, uid_ids(first));
    if let Some(after) = accepted(assign(&end_user, 201)) {
        assert_sound(&after, default);
        let assigned = assignment.result(&end_user, &after).expect("the UID is there");
        assert_eq!(assigned.already_linked, assigned.uid.id.get() != 201);
        assert!(after.uids.contains(&assigned.uid));
        assert_eq!(assign(&after, 301).as_ref(), Ok(&after), "the same again");
    }
});
