//! Pictures that a run drew: SVG files below `pictures/` in its directory.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use super::RunReport;
use crate::error::RunError;
use crate::files;
use crate::plot::escape;

/// One picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// The file's name without its ending, with spaces.
    pub title: String,
    /// What the file holds.
    pub svg: String,
}

/// Reads all pictures of a run, in order of name; one that cannot be read becomes a note.
pub(super) fn read(run_dir: &Path, notes: &mut Vec<String>) -> Vec<Picture> {
    let dir = run_dir.join("pictures");
    let mut names = if dir.is_dir() { files::names(&dir).unwrap_or_default() } else { Vec::new() };
    names.sort();
    let mut pictures = Vec::new();
    for name in &names {
        let Some(stem) = name.strip_suffix(".svg") else { continue };
        let path = dir.join(name);
        match fs::read_to_string(&path) {
            Ok(svg) => pictures.push(Picture { title: stem.replace('-', " "), svg }),
            Err(error) => notes.push(RunError::io("read", &path)(error).to_string()),
        }
    }
    pictures
}

/// A picture as an image of its own: nothing in it can reach the page around it.
pub(super) fn image(page: &mut String, run: &RunReport, picture: &Picture) {
    let title = escape(&picture.title);
    let _ = write!(
        page,
        "<figure class=\"picture\"><img alt=\"{title} of {}\" src=\"data:image/svg+xml,",
        escape(&run.name())
    );
    for byte in picture.svg.bytes() {
        if byte.is_ascii_alphanumeric() || b" -_.!~*()/=:;,".contains(&byte) {
            page.push(char::from(byte));
        } else {
            let _ = write!(page, "%{byte:02X}");
        }
    }
    let _ = writeln!(page, "\"><figcaption>{title}</figcaption></figure>");
}
