//! IEEE half precision in plain integer arithmetic, for places where no instruction converts.

use crate::ort::F16;

impl F16 {
    /// The same value in single precision.
    pub fn to_f32(self) -> f32 {
        let sign = u32::from(self.0 & 0x8000) << 16;
        let exponent = u32::from(self.0 >> 10) & 31;
        let mantissa = u32::from(self.0) & 0x3FF;
        match exponent {
            0 => {
                let magnitude = mantissa as f32 * f32::from_bits(0x3380_0000); // 2^-24: subnormal halves
                f32::from_bits(magnitude.to_bits() | sign)
            }
            31 => f32::from_bits(sign | 0x7F80_0000 | (mantissa << 13) | u32::from(mantissa != 0) << 22),
            _ => f32::from_bits(sign | ((exponent + 112) << 23) | (mantissa << 13)),
        }
    }

    /// The nearest half, ties to even; too large becomes infinite.
    pub fn from_f32(value: f32) -> Self {
        let bits = value.to_bits();
        let sign = ((bits >> 16) & 0x8000) as u16;
        let magnitude = bits & 0x7FFF_FFFF;
        let half = if magnitude > 0x7F80_0000 {
            0x7E00 | ((magnitude >> 13) & 0x3FF) as u16 // a quiet NaN keeps its upper payload
        } else if magnitude >= 0x4780_0000 {
            0x7C00
        } else if magnitude >= 0x3880_0000 {
            let rounded = magnitude + 0xFFF + ((magnitude >> 13) & 1); // may carry into the exponent, up to infinity
            ((rounded - 0x3800_0000) >> 13) as u16
        } else {
            // Adding 0.5 leaves a subnormal half's bits at the bottom of the sum's, rounded by the addition.
            ((f32::from_bits(magnitude) + 0.5).to_bits() - 0x3F00_0000) as u16
        };
        Self(sign | half)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_survives_the_round_trip() {
        for bits in 0..=u16::MAX {
            let half = F16(bits);
            let back = F16::from_f32(half.to_f32());
            if half.to_f32().is_nan() {
                assert!(back.to_f32().is_nan());
            } else {
                assert_eq!(back, half);
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn conversion_agrees_with_the_processor() {
        use std::arch::x86_64::{
            _mm_cvtph_ps, _mm_cvtps_ph, _mm_cvtsi32_si128, _mm_cvtsi128_si32, _mm_cvtss_f32, _mm_set_ss,
        };

        #[target_feature(enable = "f16c")]
        fn convert(value: f32) -> (u16, f32) {
            let half = _mm_cvtsi128_si32(_mm_cvtps_ph::<0>(_mm_set_ss(value))) as u16;
            (half, _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(half.into()))))
        }
        if !is_x86_feature_detected!("f16c") {
            return;
        }
        for step in 0..1_000_000_u32 {
            let value = f32::from_bits(step.wrapping_mul(4_294_967));
            // SAFETY: the processor has F16C.
            let (half, wide) = unsafe { convert(value) };
            assert_eq!(F16::from_f32(value).0, half, "{value:e}");
            assert_eq!(F16(half).to_f32().to_bits(), wide.to_bits(), "{half:#x}");
        }
    }
}
