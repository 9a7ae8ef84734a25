//! Lines: the default region; the body of a create; that of an update of the person so created; that
//! of an assignment to the person then.
#![no_main]

use fuzz::{assert_storable, lines, person_id, region, uid_ids};
use libfuzzer_sys::fuzz_target;
use shared::domain::end_user::{Assignment, Draft, EndUser, EndUserReadDto, MAX_UID_LENGTH, MAX_UIDS, Update};
use shared::domain::ids::UidId;
use shared::domain::input::{Faults, Json};
use shared::domain::phone::Region;
use shared::domain::profile::Field;
use shared::domain::uid::{lookup_keys, reference_key};

/// A refusal says where, in an answer of bounded size.
fn assert_refusal(faults: &Faults) {
    assert!(!faults.is_empty() && faults.as_map().len() <= 1_000);
    assert!(faults.as_map().values().all(|messages| !messages.is_empty()));
}

fn accepted<T>(read: Result<T, Faults>) -> Option<T> {
    read.inspect_err(assert_refusal).ok()
}

fn assert_sound(person: &EndUser, default: Option<Region>) {
    assert!(person.uids.len() <= MAX_UIDS && person.uids.iter().filter(|uid| uid.is_primary).count() <= 1);
    assert!(person.uids.windows(2).all(|pair| pair[0].id < pair[1].id), "by ascending id");
    for (at, uid) in person.uids.iter().enumerate() {
        assert!((1..=MAX_UID_LENGTH).contains(&uid.value.chars().count()), "{uid:?}");
        let twice = person.uids[..at].iter().any(|other| other.kind.means(&uid.kind) && other.key() == uid.key());
        assert!(!twice, "{uid:?} is held twice");
        assert!(lookup_keys(&uid.value, None).contains(&uid.key()), "{uid:?} is not found");
    }
    if let Some(reference) = person.profile.get(Field::CustomerRef) {
        assert!(lookup_keys(reference, None).contains(&reference_key(reference)), "{reference:?} is not found");
    }
    assert_storable(person);

    let answered = serde_json::to_vec(&EndUserReadDto::from(person)).expect("JSON");
    assert!(answered.len() <= 48_000);
    let body = Json::parse(&answered).expect("JSON");
    for region in [default, None] {
        let draft = Draft::read(&body, region).expect("what was answered can be created");
        let again = draft.save(person.id, person.rev, person.uids.iter().map(|uid| uid.id)).expect("of the same size");
        assert_eq!((&again.profile, &again.uids), (&person.profile, &person.uids), "created anew");
        let update = Update::read(&body, region).expect("what was answered can be sent back");
        let updated = update.apply(person).and_then(|draft| draft.save(person.id, person.rev, []));
        assert_eq!(updated.as_ref(), Ok(person), "sent back");
    }
}

fuzz_target!(|input: &[u8]| {
    let input = String::from_utf8_lossy(input);
    let [default, create, update, assign] = lines(&input);
    let default = region(default);
    let parse = |text: &str| Json::parse(text.as_bytes()).ok().filter(|json| json.repeated().is_empty());

    let draft = parse(create).and_then(|body| accepted(Draft::read(&body, default)));
    let created = draft.and_then(|draft| accepted(draft.save(person_id(), 1, uid_ids(1))));
    let Some(mut person) = created else { return };
    assert_sound(&person, default);

    if let Some(update) = parse(update).and_then(|body| accepted(Update::read(&body, default))) {
        let updated = update.apply(&person).and_then(|draft| draft.save(person.id, person.rev, uid_ids(101)));
        if let Some(updated) = accepted(updated) {
            assert_sound(&updated, default);
            person = updated;
        }
    }
    let Some(assignment) = parse(assign).and_then(|body| accepted(Assignment::read(&body, default))) else { return };
    let assign = |person: &EndUser, first| assignment.apply(person)?.save(person.id, person.rev, uid_ids(first));
    if let Some(after) = accepted(assign(&person, 201)) {
        assert_sound(&after, default);
        let assigned = assignment.result(&person, &after).expect("the UID is there");
        assert_eq!(assigned.already, assigned.uid.id.get() != 201);
        assert!(after.uids.contains(&assigned.uid));
        assert_eq!(assign(&after, 301).as_ref(), Ok(&after), "the same again");
    }
});
