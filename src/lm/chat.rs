//! `skinner chat`.
#[derive(clap::Args)]
pub(crate) struct ChatArgs {}
pub(crate) fn chat(_: &ChatArgs) -> anyhow::Result<()> {
    Ok(())
}
