//! `skinner serve`.
#[derive(clap::Args)]
pub(crate) struct ServeArgs {}
pub(crate) fn serve(_: &ServeArgs) -> anyhow::Result<()> {
    Ok(())
}
