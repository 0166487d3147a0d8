//! Short links with exact click analytics.
pub mod model;
