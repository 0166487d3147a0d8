//! Hearing what other nodes did.

use std::sync::atomic::Ordering;
use std::time::Duration;

use deadpool_redis::redis::RedisResult;
use deadpool_redis::redis::aio::PubSub;
use futures_util::StreamExt as _;

use super::redis::PROBE_BUDGET;
use super::{News, PROBE_EVERY, Shared};

/// A connection on which nothing was heard for this long is asked whether it still is one.
const SILENCE: Duration = Duration::from_secs(2);

/// Hears the news for ever, on one connection after the other.
pub(super) async fn run(shared: &Shared, hear: impl Fn(News) + Send + Sync) {
    loop {
        if let Some(Ok(pubsub)) = within_budget(subscribe(shared)).await {
            shared.listening.store(true, Ordering::Relaxed);
            // What was told before is lost.
            hear(News::Anything);
            listen(shared, pubsub, &hear).await;
            shared.listening.store(false, Ordering::Relaxed);
            tracing::debug!("the connection for news ended");
        }
        tokio::time::sleep(PROBE_EVERY).await;
    }
}

async fn subscribe(shared: &Shared) -> RedisResult<PubSub> {
    let mut pubsub = shared.redis.client().get_async_pubsub().await?;
    pubsub.subscribe(&shared.names.channel).await?;
    Ok(pubsub)
}

async fn listen(shared: &Shared, pubsub: PubSub, hear: &(impl Fn(News) + Sync)) {
    let (mut asking, mut messages) = pubsub.split();
    loop {
        match tokio::time::timeout(SILENCE, messages.next()).await {
            Ok(Some(message)) => {
                if let Some(news) = News::heard(message.get_payload_bytes(), shared.node) {
                    hear(news);
                }
            }
            Ok(None) => return,
            Err(_) => match within_budget(asking.ping::<()>()).await {
                Some(Ok(())) => {}
                _ => return,
            },
        }
    }
}

async fn within_budget<T>(work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(PROBE_BUDGET, work).await.ok()
}
