//! The number formats that tensors are stored in, and how each becomes `f32`.

/// How a tensor's numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TensorType {
    F32,
    F16,
    Bf16,
    /// 32 numbers: an `f16` scale and 4 bits each, from -8.
    Q4_0,
    /// 32 numbers: an `f16` scale, an `f16` minimum and 4 bits each.
    Q4_1,
    /// 32 numbers: an `f16` scale and 8 bits each.
    Q8_0,
}

/// Numbers of a quantised block.
const BLOCK: usize = 32;

/// Every type that `ggml` has or had, by number.
const GGML_TYPES: [(u32, &str); 38] = [
    (0, "F32"),
    (1, "F16"),
    (2, "Q4_0"),
    (3, "Q4_1"),
    (4, "Q4_2"),
    (5, "Q4_3"),
    (6, "Q5_0"),
    (7, "Q5_1"),
    (8, "Q8_0"),
    (9, "Q8_1"),
    (10, "Q2_K"),
    (11, "Q3_K"),
    (12, "Q4_K"),
    (13, "Q5_K"),
    (14, "Q6_K"),
    (15, "Q8_K"),
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (20, "IQ4_NL"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (23, "IQ4_XS"),
    (24, "I8"),
    (25, "I16"),
    (26, "I32"),
    (27, "I64"),
    (28, "F64"),
    (29, "IQ1_M"),
    (30, "BF16"),
    (31, "Q4_0_4_4"),
    (32, "Q4_0_4_8"),
    (33, "Q4_0_8_8"),
    (34, "TQ1_0"),
    (35, "TQ2_0"),
    (39, "MXFP4"),
    (40, "NVFP4"),
];

impl TensorType {
    const READABLE: [Self; 6] =
        [Self::F32, Self::F16, Self::Bf16, Self::Q4_0, Self::Q4_1, Self::Q8_0];

    /// The type of `ggml`'s number; a name for the message when it is not read here.
    pub fn from_ggml(number: u32) -> Result<Self, String> {
        let name = GGML_TYPES.iter().find(|(known, _)| *known == number).map(|(_, name)| *name);
        let Some(name) = name else { return Err(format!("{number} (unknown)")) };
        Self::READABLE.into_iter().find(|kind| kind.name() == name).ok_or_else(|| name.to_owned())
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::Q4_0 => "Q4_0",
            Self::Q4_1 => "Q4_1",
            Self::Q8_0 => "Q8_0",
        }
    }

    pub fn readable() -> String {
        Self::READABLE.map(Self::name).join(", ")
    }

    /// Numbers that are stored together.
    pub const fn block_len(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::Bf16 => 1,
            Self::Q4_0 | Self::Q4_1 | Self::Q8_0 => BLOCK,
        }
    }

    pub const fn block_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::Q4_0 => 2 + BLOCK / 2,
            Self::Q4_1 => 4 + BLOCK / 2,
            Self::Q8_0 => 2 + BLOCK,
        }
    }

    /// Bytes of a tensor; none when that overflows.
    pub fn bytes(self, shape: &[usize]) -> Option<u64> {
        let numbers = shape.iter().try_fold(1u64, |all, size| all.checked_mul(*size as u64))?;
        numbers.div_ceil(self.block_len() as u64).checked_mul(self.block_bytes() as u64)
    }
}

