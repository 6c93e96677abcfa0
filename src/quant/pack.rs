//! Four codes to a byte, as the file stores them.

use super::Error;

/// Packs weights `t [n, k]` of -1, 0 and 1 to `[n, ceil(k / 4)]`: code `t + 1`, `k = 4j` in the low bits,
/// padding zero weights.
///
/// # Panics
/// Where `t` has not `n·k` elements, or holds another number.
pub fn pack(t: &[i8], n: usize, k: usize) -> Vec<u8> {
    assert_eq!(Some(t.len()), n.checked_mul(k), "weights of {n} rows and {k} columns");
    let code = |t: &i8| {
        assert!((-1..=1).contains(t), "{t} is no ternary weight");
        (t + 1) as u8
    };
    let four = |t: &[i8]| (0..4).map(|i| t.get(i).map_or(1, code) << (2 * i)).sum::<u8>();
    t.chunks(k.max(1)).flat_map(|row| row.chunks(4).map(four)).collect()
}

/// The weights `[n, k]`, -1, 0 or 1, of packed codes.
///
/// Refuses another length than `n·ceil(k / 4)`, and the code 3, padding included.
pub fn unpack(codes: &[u8], n: usize, k: usize) -> Result<Vec<i8>, Error> {
    let row_bytes = k.div_ceil(4);
    let expected = n.saturating_mul(row_bytes);
    if codes.len() != expected {
        return Err(Error::Length { expected, found: codes.len() });
    }
    let mut t = Vec::with_capacity(n.min(codes.len()) * k);
    for (row, bytes) in codes.chunks_exact(row_bytes.max(1)).enumerate() {
        let code = |column: usize| bytes[column / 4] >> (2 * (column % 4)) & 3;
        if let Some(column) = (0..4 * row_bytes).find(|column| code(*column) == 3) {
            return Err(Error::Code { row, column });
        }
        t.extend((0..k).map(|column| code(column) as i8 - 1));
    }
    Ok(t)
}
