//! What an algorithm needs of a network, and nothing more.

/// Outputs from inputs, and gradients carried back from outputs to parameters and inputs.
///
/// Parameters and gradients are flat arrays owned by the caller: a global gradient norm, a target network,
/// an average over machines or a checkpoint is then one line. A network may have several outputs
/// (a policy's head, a value), each `[batch, width]`.
pub trait Network {
    /// What `forward` remembers for `backward`; reused from call to call.
    type Tape: Default;

    /// Length of the flat parameters.
    fn num_params(&self) -> usize;

    /// Computes all outputs for `input` `[batch, inputs]`.
    fn forward(&self, params: &[f32], input: &[f32], tape: &mut Self::Tape);

    /// An output of the last `forward`: `[batch, width of that output]`.
    fn output<'t>(&self, tape: &'t Self::Tape, index: usize) -> &'t [f32];

    /// **Adds** to `d_params` the gradient of a loss whose gradients in the outputs are `d_outputs` (an
    /// empty slice for an output that the loss does not read), and writes the gradient in the input
    /// where `d_input` asks for it. `params`, `input` and `tape` are those of the last `forward`.
    fn backward(
        &self,
        params: &[f32],
        input: &[f32],
        tape: &mut Self::Tape,
        d_outputs: &[&[f32]],
        d_params: &mut [f32],
        d_input: Option<&mut [f32]>,
    );
}
