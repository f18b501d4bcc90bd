//! Blocks of a matrix transposed in registers.

#[allow(clippy::wildcard_imports, reason = "intrinsics carry their own prefix")]
use std::arch::x86_64::*;

/// Eight rows of eight numbers, `row` apart, become columns, whose rows are `width` apart; rounded to bf16
/// with `ROUND`.
#[inline(always)]
pub(crate) unsafe fn transpose8<const ROUND: bool>(
    from: *const f32,
    row: usize,
    to: *mut f32,
    width: usize,
) {
    unsafe {
        let mut a = [_mm256_setzero_ps(); 8];
        for i in 0..8 {
            a[i] = _mm256_loadu_ps(from.add(i * row));
        }
        if ROUND {
            for x in &mut a {
                let bits = _mm256_castps_si256(*x);
                let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
                let up = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
                let rounded = _mm256_and_si256(up, _mm256_set1_epi32(0xffff_0000_u32 as i32));
                let is_nan = _mm256_cmp_ps::<_CMP_UNORD_Q>(*x, *x);
                *x = _mm256_blendv_ps(_mm256_castsi256_ps(rounded), *x, is_nan);
            }
        }
        let mut b = a;
        for i in 0..4 {
            b[2 * i] = _mm256_unpacklo_ps(a[2 * i], a[2 * i + 1]);
            b[2 * i + 1] = _mm256_unpackhi_ps(a[2 * i], a[2 * i + 1]);
        }
        for i in [0, 4] {
            a[i] = _mm256_shuffle_ps::<0x44>(b[i], b[i + 2]);
            a[i + 1] = _mm256_shuffle_ps::<0xee>(b[i], b[i + 2]);
            a[i + 2] = _mm256_shuffle_ps::<0x44>(b[i + 1], b[i + 3]);
            a[i + 3] = _mm256_shuffle_ps::<0xee>(b[i + 1], b[i + 3]);
        }
        for i in 0..4 {
            let low = _mm256_permute2f128_ps::<0x20>(a[i], a[i + 4]);
            let high = _mm256_permute2f128_ps::<0x31>(a[i], a[i + 4]);
            _mm256_storeu_ps(to.add(i * width), low);
            _mm256_storeu_ps(to.add((i + 4) * width), high);
        }
    }
}

/// As [`transpose8`], of sixteen. Each vector is put together from four rows, so that all shuffles stay within
/// quarters of it.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) unsafe fn transpose16<const ROUND: bool>(
    from: *const f32,
    row: usize,
    to: *mut f32,
    width: usize,
) {
    unsafe {
        for k in (0..16).step_by(4) {
            let mut a = [_mm512_setzero_ps(); 4];
            for i in 0..4 {
                let quarter = |q: usize| _mm_loadu_ps(from.add((4 * q + i) * row + k));
                let x = _mm512_castps128_ps512(quarter(0));
                let x = _mm512_insertf32x4::<1>(x, quarter(1));
                let x = _mm512_insertf32x4::<2>(x, quarter(2));
                a[i] = _mm512_insertf32x4::<3>(x, quarter(3));
            }
            if ROUND {
                for x in &mut a {
                    let bits = _mm512_castps_si512(*x);
                    let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
                    let up = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff));
                    let rounded = _mm512_add_epi32(bits, up);
                    let upper = _mm512_set1_epi32(0xffff_0000_u32 as i32);
                    let rounded = _mm512_castsi512_ps(_mm512_and_si512(rounded, upper));
                    let is_number = _mm512_cmp_ps_mask::<_CMP_ORD_Q>(*x, *x);
                    *x = _mm512_mask_mov_ps(*x, is_number, rounded);
                }
            }
            let low = [_mm512_unpacklo_ps(a[0], a[1]), _mm512_unpacklo_ps(a[2], a[3])];
            let high = [_mm512_unpackhi_ps(a[0], a[1]), _mm512_unpackhi_ps(a[2], a[3])];
            let steps = [
                _mm512_shuffle_ps::<0x44>(low[0], low[1]),
                _mm512_shuffle_ps::<0xee>(low[0], low[1]),
                _mm512_shuffle_ps::<0x44>(high[0], high[1]),
                _mm512_shuffle_ps::<0xee>(high[0], high[1]),
            ];
            for (i, step) in steps.into_iter().enumerate() {
                _mm512_storeu_ps(to.add((k + i) * width), step);
            }
        }
    }
}
