//! Clicks of one fold, prepared once for all who listen.

use std::sync::Arc;

use crate::analytics::RecordedClick;
use crate::live::Heard;
use crate::model::Timestamp;

/// Clicks of one workspace and one fold, in the order of their streams.
#[derive(Debug)]
pub(crate) struct FoldedClicks {
    clicks: Vec<Arc<RecordedClick>>,
    /// Links, each with the places of its clicks; sorted.
    by_link: Vec<(i64, usize)>,
    ends: Vec<StreamEnd>,
}

/// How far a fold went in one stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct StreamEnd {
    pub(super) stream: i64,
    /// The number of the last click.
    pub(super) seq: i64,
    /// The time of the latest.
    pub(super) latest: Timestamp,
}

impl FoldedClicks {
    /// Of clicks that are in the order of their streams.
    pub(crate) fn new(clicks: Vec<Arc<RecordedClick>>) -> Self {
        let links = clicks.iter().map(|click| click.link.number());
        let mut by_link: Vec<_> = links.zip(0..).collect();
        by_link.sort_unstable();
        let mut ends: Vec<StreamEnd> = Vec::new();
        for position in clicks.iter().map(|click| click.position) {
            match ends.last_mut() {
                Some(end) if end.stream == position.stream => {
                    end.seq = position.seq;
                    end.latest = end.latest.max(position.at);
                }
                _ => ends.push(StreamEnd {
                    stream: position.stream,
                    seq: position.seq,
                    latest: position.at,
                }),
            }
        }
        Self {
            clicks,
            by_link,
            ends,
        }
    }

    /// Hands over the clicks that are news to a listener and that `takes` takes, each with what the
    /// listener has heard then. `links` (sorted) are all that may be taken, if only some are.
    pub(crate) fn tell(
        &self,
        heard: &mut Heard,
        links: Option<&[i64]>,
        takes: impl Fn(&RecordedClick) -> bool,
        mut tell: impl FnMut(&Arc<RecordedClick>, &Heard),
    ) {
        // Of a stream that is new to the listener, any click may be the first that is news.
        let all_known = self.ends.iter().all(|end| heard.knows(end.stream));
        let links = links.filter(|_| all_known);
        for click in self.of_links(links) {
            let position = click.position;
            let place = (position.at, position.stream, position.seq);
            let taken = takes(click);
            let is_news = (taken || !all_known) && heard.hear(place);
            if is_news && taken {
                tell(click, heard);
            }
        }
        for end in &self.ends {
            heard.pass(*end);
        }
    }

    /// The clicks of these links (sorted; every link for `None`), in their order. Costs what is found,
    /// and a search for each link.
    fn of_links<'a>(
        &'a self,
        links: Option<&'a [i64]>,
    ) -> Box<dyn Iterator<Item = &'a Arc<RecordedClick>> + Send + 'a> {
        let Some(links) = links else {
            return Box::new(self.clicks.iter());
        };
        if links.len() > self.clicks.len() {
            let is_one = |click: &&Arc<_>| is_one_of(links, click);
            return Box::new(self.clicks.iter().filter(is_one));
        }
        let mut places: Vec<usize> = links
            .iter()
            .flat_map(|link| self.places_of(*link))
            .collect();
        places.sort_unstable();
        Box::new(places.into_iter().map(|place| &self.clicks[place]))
    }

    fn places_of(&self, link: i64) -> impl Iterator<Item = usize> + '_ {
        let begin = self.by_link.partition_point(|(other, _)| *other < link);
        let of_link = self.by_link[begin..].iter();
        of_link
            .take_while(move |(other, _)| *other == link)
            .map(|(_, place)| *place)
    }
}

fn is_one_of(links: &[i64], click: &RecordedClick) -> bool {
    links.binary_search(&click.link.number()).is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::classify::{Kind, Reason};
    use crate::model::LinkId;

    fn click(link: i64, at: i64, stream: i64, seq: i64) -> Arc<RecordedClick> {
        let place = (Timestamp::from_millis(at), stream, seq);
        let (kind, reason) = (Kind::Human, Reason::Browser);
        let link = LinkId::from_number(link);
        Arc::new(RecordedClick::new(link, place, kind, reason, |_| ""))
    }

    fn place(click: &RecordedClick) -> (Timestamp, i64, i64) {
        let position = click.position;
        (position.at, position.stream, position.seq)
    }

    proptest! {
        #[test]
        fn whoever_asks_for_some_links_hears_what_they_would_find_by_looking_at_every_click(
            clicks in prop::collection::vec((0..3_i64, 0..6_i64, 0..50_i64), 1..60),
            links in prop::option::of(prop::collection::btree_set(0..8_i64, 0..8)),
            cut in any::<prop::sample::Index>(),
            since in 0..50_i64,
        ) {
            let links: Option<Vec<i64>> = links.map(|links| links.into_iter().collect());
            let mut seqs = std::collections::BTreeMap::new();
            let mut clicks: Vec<_> = clicks.into_iter().map(|(stream, link, at)| {
                let seq = seqs.entry(stream).or_insert(0);
                *seq += 1;
                click(link, at, stream, *seq)
            }).collect();
            // A fold takes one stream after the other.
            clicks.sort_by_key(|click| click.position.stream);
            let folds = [clicks.split_off(cut.index(clicks.len())), clicks];
            let since = Timestamp::from_millis(since);
            let (mut each, mut some) = (Heard::since(since), Heard::since(since));
            for fold in folds.into_iter().rev() {
                let wanted = |click: &RecordedClick| {
                    links.as_ref().is_none_or(|links| links.contains(&click.link.number()))
                };
                let looked: Vec<_> = fold.iter().filter(|click| each.hear(place(click)))
                    .filter(|click| wanted(click)).map(|click| place(click)).collect();
                let mut told = Vec::new();
                let folded = FoldedClicks::new(fold);
                folded.tell(&mut some, links.as_deref(), wanted, |click, _| told.push(place(click)));
                prop_assert_eq!(told, looked);
                prop_assert_eq!(&some, &each);
            }
        }
    }
}
