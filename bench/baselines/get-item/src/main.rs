//! The baseline with a database: a function that reads one item, written as in the SDK's guides.
//!
//! Environment variables: `TABLE_NAME`, and the item's key in `PK` and `SK`.

use aws_config::BehaviorVersion;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue::S;
use lambda_http::{Body, Error, Request, Response, service_fn};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let client = Client::new(&aws_config::load_defaults(BehaviorVersion::latest()).await);
    let [table, pk, sk] = ["TABLE_NAME", "PK", "SK"].map(std::env::var);
    let (table, pk, sk) = (&table?, &pk?, &sk?);
    lambda_http::run(service_fn(async |_: Request| {
        let request = client.get_item().table_name(table).key("pk", S(pk.clone())).key("sk", S(sk.clone()));
        let item = request.send().await?.item.ok_or("no such item")?;
        let body = format!(r#"{{"attributes":{}}}"#, item.len());
        Ok::<_, Error>(
            Response::builder().status(200).header("content-type", "application/json").body(Body::from(body))?,
        )
    }))
    .await
}
