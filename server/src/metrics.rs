//! Counters of the server, and the page that shows them (OpenMetrics 1.0).

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use terse_core::Status;
use terse_core::model::Timestamp;
use terse_core::shared::SharedStatus;

use crate::app::Limits;
use crate::seats::Seats;

/// The media type of the page.
pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Counts since the process began.
#[derive(Debug, Default)]
pub struct Metrics {
    pub redirects: Count,
    pub heads: Count,
    pub withheld: Count,
    pub not_found: Count,
    pub gone: Count,
    pub blocked: Count,
    pub refused: Count,
    pub unavailable: Count,
    pub limited_redirects: Count,
    pub limited_missing: Count,
    pub limited_api: Count,
    pub limited_auth: Count,
    pub api_ok: Count,
    pub api_refused: Count,
    pub api_failed: Count,
    pub panics: Count,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// One more.
    pub fn up(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// The number so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Metrics {
    /// The page: these counts, what is under way, and what the domain says of itself at `now`.
    pub fn page(&self, status: &Status, limits: &Limits, now: Timestamp) -> String {
        let mut registry = Registry::with_prefix("terse");
        self.register_counts(&mut registry);
        register_status(&mut registry, status, now);
        register_places(&mut registry, limits);
        if let Some(shared) = &status.shared {
            register_redis(&mut registry, shared);
        }
        let mut page = String::with_capacity(8 * 1024);
        // Writing into a string does not fail.
        let _ = encode(&mut page, &registry);
        page
    }

    fn register_counts(&self, registry: &mut Registry) {
        let counts: [(&str, &str, &Count); 16] = [
            (
                "redirects",
                "Redirects answered, each a recorded click",
                &self.redirects,
            ),
            (
                "redirect_heads",
                "HEAD requests answered with a redirect, not counted as clicks",
                &self.heads,
            ),
            (
                "redirect_withheld",
                "Bots, previews and HEAD kept from the target of a limited link",
                &self.withheld,
            ),
            (
                "redirect_not_found",
                "Requests for unknown, disabled or not started links",
                &self.not_found,
            ),
            (
                "redirect_gone",
                "Requests for expired, used up or deleted links",
                &self.gone,
            ),
            (
                "redirect_blocked",
                "Requests for blocked links",
                &self.blocked,
            ),
            (
                "redirect_refused",
                "Requests for short URLs that were malformed",
                &self.refused,
            ),
            (
                "redirect_unavailable",
                "Requests for short URLs that could not be decided",
                &self.unavailable,
            ),
            (
                "limited_redirects",
                "Redirects refused by the limit per address",
                &self.limited_redirects,
            ),
            (
                "limited_missing",
                "Unknown slugs refused by the limit per address",
                &self.limited_missing,
            ),
            (
                "limited_api",
                "API requests refused by the limit per address",
                &self.limited_api,
            ),
            (
                "limited_auth",
                "Sign-ins refused by the limit per address",
                &self.limited_auth,
            ),
            (
                "api_requests_ok",
                "API requests that succeeded",
                &self.api_ok,
            ),
            (
                "api_requests_refused",
                "API requests answered with a 4xx",
                &self.api_refused,
            ),
            (
                "api_requests_failed",
                "API requests answered with a 5xx",
                &self.api_failed,
            ),
            ("panics", "Requests that ended in a panic", &self.panics),
        ];
        for (name, help, count) in counts {
            registry.register(name, help, ConstCounter::new(count.get()));
        }
    }
}

fn register_places(registry: &mut Registry, limits: &Limits) {
    let gauges: [(&str, &str, &Seats); 2] = [
        (
            "live_listeners",
            "Clients that are sent clicks as they happen",
            &limits.listeners,
        ),
        ("running_exports", "Exports under way", &limits.exports),
    ];
    for (name, help, places) in gauges {
        let taken = i64::try_from(places.taken()).unwrap_or(i64::MAX);
        registry.register(name, help, ConstGauge::new(taken));
    }
}

fn register_redis(registry: &mut Registry, shared: &SharedStatus) {
    let counters: [(&str, &str, u64); 3] = [
        (
            "redis_hits",
            "Links and unknown slugs that Redis knew",
            shared.hits,
        ),
        (
            "redis_misses",
            "Slugs that Redis did not know",
            shared.misses,
        ),
        (
            "redis_errors",
            "Commands that failed or were not answered in time",
            shared.errors,
        ),
    ];
    for (name, help, value) in counters {
        registry.register(name, help, ConstCounter::new(value));
    }
    let gauges: [(&str, &str, bool); 3] = [
        ("redis_up", "1 while Redis answers", shared.up),
        (
            "redis_breaker_open",
            "1 while nobody waits for Redis, because it did not answer",
            !shared.up,
        ),
        (
            "redis_listening",
            "1 while news of other nodes arrive",
            shared.listening,
        ),
    ];
    for (name, help, value) in gauges {
        registry.register(name, help, ConstGauge::new(i64::from(value)));
    }
}

fn register_status(registry: &mut Registry, status: &Status, now: Timestamp) {
    let spool = &status.spool;
    let oldest = spool
        .pending_since
        .map_or(0.0, |since| now.since(since).as_secs_f64());
    let counters: [(&str, &str, u64); 14] = [
        (
            "spool_appended",
            "Clicks appended to the spool",
            spool.appended,
        ),
        (
            "spool_sync_errors",
            "Syncs that failed, each the end of its file",
            spool.sync_errors,
        ),
        (
            "spool_write_errors",
            "Writes that failed, each the end of its file",
            spool.write_errors,
        ),
        (
            "spool_torn_tails",
            "Files whose unfinished last record was dropped",
            spool.torn_tails,
        ),
        (
            "spool_corrupt",
            "Files with damage before their end",
            spool.corrupt_files,
        ),
        (
            "clicks_unconfirmed",
            "Redirects answered at level node before the database had their click",
            status.unconfirmed,
        ),
        (
            "clicks_unrecorded",
            "Redirects answered although no store took the click",
            status.unrecorded,
        ),
        (
            "clicks_folded",
            "Clicks moved from the spool into the database",
            status.folded,
        ),
        (
            "fold_batches",
            "Transactions that moved clicks",
            status.fold_batches,
        ),
        (
            "fold_repeated",
            "Batches that the database had already",
            status.fold_repeated,
        ),
        (
            "fold_failures",
            "Batches that the database did not take",
            status.fold_failures,
        ),
        (
            "clicks_sealed",
            "Clicks moved from the tail into chunks",
            status.sealed,
        ),
        (
            "chunks_merged",
            "Chunks that became part of a larger one",
            status.merged_chunks,
        ),
        (
            "clicks_dead",
            "Records that no longer decode, kept aside",
            status.dead_records,
        ),
    ];
    for (name, help, value) in counters {
        registry.register(name, help, ConstCounter::new(value));
    }
    registry.register(
        "clock_skew",
        "Clicks from the future, taken as of now",
        ConstCounter::new(status.skewed_clicks),
    );
    register_gauges(registry, status, oldest, now);
}

fn register_gauges(registry: &mut Registry, status: &Status, oldest: f64, now: Timestamp) {
    let spool = &status.spool;
    let gauges: [(&str, &str, u64); 7] = [
        (
            "tail_clicks",
            "Clicks that wait to be sealed",
            status.tail_clicks,
        ),
        (
            "spool_pending",
            "Clicks that the database does not have yet",
            spool.pending,
        ),
        (
            "spool_unfolded_bytes",
            "Bytes of those clicks",
            spool.unfolded_bytes,
        ),
        (
            "spool_disk_bytes",
            "Bytes of all spool files",
            spool.disk_bytes,
        ),
        (
            "spool_writable",
            "1 while clicks can be recorded",
            u64::from(spool.writable),
        ),
        (
            "spool_stopped_streams",
            "Streams that wait for a gap to be accepted",
            status.stopped_streams,
        ),
        ("cached_links", "Links in memory", status.cached_links),
    ];
    for (name, help, value) in gauges {
        registry.register(
            name,
            help,
            ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)),
        );
    }
    if let Some(file) = &status.place_file {
        registry.register(
            "geoip_failing",
            "1 while the place file is missing or cannot be used",
            ConstGauge::new(i64::from(file.failing)),
        );
        if let Some(built_at) = file.built_at {
            registry.register(
                "geoip_age_seconds",
                "Age of the place file in use, by its own word",
                ConstGauge::new(now.since(built_at).as_secs_f64()),
            );
        }
    }
    registry.register(
        "spool_oldest_age_seconds",
        "Age of the oldest file with such clicks",
        ConstGauge::new(oldest),
    );
}
