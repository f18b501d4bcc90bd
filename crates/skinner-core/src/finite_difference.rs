//! Checks of gradients by central differences, for tests.

/// Asserts that the gradient which `loss` adds agrees with central differences at `x`, to a relative
/// error of 1e-6.
///
/// # Panics
/// If a component disagrees.
pub fn check_gradient(x: &[f64], loss: impl Fn(&[f64], &mut [f64]) -> f64) {
    let step = 1e-5;
    let mut gradient = vec![0.0; x.len()];
    loss(x, &mut gradient);
    let mut moved = x.to_vec();
    let mut scratch = vec![0.0; x.len()];
    for i in 0..x.len() {
        moved[i] = x[i] + step;
        let above = loss(&moved, &mut scratch);
        moved[i] = x[i] - step;
        let below = loss(&moved, &mut scratch);
        moved[i] = x[i];
        let numeric = (above - below) / (2.0 * step);
        let error = (gradient[i] - numeric).abs();
        assert!(
            error <= 1e-6 * (1.0 + numeric.abs()),
            "component {i}: gradient {}, central difference {numeric}",
            gradient[i]
        );
    }
}
