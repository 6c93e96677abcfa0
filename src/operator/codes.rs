//! Weights of two bits, four a byte.

/// Codes `[n, k]` as the file stores them: `[n, ceil(k / 4)]`, that of `k = 4j` in the low bits of byte `j`.
///
/// In a BitLinear a code is a weight of -1, 0 or 1, plus one; 3 is none. Padding is a weight of zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Codes {
    n: usize,
    k: usize,
    bytes: Vec<u8>,
}

/// How many codes a byte holds.
const PER_BYTE: usize = 4;

/// The code of a weight of zero.
const ZERO: u8 = 1;

impl Codes {
    /// Weights of zero.
    pub fn zeros(n: usize, k: usize) -> Self {
        let byte = ZERO * 0b01_01_01_01;
        Codes { n, k, bytes: vec![byte; n * Self::row_bytes(k)] }
    }

    /// Codes that are packed already. An error where there are not `n · row_bytes(k)` bytes.
    pub fn new(bytes: Vec<u8>, n: usize, k: usize) -> Result<Self, String> {
        let (found, asked) = (bytes.len(), n.checked_mul(Self::row_bytes(k)));
        match asked == Some(found) {
            true => Ok(Codes { n, k, bytes }),
            false => {
                Err(format!("there are {found} bytes of codes for {n} outputs and {k} inputs"))
            }
        }
    }

    /// The bytes of a row of `k` codes.
    pub const fn row_bytes(k: usize) -> usize {
        k.div_ceil(PER_BYTE)
    }

    /// Packs codes to the front of `bytes`, and pads the last byte.
    pub fn pack(codes: &[u8], bytes: &mut [u8]) {
        // A byte is four codes, moved together from the bytes of a word.
        let together = |codes: [u8; PER_BYTE]| {
            let word = u32::from_le_bytes(codes);
            (word | word >> 6 | word >> 12 | word >> 18) as u8
        };
        let (whole, rest) = codes.as_chunks::<PER_BYTE>();
        bytes.iter_mut().zip(whole).for_each(|(byte, codes)| *byte = together(*codes));
        if !rest.is_empty() {
            let mut padded = [ZERO; PER_BYTE];
            padded[..rest.len()].copy_from_slice(rest);
            bytes[whole.len()] = together(padded);
        }
    }

    /// Output features.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Input features.
    pub fn k(&self) -> usize {
        self.k
    }

    /// What the file holds, row by row.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The same, to be filled.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Their dimensions in the file.
    pub fn dims(&self) -> [usize; 2] {
        [self.n, Self::row_bytes(self.k)]
    }

    /// The codes of one row, padding included.
    pub fn row(&self, row: usize) -> impl Iterator<Item = u8> {
        let length = Self::row_bytes(self.k);
        let bytes = &self.bytes[row * length..][..length];
        bytes.iter().flat_map(|byte| [0, 2, 4, 6].map(|bits| byte >> bits & 3))
    }

    /// The weights `[n, k]`, -1, 0 or 1. An error where a code is 3, be it in the padding.
    pub fn ternary(&self) -> Result<Vec<i8>, String> {
        let mut weights = Vec::with_capacity(self.n * self.k);
        for row in 0..self.n {
            if let Some(column) = self.row(row).position(|code| code == 3) {
                return Err(format!(
                    "the code at row {row}, column {column} is 3; only 0, 1 and 2 are weights"
                ));
            }
            weights.extend(self.row(row).take(self.k).map(|code| code as i8 - 1));
        }
        Ok(weights)
    }
}
