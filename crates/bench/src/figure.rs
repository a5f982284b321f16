//! One measured figure: its values, their middle and their ends, and the target they are held against.

/// What of the values the target speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judged {
    Median,
    Maximum,
    /// All values together, for counts.
    Sum,
}

/// The most that is allowed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) at_most: f64,
    pub(crate) judged: Judged,
}

#[derive(Clone, Debug)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    pub(crate) values: Vec<f64>,
    pub(crate) target: Option<Target>,
}

impl Figure {
    pub(crate) fn new(name: impl Into<String>, unit: &'static str, values: Vec<f64>) -> Self {
        Self { name: name.into(), unit, values, target: None }
    }

    pub(crate) fn at_most(mut self, judged: Judged, at_most: f64) -> Self {
        self.target = Some(Target { at_most, judged });
        self
    }

    pub(crate) fn min(&self) -> f64 {
        self.values.iter().copied().fold(f64::INFINITY, f64::min)
    }

    pub(crate) fn max(&self) -> f64 {
        self.values.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }

    pub(crate) fn sum(&self) -> f64 {
        self.values.iter().sum()
    }

    /// The middle value; between the two middle ones of an even number.
    pub(crate) fn median(&self) -> f64 {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        match sorted.len() {
            0 => f64::NAN,
            length if length % 2 == 1 => sorted[middle],
            _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
        }
    }

    /// Whether the target is met; none where there is no target. Without values no target is met.
    pub(crate) fn is_met(&self) -> Option<bool> {
        let target = self.target?;
        let value = match target.judged {
            Judged::Median => self.median(),
            Judged::Maximum => self.max(),
            Judged::Sum => self.sum(),
        };
        Some(!self.values.is_empty() && value <= target.at_most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(values: &[f64]) -> Figure {
        Figure::new("gap", "ms", values.to_vec())
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        assert!((figure(&[40.0, 10.0, 30.0, 20.0]).median() - 25.0).abs() < 1e-9);
        assert!((figure(&[40.0, 10.0, 30.0]).median() - 30.0).abs() < 1e-9);
    }

    #[test]
    fn a_target_is_held_against_what_it_speaks_of() {
        let values = figure(&[1.0, 2.0, 90.0]);
        assert_eq!(values.is_met(), None);
        assert_eq!(values.clone().at_most(Judged::Median, 2.0).is_met(), Some(true));
        assert_eq!(values.clone().at_most(Judged::Maximum, 2.0).is_met(), Some(false));
        assert_eq!(values.at_most(Judged::Sum, 93.0).is_met(), Some(true));
    }

    #[test]
    fn a_target_is_not_met_by_having_measured_nothing() {
        assert_eq!(figure(&[]).at_most(Judged::Sum, 0.0).is_met(), Some(false));
    }
}
