//! The values of a dictionary.

/// Texts, one after the other in one piece of memory: a chunk's dictionary may have tens of thousands, and
/// most questions look at each of them once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Values {
    text: String,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Values {
    pub(crate) fn push(&mut self, value: &str) {
        self.text.push_str(value);
        self.ends.push(self.text.len());
    }

    pub(crate) const fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub(crate) fn get(&self, index: usize) -> Option<&str> {
        let end = *self.ends.get(index)?;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        self.text.get(start..end)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let value = &self.text[start..*end];
            start = *end;
            value
        })
    }
}

impl<'a> FromIterator<&'a str> for Values {
    fn from_iter<T: IntoIterator<Item = &'a str>>(texts: T) -> Self {
        let mut values = Self::default();
        texts.into_iter().for_each(|text| values.push(text));
        values
    }
}
