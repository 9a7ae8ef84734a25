//! The pollers: they read the queue and the table's stream, and invoke functions with the events that Lambda's event
//! source mappings would make.

mod delivery;
mod lanes;
mod queue;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::functions::Functions;
use crate::queue::Queue;
use crate::template::Template;
use queue::QueuePoller;
use stream::StreamPoller;

/// The time that a poller waits when it finds nothing, unless it is notified.
const IDLE: Duration = Duration::from_millis(100);

type PollError = Box<dyn std::error::Error + Send + Sync>;

/// The poller of the queue and the poller of the stream.
#[derive(Clone)]
pub(crate) struct Pollers {
    queue: Arc<QueuePoller>,
    stream: Arc<StreamPoller>,
}

impl Pollers {
    pub(crate) fn new(
        functions: Arc<Functions>,
        queue: Arc<Queue>,
        template: &Template,
        config: &SdkConfig,
        stream_arn: &str,
    ) -> Self {
        Self {
            queue: Arc::new(QueuePoller::new(functions.clone(), queue.clone(), template.queue.clone())),
            stream: Arc::new(StreamPoller::new(functions, queue, template.stream.clone(), config, stream_arn)),
        }
    }

    /// Starts both pollers. After `stopped`, each ends when its batches in flight are finished.
    pub(crate) fn run(&self, stopped: &watch::Receiver<bool>) -> Vec<JoinHandle<()>> {
        vec![
            tokio::spawn(self.queue.clone().run(stopped.clone())),
            tokio::spawn(self.stream.clone().run(stopped.clone())),
        ]
    }

    /// Notifies the queue poller of new messages.
    pub(crate) fn wake_queue(&self) {
        self.queue.notify();
    }

    /// Notifies the stream poller of new records.
    pub(crate) fn wake_stream(&self) {
        self.stream.notify();
    }

    /// Waits until the queue is empty, and then until the stream has no unread or unfinished record.
    pub(crate) async fn settled(&self) {
        self.queue.settled().await;
        self.stream.settled().await;
    }
}

/// Invokes a function with a batch. Returns `None` if the function fails or its response is malformed; Lambda then
/// treats the whole batch as failed.
async fn invoke<T: DeserializeOwned>(functions: &Arc<Functions>, function: &str, event: &Value) -> Option<T> {
    let response = functions.invoke(function, event).await.ok()?;
    serde_json::from_slice(&response).ok()
}
