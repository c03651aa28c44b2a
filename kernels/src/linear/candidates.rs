//! Which rows of a head can matter, told by coarse logits.
//!
//! With e a coarse logit's error and σ² its variance, P(e > t·σ) ≤ exp(−t²/2), if the nibbles that were left out are
//! independent and uniform: a uniform variable is strictly sub-Gaussian, and so are sums of such.

use crate::activations::exp;
use crate::fail;
use crate::layout::ROWS;
use crate::ort::Result;

/// How many σ of a difference of two coarse logits a row may lie below the border: that a row beyond is wrongly left out
/// has a probability of less than exp(−32), 1.3e-14; that any of 128,256 is, 1.7e-9.
pub const MARGIN: f32 = 8.0;

/// How much of the probability has exact logits where nothing is truncated.
const UNTRUNCATED: f32 = 0.99;

/// Bins for each unit of logit ÷ temperature, and their number: beyond them, probabilities are below e⁻³².
const FINENESS: f32 = 64.0;
const BINS: usize = 2048;

/// How a token will be chosen, as far as it decides whose logits must be exact.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    /// Logits are divided by it; at 0 the likeliest is taken.
    pub temperature: f32,
    /// So many of the likeliest; 0 for all.
    pub top_k: usize,
    /// The likeliest that have this part of the probability; 1 for all.
    pub top_p: f32,
    /// Those with this part of the likeliest one's probability; 0 for all.
    pub min_p: f32,
}

impl Choice {
    /// Read `[temperature, top_k, top_p, min_p]`; none, for all logits, if the temperature is negative.
    pub fn read(values: &[f32]) -> Result<Option<Self>> {
        let &[temperature, top_k, top_p, min_p] = values else { fail!("a choice has {} values", values.len()) };
        let parts = 0.0..=1.0;
        if temperature.is_nan() || !(0.0..).contains(&top_k) || !parts.contains(&top_p) || !parts.contains(&min_p) {
            fail!("a choice by temperature {temperature}, top_k {top_k}, top_p {top_p} and min_p {min_p}");
        }
        let choice = Self { temperature, top_k: top_k as usize, top_p, min_p };
        Ok((temperature >= 0.0).then_some(choice))
    }

    /// The least logit of those that may be chosen.
    fn border(&self, logits: &[f32], best: f32) -> f32 {
        if self.temperature == 0.0 || self.top_k == 1 {
            return best;
        }
        let width = self.temperature / FINENESS;
        let mut counts = [0_u32; BINS];
        for logit in logits {
            counts[(((best - logit) / width) as usize).min(BINS - 1)] += 1; // NaN counts as 0, and never gets here
        }
        let mut depth = BINS;
        if self.top_k > 0 {
            let mut left = self.top_k;
            depth = depth.min(bins(&counts, |count| {
                left = left.saturating_sub(count as usize);
                left == 0
            }));
        }
        if self.min_p > 0.0 {
            depth = depth.min((-self.min_p.ln() * FINENESS) as usize + 1);
        }
        if self.top_p < 1.0 || depth == BINS {
            let part = if self.top_p < 1.0 { self.top_p } else { UNTRUNCATED };
            let masses: Vec<f32> = counts.iter().enumerate().map(|(bin, &count)| mass(bin, count)).collect();
            let mut left = masses.iter().sum::<f32>() * part;
            depth = depth.min(bins(&masses, |mass| {
                left -= mass;
                left <= 0.0
            }));
        }
        best - depth as f32 * width
    }
}

/// The probability of a bin's tokens, but for a factor.
fn mass(bin: usize, count: u32) -> f32 {
    if count == 0 { 0.0 } else { count as f32 * exp(-(bin as f32 + 0.5) / FINENESS) }
}

/// How many bins, from the first on, it takes until `enough` says so.
fn bins<T: Copy>(values: &[T], mut enough: impl FnMut(T) -> bool) -> usize {
    values.iter().position(|&value| enough(value)).map_or(values.len(), |bin| bin + 1)
}

/// Groups of which a row can be one of those that a choice is made among.
///
/// `logits` are a row's coarse ones; `norm` is that of its activations as they were rounded; `spreads` are of each row
/// of the weights the standard deviation of what the high plane leaves out, `widest` the largest of them.
pub fn groups(choice: &Choice, logits: &[f32], norm: f32, spreads: &[f32], widest: f32) -> Vec<u32> {
    let (at, best) = largest(logits);
    if best == f32::NEG_INFINITY {
        return Vec::new(); // none is a number
    }
    let border = choice.border(logits, best);
    // Not hypot: it would need glibc 2.35, and Amazon Linux 2023 has 2.34.
    let least = |spread: f32| border - MARGIN * norm * (spread * spread + spreads[at] * spreads[at]).sqrt();
    let surely_below = least(widest);
    let mut found = Vec::new();
    for (group, (logits, spreads)) in logits.chunks(ROWS).zip(spreads.chunks(ROWS)).enumerate() {
        if logits.iter().any(|&logit| logit >= surely_below)
            && logits.iter().zip(spreads).any(|(&logit, &spread)| logit >= least(spread))
        {
            found.push(group as u32);
        }
    }
    found
}

