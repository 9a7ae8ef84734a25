//! The body of `POST /api/EndUsers`.

use super::uids::{UidEntry, read_entries};
use super::{MAX_ENTRIES, PendingEndUser};
use crate::domain::input::{Fields, Json, ValidationErrors};
use crate::domain::phone::Region;
use crate::domain::profile::{Patch, Profile};

impl PendingEndUser {
    /// Reads an EndUserCreateDTO. Repeated UIDs become one; `default` is the deployment's phone region.
    pub fn read(body: &Json, default: Option<Region>) -> Result<Self, ValidationErrors> {
        let mut errors = ValidationErrors::default();
        let Some(fields) = Fields::of_body(body, &mut errors) else { return Err(errors) };
        let patch = Patch::read(&fields, &mut errors);
        let entries = read_entries(&fields, MAX_ENTRIES, &mut errors, UidEntry::read_new);
        match Self::after(Profile::default(), &[], &patch, &entries, default) {
            Ok(end_user) => {
                // `save` checks the size of a valid end user.
                if !errors.is_empty()
                    && let Err(more) = end_user.save_with_shortest_ids()
                {
                    errors.append(more);
                }
                errors.into_result(end_user)
            }
            Err(more) => {
                errors.append(more);
                Err(errors)
            }
        }
    }
}
