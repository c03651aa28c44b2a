//! Grouped-query attention with the rotation inside, over a cache in f16 or int8.
//!
//! A step has three phases: new keys and values are normalized, rotated and written to the cache; then every block of
//! query rows attends to a range of the cache's keys ([`plan`]); then results of the ranges are combined, if there is
//! more than one. So it makes no difference to a token in which chunk it came, apart from rounding, and none at all on
//! how many threads. What is written is the same on every instruction set; sums of the attention itself are rounded in
//! another order on each.

mod cache;
mod few;
mod heads;
mod many;
mod operator;
mod plan;
mod problem;
mod rows;
mod scratch;
mod shape;
mod step;
mod tasks;
mod vector;

pub use operator::{AttentionF16, AttentionInt8};

#[cfg(test)]
mod tests;
