//! What weights are multiplied by.

/// The scales of a weight's `n` outputs: one for each, or one for all of them where they are equal.
#[derive(Debug, Clone, PartialEq)]
pub struct Scales(Vec<f32>);

impl Scales {
    /// The scales of these rows.
    pub fn of_rows(rows: Vec<f32>) -> Self {
        match rows.first() {
            Some(first) if rows.iter().all(|scale| scale == first) => Scales(vec![*first]),
            _ => Scales(rows),
        }
    }

    /// The scale of a row.
    pub fn row(&self, row: usize) -> f32 {
        self.0[if self.0.len() == 1 { 0 } else { row }]
    }

    /// What the file holds: `[1]` or `[n]`.
    pub fn values(&self) -> &[f32] {
        &self.0
    }

    /// Their mean.
    pub fn mean(&self) -> f32 {
        self.0.iter().sum::<f32>() / self.0.len() as f32
    }

    /// All of them multiplied by a number.
    pub fn times(mut self, factor: f32) -> Self {
        self.0.iter_mut().for_each(|scale| *scale *= factor);
        self
    }
}
