//! The poller of the queue of ticket events.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use aws_lambda_events::sqs::SqsBatchResponse;
use tokio::sync::{Notify, watch};

use super::{IDLE, PollError, invoke};
use crate::events;
use crate::functions::Functions;
use crate::queue::{Queue, QueueMessage};
use crate::template::QueueSource;

pub(super) struct QueuePoller {
    functions: Arc<Functions>,
    queue: Arc<Queue>,
    source: QueueSource,
    new_messages: Notify,
}

impl QueuePoller {
    pub(super) fn new(functions: Arc<Functions>, queue: Arc<Queue>, source: QueueSource) -> Self {
        Self { functions, queue, source, new_messages: Notify::new() }
    }

    pub(super) fn notify(&self) {
        self.new_messages.notify_one();
    }

    pub(super) async fn settled(&self) {
        while !self.queue.is_empty().unwrap_or(false) {
            self.notify();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub(super) async fn run(self: Arc<Self>, stopped: watch::Receiver<bool>) {
        while !*stopped.borrow() {
            match self.queue.receive(self.source.batch_size) {
                Ok(batch) if batch.is_empty() => drop(tokio::time::timeout(IDLE, self.new_messages.notified()).await),
                Ok(batch) => {
                    if let Err(error) = self.deliver(batch).await {
                        tracing::error!(%error, "queue poller failed");
                        tokio::time::sleep(IDLE).await;
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "queue cannot be read");
                    tokio::time::sleep(IDLE).await;
                }
            }
        }
    }

    /// Invokes the function once with a batch. Messages that it processed are deleted; a failed message becomes a dead
    /// letter after its last delivery.
    async fn deliver(&self, batch: Vec<QueueMessage>) -> Result<(), PollError> {
        let event = events::of_messages(&batch);
        let response: Option<SqsBatchResponse> = invoke(&self.functions, &self.source.function, &event).await;
        let failed: Option<HashSet<String>> =
            response.map(|response| response.batch_item_failures.into_iter().map(|f| f.item_identifier).collect());
        for message in batch {
            if failed.as_ref().is_some_and(|failed| !failed.contains(&message.id.to_string())) {
                self.queue.acknowledge(message.id)?;
            } else if message.receive_count >= self.source.max_receive_count {
                self.queue.move_to_dead_letters(message.id)?;
            }
        }
        Ok(())
    }
}
