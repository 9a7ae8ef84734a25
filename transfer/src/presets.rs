//! Columns of the contact exports of other products.
//!
//! No real export was available. The names are from stored copies of these pages; a few are from memory (`Additional
//! email addresses`, `Gender`, `Language override`, `Preferred language`, `WhatsApp …`). A name that a file does not
//! have is harmless.
//!
//! - Zendesk, the CSV of users, and the JSON of a user, which the JSON export writes one per line:
//!   <https://support.zendesk.com/hc/en-us/articles/203661996-Bulk-importing-users-and-organizations>,
//!   <https://developer.zendesk.com/rest_api/docs/core/users>,
//!   <https://support.zendesk.com/hc/en-us/articles/4408886165402>
//! - Intercom, the standard attributes, and their names in its API:
//!   <https://www.intercom.com/help/en/articles/320-tracking-user-data-in-intercom>,
//!   <https://www.intercom.com/help/en/articles/177-import-your-user-data-into-intercom>,
//!   <https://developers.intercom.com/docs/references/1.1/rest-api/users/user-model>
//! - Freshdesk, the labels of the default contact fields, and their names in its API:
//!   <https://support.freshdesk.com/support/solutions/articles/203410>,
//!   <https://support.freshdesk.com/support/solutions/articles/50000010165-manage-customer-data-in-freshdesk>,
//!   <https://developers.freshworks.com/freshdesk-sdk/docs/Contact.html>
//! - HubSpot, the labels of contact properties; its exports in public repositories begin with `Record ID,First
//!   Name,Last Name,Email,Phone Number`:
//!   <https://developers.hubspot.com/docs/api/crm/exports>,
//!   <https://wildandfreetools.com/blog/format-csv-for-hubspot-contact-import>

use clap::ValueEnum;

use crate::columns::ColumnKind;

/// A product with a known export format.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Preset {
    /// Users as CSV, or the JSON export, one user per line.
    Zendesk,
    /// Contacts as CSV.
    Intercom,
    /// Contacts as CSV.
    Freshdesk,
    /// Contacts as CSV.
    Hubspot,
}

/// Columns with their meanings as in `--map`, in order of preference.
type PresetColumns = &'static [(&'static str, &'static str)];

impl Preset {
    fn names(self) -> PresetColumns {
        match self {
            Self::Zendesk => &[
                ("name", "name"),
                ("email", "email"),
                ("phone", "phone"),
                ("external_id", "customerRef"),
                ("organization", "company"),
                ("locale", "lang"),
                ("details", "otherContactDetails"),
                ("notes", "otherContactDetails"),
            ],
            Self::Intercom => &[
                ("Name", "name"),
                ("Email", "email"),
                ("Phone", "phone"),
                ("Phone number", "phone"),
                ("WhatsApp number", "whatsapp"),
                ("User ID", "customerRef"),
                ("user_id", "customerRef"),
                ("external_id", "customerRef"),
                ("Company name", "company"),
                ("Language override", "lang"),
                ("Browser language", "lang"),
                ("City", "city"),
                ("Country", "country"),
            ],
            Self::Freshdesk => &[
                ("Full name", "name"),
                ("Name", "name"),
                ("Email", "email"),
                ("Other emails", "email"),
                ("other_emails", "email"),
                ("Mobile phone", "phone"),
                ("Mobile", "phone"),
                ("Work phone", "phone"),
                ("Phone", "phone"),
                ("Other phone numbers", "phone"),
                ("WhatsApp", "whatsapp"),
                ("Twitter", "uid:Twitter"),
                ("twitter_id", "uid:Twitter"),
                ("Unique external ID", "customerRef"),
                ("unique_external_id", "customerRef"),
                ("Company", "company"),
                ("Company name", "company"),
                ("Language", "lang"),
                ("Address", "otherContactDetails"),
                ("About", "otherContactDetails"),
                ("Description", "otherContactDetails"),
            ],
            Self::Hubspot => &[
                ("Record ID", "customerRef"),
                ("First Name", "firstname"),
                ("Last Name", "lastname"),
                ("Gender", "gender"),
                ("Email", "email"),
                ("Additional email addresses", "email"),
                ("Mobile Phone Number", "phone"),
                ("Phone Number", "phone"),
                ("WhatsApp Phone Number", "whatsapp"),
                ("Company Name", "company"),
                ("Associated Company", "company"),
                ("Lifecycle Stage", "lifecycle"),
                ("Preferred language", "lang"),
                ("Street Address", "street"),
                ("Postal Code", "postalCode"),
                ("Zip Code", "postalCode"),
                ("City", "city"),
                ("Country/Region", "country"),
            ],
        }
    }

    /// The columns and their kinds, in order of preference.
    pub(crate) fn columns(self) -> Vec<(&'static str, ColumnKind)> {
        self.names().iter().filter_map(|(header, name)| Some((*header, ColumnKind::parse(name)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn preset_columns_are_valid_and_distinct() {
        for preset in Preset::value_variants() {
            let headers: BTreeSet<_> = preset.names().iter().map(|(header, _)| header.to_ascii_lowercase()).collect();
            assert_eq!(headers.len(), preset.names().len(), "{preset:?}");
            assert_eq!(preset.columns().len(), preset.names().len(), "{preset:?}");
        }
    }
}
