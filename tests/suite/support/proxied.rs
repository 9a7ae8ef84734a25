//! A system under test with a fault-injecting proxy between the functions and the database.

use aws_sdk_dynamodb::Client;
use tests::proxy::Proxy;

use super::app::App;

pub const NOTHING: &str = "the database is unavailable; nothing was written, retry the request";
pub const UNKNOWN: &str = "the database did not respond; it is unknown whether the change was written";

/// A system that calls the database through a fault-injecting proxy.
pub struct FaultyApp {
    pub app: App,
    pub proxy: Proxy,
    /// Keeps the database engine alive. Its functions are not used.
    engine: App,
}

impl FaultyApp {
    pub async fn start(seed: u64) -> Self {
        let engine = App::start().await;
        let proxy = Proxy::start(engine.system.engine_url(), seed).await.expect("a proxy");
        let app = App::with(&[("AWS_ENDPOINT_URL_DYNAMODB", proxy.url())]).await;
        Self { app, proxy, engine }
    }

    /// A client of the database that does not call it through the proxy.
    pub fn direct_client(&self) -> &Client {
        self.engine.system.client()
    }
}