/// The place of the largest number and its value; the first one's, if there are several.
fn largest(values: &[f32]) -> (usize, f32) {
    let mut lanes = [f32::NEG_INFINITY; ROWS];
    for chunk in values.chunks(ROWS) {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane = if value > *lane { value } else { *lane };
        }
    }
    let best = lanes.iter().fold(f32::NEG_INFINITY, |best, &lane| if lane > best { lane } else { best });
    (values.iter().position(|&value| value == best).unwrap_or(0), best)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    const ALL: Choice = Choice { temperature: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0 };

    fn logits() -> Vec<f32> {
        Random(7).floats(5000, 8.0)
    }

    fn sorted(mut values: Vec<f32>) -> Vec<f32> {
        values.sort_by(|a, b| b.total_cmp(a));
        values
    }

    #[test]
    fn the_likeliest_is_its_own_border() {
        let logits = logits();
        let best = largest(&logits).1;
        assert_eq!(Choice { temperature: 0.0, ..ALL }.border(&logits, best), best);
        assert_eq!(Choice { top_k: 1, ..ALL }.border(&logits, best), best);
    }

    #[test]
    fn borders_are_just_below_the_last_one_kept() {
        let logits = logits();
        let best = largest(&logits).1;
        let order = sorted(logits.clone());
        for temperature in [0.3, 1.0, 1.7] {
            let weights: Vec<f64> = order.iter().map(|l| f64::from((l - best) / temperature).exp()).collect();
            let total: f64 = weights.iter().sum();
            let choice = Choice { temperature, ..ALL };
            let nucleus = |part: f64| {
                let mut sum = 0.0;
                order[weights
                    .iter()
                    .position(|w| {
                        sum += w;
                        sum >= part * total
                    })
                    .unwrap()]
            };
            for (choice, last) in [
                (Choice { top_k: 40, ..choice }, order[39]),
                (Choice { top_p: 0.9, ..choice }, nucleus(0.9)),
                (choice, nucleus(0.99)),
                (Choice { min_p: 0.05, ..choice }, best + temperature * 0.05_f32.ln()),
            ] {
                let border = choice.border(&logits, best);
                let slack = 2.0 * temperature / FINENESS;
                assert!(border <= last + 0.1 * slack && border >= last - slack, "{choice:?}: {border} for {last}");
            }
        }
    }

    #[test]
    fn the_narrowest_of_several_truncations_decides() {
        let logits = logits();
        let best = largest(&logits).1;
        let narrow = Choice { top_k: 5, ..ALL }.border(&logits, best);
        assert_eq!(Choice { top_k: 5, top_p: 0.95, min_p: 0.001, ..ALL }.border(&logits, best), narrow);
    }

    #[test]
    fn rows_within_the_margin_are_candidates() {
        let mut logits = vec![0.0; 64];
        logits[20] = 10.0;
        logits[33] = 9.0;
        let greedy = Choice { temperature: 0.0, ..ALL };
        let spreads = |spread| vec![spread; 64];
        assert_eq!(groups(&greedy, &logits, 1.0, &spreads(0.08), 0.08), [1]);
        assert_eq!(groups(&greedy, &logits, 1.0, &spreads(0.09), 0.09), [1, 2]);
        let mut uneven = spreads(0.01);
        uneven[33] = 0.2;
        assert_eq!(groups(&greedy, &logits, 1.0, &uneven, 0.2), [1, 2]);
    }

    #[test]
    fn logits_that_are_no_numbers_have_no_candidates() {
        assert!(groups(&ALL, &[f32::NAN; 32], 1.0, &[0.1; 32], 0.1).is_empty());
    }

    #[test]
    fn an_impossible_choice_is_refused() {
        assert_eq!(Choice::read(&[1.0, 40.0, 0.9, 0.05]).unwrap().unwrap().top_k, 40);
        assert_eq!(Choice::read(&[-1.0, 0.0, 1.0, 0.0]).unwrap(), None);
        for bad in [[f32::NAN, 0.0, 1.0, 0.0], [1.0, -1.0, 1.0, 0.0], [1.0, 0.0, 1.1, 0.0], [1.0, 0.0, 1.0, -0.1]] {
            assert!(Choice::read(&bad).is_err(), "{bad:?}");
        }
        assert!(Choice::read(&[1.0]).is_err());
    }
}
