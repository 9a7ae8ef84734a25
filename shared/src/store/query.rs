//! Queries within one partition of the table or of a global secondary index.

use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};

use super::error::StoreError;
use super::items::Item;
use super::meter::CallKind;
use super::table::Table;

/// The most items of one page: about 1 MB of index entries, which is the size limit of a response.
const MAX_PAGE: usize = 15_000;

/// A Query within one partition.
#[derive(Clone)]
pub(super) struct Query {
    /// The global secondary index; the table by default.
    pub index: Option<&'static str>,
    /// The names of the partition key and the sort key.
    pub key_names: (&'static str, &'static str),
    pub partition: String,
    /// The sort keys to read.
    pub bound: Bound,
    pub strong: bool,
    pub descending: bool,
    /// The attributes to return, separated by commas; all by default.
    pub projection: Option<&'static str>,
    /// The most items to read.
    pub limit: usize,
    /// The most items to read per page.
    pub page_size: usize,
    /// The key after which to start.
    pub start: Option<Item>,
}

/// A range of sort keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Bound {
    All,
    Prefix(String),
    From(String),
    Before(String),
    /// Both ends included.
    Between(String, String),
}

impl Bound {
    /// The condition on `#sort`, and its values.
    fn condition(&self) -> (&'static str, Vec<(&'static str, &str)>) {
        match self {
            Self::All => ("", vec![]),
            Self::Prefix(text) => (" AND begins_with(#sort, :first)", vec![(":first", text)]),
            Self::From(first) => (" AND #sort >= :first", vec![(":first", first)]),
            Self::Before(last) => (" AND #sort < :last", vec![(":last", last)]),
            Self::Between(first, last) => {
                (" AND #sort BETWEEN :first AND :last", vec![(":first", first), (":last", last)])
            }
        }
    }
}

impl Query {
    /// All items of a partition of the table, ascending, read eventually consistently.
    pub(super) fn table(partition: String) -> Self {
        Self {
            index: None,
            key_names: ("pk", "sk"),
            partition,
            bound: Bound::All,
            strong: false,
            descending: false,
            projection: None,
            limit: usize::MAX,
            page_size: MAX_PAGE,
            start: None,
        }
    }

    pub(super) fn strong(self) -> Self {
        Self { strong: true, ..self }
    }

    /// All items of a partition of the index `byUid`.
    pub(super) fn by_uid(partition: String) -> Self {
        Self { index: Some("byUid"), key_names: ("uidPk", "uidSk"), ..Self::table(partition) }
    }

    /// All items of a partition of the index `byCustomerRef`.
    pub(super) fn by_customer_ref(partition: String) -> Self {
        Self { index: Some("byCustomerRef"), key_names: ("refPk", "refSk"), ..Self::table(partition) }
    }
}

/// The items of one response to a Query, at most 1 MB.
pub(super) struct QueryPage {
    pub items: Vec<Item>,
    /// The key after which the next page starts; `None` if there are no more items.
    pub next: Option<Item>,
}

impl<'a> Table<'a> {
    /// The pages of a query. Each page is read when it is polled for, and is one round trip.
    pub(super) fn pages(self, query: Query) -> BoxStream<'a, Result<QueryPage, StoreError>> {
        let pages = stream::try_unfold(Some(query), move |query| async move {
            let Some(mut query) = query else { return Ok(None) };
            let page = self.query_page(&query).await?;
            query.limit -= page.items.len().min(query.limit);
            query.start.clone_from(&page.next);
            let rest = (query.start.is_some() && query.limit > 0).then_some(query);
            Ok(Some((page, rest)))
        });
        pages.boxed()
    }

    /// The items of a query, with one page in memory at a time.
    pub(super) fn items(self, query: Query) -> BoxStream<'a, Result<Item, StoreError>> {
        self.pages(query).map_ok(|page| stream::iter(page.items.into_iter().map(Ok))).try_flatten().boxed()
    }

    /// All items of a query.
    pub(super) async fn query(self, query: Query) -> Result<Vec<Item>, StoreError> {
        self.pages(query).map_ok(|page| page.items).try_concat().await
    }

    /// The first page of a query.
    pub(super) async fn query_page(self, query: &Query) -> Result<QueryPage, StoreError> {
        let (partition_name, sort_name) = query.key_names;
        let (condition, values) = query.bound.condition();
        let mut request = self
            .client
            .query()
            .table_name(self.name)
            .set_index_name(query.index.map(str::to_owned))
            .key_condition_expression(format!("#partition = :partition{condition}"))
            .expression_attribute_names("#partition", partition_name)
            .expression_attribute_values(":partition", AttributeValue::S(query.partition.clone()))
            .set_projection_expression(query.projection.map(str::to_owned))
            .scan_index_forward(!query.descending)
            .limit(query.limit.min(query.page_size).clamp(1, MAX_PAGE) as i32)
            .set_exclusive_start_key(query.start.clone())
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        if !values.is_empty() {
            request = request.expression_attribute_names("#sort", sort_name);
        }
        for (name, value) in values {
            request = request.expression_attribute_values(name, AttributeValue::S(value.to_owned()));
        }
        if query.strong {
            request = request.consistent_read(true);
        }
        let output = self.call(CallKind::Read, || request.clone().send()).await?;
        self.meter.spend(CallKind::Read, &output.consumed_capacity);
        Ok(QueryPage { items: output.items.unwrap_or_default(), next: output.last_evaluated_key })
    }
}
