//! How the work is cut into tasks. It depends on lengths only, never on threads, and so do the results.

use std::ops::Range;

/// Query rows (tokens × heads of a group) that are worth a block: converted keys and values serve all of them.
pub const BLOCK_ROWS: usize = 96;

/// Keys of a split that few rows attend to; with more rows it grows, as the work of a key does.
const SPLIT_KEYS: usize = 384;
const SPLIT_ROWS: usize = 4;

/// Attention of a block of query rows to a range of keys, in one head of keys and values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// In the batch.
    pub sequence: usize,
    /// Of keys and values.
    pub head: usize,
    /// Which of the new tokens.
    pub tokens: Range<usize>,
    /// Positions; the tokens see no later ones.
    pub keys: Range<usize>,
    /// Which of the parts it gives; none where nothing remains to be combined.
    pub part: Option<usize>,
}

/// Tasks, and where results are to be combined from parts.
#[derive(Debug, Default)]
pub struct Plan {
    /// The longest first.
    pub tasks: Vec<Task>,
    /// Consecutive parts, one range for each sequence and head; empty where nothing is split.
    pub combined: Vec<Range<usize>>,
}

impl Plan {
    /// Plan a step.
    ///
    /// Args:
    ///     tokens: new ones of each sequence.
    ///     group: query heads for each head of keys and values.
    ///     heads: of keys and values.
    ///     lengths: of each sequence, the new tokens included.
    ///     window: positions that a token sees, its own included; all up to its own if there is none.
    pub fn new(tokens: usize, group: usize, heads: usize, lengths: &[usize], window: Option<usize>) -> Self {
        if tokens == 0 {
            return Self::default();
        }
        let block = (BLOCK_ROWS / group).max(1);
        if tokens <= block {
            Self::split(tokens, group, heads, lengths, window)
        } else {
            Self::blocks(tokens, block, heads, lengths, window)
        }
    }

    /// A block of few tokens: cut the keys.
    fn split(tokens: usize, group: usize, heads: usize, lengths: &[usize], window: Option<usize>) -> Self {
        let split = SPLIT_KEYS * (tokens * group).div_ceil(SPLIT_ROWS);
        let mut plan = Self::default();
        let mut parts = 0;
        for (sequence, &length) in lengths.iter().enumerate() {
            let start = first_seen(length - tokens, window);
            let count = (length - start).div_ceil(split);
            for head in 0..heads {
                for index in 0..count {
                    let keys = start + index * split..length.min(start + (index + 1) * split);
                    let part = (count > 1).then_some(parts + index);
                    plan.tasks.push(Task { sequence, head, tokens: 0..tokens, keys, part });
                }
                let used = if count > 1 { count } else { 0 };
                plan.combined.push(parts..parts + used);
                parts += used;
            }
        }
        if parts == 0 {
            plan.combined.clear();
        }
        plan
    }

    /// Many tokens: blocks of them, the last ones first, because they see the most.
    fn blocks(tokens: usize, block: usize, heads: usize, lengths: &[usize], window: Option<usize>) -> Self {
        let mut plan = Self::default();
        for first in (0..tokens).step_by(block).rev() {
            let tokens_here = first..tokens.min(first + block);
            for (sequence, length) in lengths.iter().enumerate() {
                let before = length - tokens;
                let keys = first_seen(before + first, window)..before + tokens_here.end;
                for head in 0..heads {
                    let (tokens, keys) = (tokens_here.clone(), keys.clone());
                    plan.tasks.push(Task { sequence, head, tokens, keys, part: None });
                }
            }
        }
        plan
    }

    /// Parts in all.
    pub fn parts(&self) -> usize {
        self.combined.last().map_or(0, |range| range.end)
    }
}

/// The first position that a token at a position sees.
fn first_seen(position: usize, window: Option<usize>) -> usize {
    window.map_or(0, |window| (position + 1).saturating_sub(window))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_context_is_one_task_a_head() {
        let plan = Plan::new(1, 3, 8, &[100], None);
        assert_eq!(plan.tasks.len(), 8);
        assert!(plan.combined.is_empty());
    }

    #[test]
    fn no_tokens_are_no_tasks() {
        assert!(Plan::new(0, 3, 8, &[100], None).tasks.is_empty());
    }

    #[test]
    fn splits_cover_the_keys_in_order() {
        let plan = Plan::new(1, 3, 2, &[1000, 10], None);
        let keys: Vec<_> = plan.tasks.iter().map(|task| task.keys.clone()).collect();
        assert_eq!(keys[..4], [0..384, 384..768, 768..1000, 0..384]);
        assert_eq!(keys[6..], [0..10, 0..10]);
        assert_eq!(plan.combined, [0..3, 3..6, 6..6, 6..6]);
        assert_eq!(plan.parts(), 6);
    }

    #[test]
    fn blocks_see_the_keys_up_to_their_last_token() {
        let plan = Plan::new(70, 3, 1, &[100], None);
        let seen: Vec<_> = plan.tasks.iter().map(|task| (task.tokens.clone(), task.keys.clone())).collect();
        assert_eq!(seen, [(64..70, 0..100), (32..64, 0..94), (0..32, 0..62)]);
        assert_eq!(plan.parts(), 0);
    }

    #[test]
    fn keys_before_the_window_are_left_out() {
        let keys = |plan: Plan| plan.tasks.iter().map(|task| task.keys.clone()).collect::<Vec<_>>();
        assert_eq!(keys(Plan::new(2, 1, 1, &[1000], Some(100)))[0], 899..1000);
        assert_eq!(keys(Plan::new(1, 1, 1, &[1000, 10], Some(500))), [500..884, 884..1000, 0..10]);
        assert_eq!(keys(Plan::new(70, 3, 1, &[100], Some(20))), [75..100, 43..94, 11..62]);
    }
}
