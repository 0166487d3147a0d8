//! Figures per value of a dimension.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use crate::analytics::engine::{ScanError, Snapshot};
use crate::analytics::query::Question;
use crate::analytics::scan::{Counted, Figures, Grouping, Key, Part, Scan, Way, text_of};
use crate::analytics::{
    Analytics, AnalyticsError, AnalyticsQuery, Breakdown, BreakdownRow, attempt, signed, visitors,
};
use crate::columns::{Batch, KindCounts};
use crate::model::{Dimension, LinkId, WorkspaceId};
use crate::store::click_reports::LinkNames;

/// Most rows of one breakdown.
pub const MAX_ROWS: i64 = 1_000;
const DEFAULT_ROWS: i64 = 10;
/// Values that are counted at once. Strangers can fill a dimension with as many as they like: of more,
/// a part after the other is counted.
const VALUES_AT_ONCE: usize = if cfg!(debug_assertions) { 500 } else { 200_000 };
const MORE_PARTS: u64 = 8;
const MOST_PARTS: u64 = 4_096;
/// Of a dimension that has few values by nature.
const FEW_VALUES: usize = 100;
/// So many rows are foreseen at most: of more, the last ones have about as many clicks as the next, and a
/// sample does not tell which will be in front.
const MOST_FORESEEN: usize = 25;
/// A sample has one of so many chunks, and of many chunks no more than this.
const SAMPLED: usize = 4;
const MOST_SAMPLED: usize = 24;

/// What a breakdown counted.
#[derive(Debug)]
struct Values {
    /// Clicks of every kind that the filters select.
    kinds: KindCounts,
    /// Clicks of all values together.
    in_all: u64,
    /// The values that have most.
    top: Vec<(Key, u64)>,
    /// Their visitors.
    visitors: Counted,
}

impl Analytics {
    /// Counts per value of a dimension, the largest first: `limit` rows, 1 to [`MAX_ROWS`], 10 when
    /// nothing is asked for.
    pub async fn breakdown(
        &self,
        workspace: &WorkspaceId,
        query: AnalyticsQuery,
        dimension: &str,
        limit: Option<i64>,
    ) -> Result<Breakdown, AnalyticsError> {
        let as_of = self.clock.now();
        let question = self.question(*workspace, query, as_of).await?;
        let dimension: Dimension = dimension.parse().map_err(|_| {
            AnalyticsError::refused(
                "dimension",
                "dimension_unknown",
                "must be the name of a dimension, such as country or utm_source",
            )
        })?;
        let limit = limit.unwrap_or(DEFAULT_ROWS);
        if !(1..=MAX_ROWS).contains(&limit) {
            return Err(AnalyticsError::refused(
                "limit",
                "limit_out_of_range",
                "must be from 1 to 1,000",
            ));
        }
        let limit = usize::try_from(limit).unwrap_or(1);
        let sets = if question.visitors {
            limit.max(FEW_VALUES)
        } else {
            0
        };
        let turn = self.engine.turn(self.engine.sets(sets)).await?;
        let pending = self.pending();
        let grouping = self.grouping(&question, dimension).await?;
        let values = attempt!(self.break_down(&question, &grouping, limit));
        drop(turn);
        let total = values.kinds.of(question.kinds);
        let rows: Vec<_> = values
            .top
            .into_iter()
            .map(|(key, clicks)| BreakdownRow {
                visitors: visitors(&question, &values.visitors, &key),
                value: match key {
                    Key::Text(text) => text.into(),
                    Key::Number(link) => LinkId::from_number(link).to_string(),
                },
                clicks: signed(clicks),
                share: share(clicks, total),
            })
            .collect();
        let in_rows: i64 = rows.iter().map(|row| row.clicks).sum();
        Ok(Breakdown {
            dimension,
            total: signed(total),
            rows,
            other: signed(values.in_all) - in_rows,
            as_of,
            pending,
        })
    }

    /// Looks at rows once when there are few values, or when it can be told which ones have most clicks.
    async fn break_down(
        &self,
        question: &Question,
        grouping: &Grouping,
        limit: usize,
    ) -> Result<Values, ScanError> {
        let snapshot = self.snapshot(question, question.from).await?;
        let scan = question.scan(grouping.clone(), snapshot.links.clone());
        let mut parts = 1;
        if scan.visitors && grouping.has_few_values() {
            match self.few_values(&scan, &snapshot, limit).await {
                Err(ScanError::Full) => {}
                values => return values,
            }
        } else if scan.visitors && limit <= MOST_FORESEEN && looks_at_rows(&scan, &snapshot) {
            match self.likely_values(&scan, &snapshot, limit).await {
                Err(ScanError::Full) => parts = MORE_PARTS,
                values => return values,
            }
        }
        self.clicks_then_visitors(scan, &snapshot, limit, parts)
            .await
    }

    /// Counts visitors for the largest values alone, in a pass of its own after `parts` or more, so that
    /// many values take little memory.
    async fn clicks_then_visitors(
        &self,
        scan: Scan,
        snapshot: &Arc<Snapshot>,
        limit: usize,
        mut parts: u64,
    ) -> Result<Values, ScanError> {
        let clicks_only = Arc::new(scan.without_visitors());
        let mut values = loop {
            let most = self.most_clicked(&clicks_only, snapshot, limit, parts);
            match most.await {
                Err(ScanError::Full) if parts < MOST_PARTS => parts *= MORE_PARTS,
                values => break values?,
            }
        };
        let top = Figures::of(values.top.iter().map(|(key, _)| key.clone()));
        values.visitors = if scan.visitors {
            let scan = Arc::new(scan);
            let top = self.engine.figures(&scan, snapshot, top, Figures::count);
            top.await?
        } else {
            top.count()
        };
        Ok(values)
    }