/// Decodes whole blocks.
///
/// # Panics
/// When `bytes` are not those of `out`'s numbers.
pub(crate) fn decode(kind: TensorType, bytes: &[u8], out: &mut [f32]) {
    assert_eq!(bytes.len() * kind.block_len(), out.len() * kind.block_bytes(), "bytes of a tensor");
    let blocks = bytes.chunks_exact(kind.block_bytes());
    match kind {
        TensorType::F32 => {
            for (out, b) in out.iter_mut().zip(blocks) {
                *out = f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
            }
        }
        TensorType::F16 => {
            out.iter_mut().zip(blocks).for_each(|(out, b)| *out = half(b).to_f32());
        }
        TensorType::Bf16 => {
            for (out, b) in out.iter_mut().zip(blocks) {
                *out = half::bf16::from_le_bytes([b[0], b[1]]).to_f32();
            }
        }
        TensorType::Q4_0 => {
            for (out, b) in out.chunks_exact_mut(BLOCK).zip(blocks) {
                let scale = half(b).to_f32();
                nibbles(&b[2..], out, |q| (f32::from(q) - 8.0) * scale);
            }
        }
        TensorType::Q4_1 => {
            for (out, b) in out.chunks_exact_mut(BLOCK).zip(blocks) {
                let (scale, min) = (half(b).to_f32(), half(&b[2..]).to_f32());
                nibbles(&b[4..], out, |q| f32::from(q) * scale + min);
            }
        }
        TensorType::Q8_0 => {
            for (out, b) in out.chunks_exact_mut(BLOCK).zip(blocks) {
                let scale = half(b).to_f32();
                for (out, q) in out.iter_mut().zip(&b[2..]) {
                    *out = f32::from(q.cast_signed()) * scale;
                }
            }
        }
    }
}

fn half(bytes: &[u8]) -> half::f16 {
    half::f16::from_le_bytes([bytes[0], bytes[1]])
}

/// The low halves of the bytes are the first sixteen numbers, the high halves the others.
fn nibbles(bytes: &[u8], out: &mut [f32], value: impl Fn(u8) -> f32) {
    let (low, high) = out.split_at_mut(BLOCK / 2);
    for ((low, high), byte) in low.iter_mut().zip(high).zip(bytes) {
        *low = value(byte & 15);
        *high = value(byte >> 4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn halves(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|value| half::f16::from_f32(*value).to_le_bytes()).collect()
    }

    fn decoded(kind: TensorType, bytes: &[u8]) -> Vec<f32> {
        let mut out = vec![f32::NAN; bytes.len() / kind.block_bytes() * kind.block_len()];
        decode(kind, bytes, &mut out);
        out
    }

    #[test]
    fn four_bits_with_a_scale() {
        let mut bytes = halves(&[0.5]);
        bytes.extend((0..16).map(|i| i | (15 - i) << 4));
        let out = decoded(TensorType::Q4_0, &bytes);
        let expected: Vec<f32> = (0..16)
            .map(|i| (i as f32 - 8.0) / 2.0)
            .chain((0..16).map(|i| (7 - i) as f32 / 2.0))
            .collect();
        assert_eq!(out, expected);
    }

    #[test]
    fn four_bits_with_a_scale_and_a_minimum() {
        let mut bytes = halves(&[0.25, -1.0]);
        bytes.extend((0..16).map(|i| i | i << 4));
        let out = decoded(TensorType::Q4_1, &bytes);
        assert_eq!(out[..3], [-1.0, -0.75, -0.5]);
        assert_eq!(out[16..], out[..16]);
        assert_eq!(out[31], 2.75);
    }

    #[test]
    fn eight_bits_with_a_scale() {
        let mut bytes = halves(&[2.0]);
        bytes.extend((0..32).map(|i| (i - 16i8).to_le_bytes()[0]));
        let out = decoded(TensorType::Q8_0, &bytes);
        assert_eq!(out, (-16..16).map(|i| i as f32 * 2.0).collect::<Vec<_>>());
    }

    #[test]
    fn plain_floats() {
        assert_eq!(decoded(TensorType::F16, &halves(&[1.5, -0.25])), [1.5, -0.25]);
        assert_eq!(decoded(TensorType::F32, &1.1f32.to_le_bytes()), [1.1]);
        assert_eq!(decoded(TensorType::Bf16, &[0x80, 0x3f]), [1.0]);
    }

    #[test]
    fn other_types_are_named() {
        assert_eq!(TensorType::from_ggml(12), Err("Q4_K".to_owned()));
        assert_eq!(TensorType::from_ggml(4_000_000), Err("4000000 (unknown)".to_owned()));
        assert_eq!(TensorType::from_ggml(30), Ok(TensorType::Bf16));
    }
}