    async fn few_values(
        &self,
        scan: &Scan,
        snapshot: &Arc<Snapshot>,
        limit: usize,
    ) -> Result<Values, ScanError> {
        let room = Figures::with_room(FEW_VALUES, Part::WHOLE);
        let count = move |figures: Figures| Values::of(figures, limit);
        let scan = Arc::new(scan.clone());
        self.engine.figures(&scan, snapshot, room, count).await
    }

    /// Counts the visitors of those values that have most clicks in a sample of the chunks: most often the
    /// ones asked for are among them.
    async fn likely_values(
        &self,
        scan: &Scan,
        snapshot: &Arc<Snapshot>,
        limit: usize,
    ) -> Result<Values, ScanError> {
        let clicks_only = Arc::new(scan.without_visitors());
        let sample = Arc::new(sample_of(snapshot));
        let in_sample = self.most_clicked(&clicks_only, &sample, 2 * limit, 1);
        let likely = in_sample.await?.top.into_iter().map(|(key, _)| key);
        let likely: HashSet<_> = likely.collect();
        let room = Figures::with_sets_of(likely.iter().cloned(), VALUES_AT_ONCE);
        let count = move |figures: Figures| Values::of(figures, limit);
        let scan = Arc::new(scan.clone());
        let mut values = self.engine.figures(&scan, snapshot, room, count).await?;
        let top = values.top.iter().map(|(key, _)| key);
        let unforeseen: Vec<_> = top.filter(|key| !likely.contains(key)).cloned().collect();
        // Past their retention visitors are not told.
        if !unforeseen.is_empty() && !values.visitors.visitors_lost {
            let room = Figures::of(unforeseen);
            let missing = self.engine.figures(&scan, snapshot, room, Figures::count);
            values.visitors.replace(missing.await?);
        }
        Ok(values)
    }

    /// Without visitors, in so many passes.
    async fn most_clicked(
        &self,
        scan: &Arc<Scan>,
        snapshot: &Arc<Snapshot>,
        limit: usize,
        parts: u64,
    ) -> Result<Values, ScanError> {
        let key = RandomState::new().hash_one(parts);
        let mut all: Option<Values> = None;
        for number in 0..parts {
            let part = Part {
                number,
                of: parts,
                key,
            };
            let room = Figures::with_room(VALUES_AT_ONCE, part);
            let count = move |figures: Figures| Values::of(figures, limit);
            let values = self.engine.figures(scan, snapshot, room, count).await?;
            match &mut all {
                None => all = Some(values),
                Some(all) => all.add(values, limit),
            }
        }
        all.ok_or(ScanError::Full)
    }

    async fn grouping(
        &self,
        question: &Question,
        dimension: Dimension,
    ) -> Result<Grouping, AnalyticsError> {
        let names = match dimension {
            Dimension::Tag => LinkNames::Tags,
            Dimension::Domain => LinkNames::Domains,
            _ => {
                let text = text_of(dimension);
                return Ok(text.map_or(Grouping::Links, |text| Grouping::Values(dimension, text)));
            }
        };
        let names = self.store.link_names(question.workspace, names).await?;
        Ok(Grouping::Names(Arc::new(names)))
    }
}

impl Values {
    fn of(figures: Figures, limit: usize) -> Self {
        let top = figures.top(limit);
        let counted = figures.count();
        Self {
            kinds: counted.kinds,
            in_all: counted.in_cells,
            top,
            visitors: counted,
        }
    }

    /// Adds another part of the values of the same clicks.
    fn add(&mut self, other: Self, limit: usize) {
        self.in_all += other.in_all;
        self.top.extend(other.top);
        self.top
            .sort_unstable_by(|(a, a_clicks), (b, b_clicks)| b_clicks.cmp(a_clicks).then(a.cmp(b)));
        self.top.truncate(limit);
    }
}

/// Some chunks of the whole period.
fn sample_of(snapshot: &Snapshot) -> Snapshot {
    let one_of = SAMPLED.max(snapshot.chunks.len().div_ceil(MOST_SAMPLED));
    Snapshot {
        chunks: snapshot.chunks.iter().copied().step_by(one_of).collect(),
        tail: Batch::default(),
        links: snapshot.links.clone(),
    }
}

/// Whether most of what is in the period cannot be told without rows.
fn looks_at_rows(scan: &Scan, snapshot: &Snapshot) -> bool {
    let (mut by_rows, mut in_all) = (0, 0);
    for chunk in &snapshot.chunks {
        in_all += chunk.rows();
        if matches!(scan.way(chunk, false), Way::Rows(_)) {
            by_rows += chunk.rows();
        }
    }
    by_rows * 2 > in_all
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a share has three digits that matter"
)]
fn share(clicks: u64, total: u64) -> f64 {
    if total == 0 {
        0.0
    } else {
        clicks as f64 / total as f64
    }
}
