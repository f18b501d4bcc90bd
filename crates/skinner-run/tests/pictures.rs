//! Pictures of a run in its report.

use skinner_run::report;
use skinner_run::run_dir::{RunDir, RunInfo};

const SVG: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\"><!--100%#--></svg>";

#[test]
fn a_picture_becomes_an_image_that_holds_all_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let run = RunDir::create(dir.path().join("r"), "seed = 0\n", &RunInfo::default()).unwrap();
    run.save_picture("two words", SVG).unwrap();
    std::fs::write(dir.path().join("r/pictures/notes.txt"), "no picture").unwrap();
    report::write_report(&run.report_path(), &[run.path()]).unwrap();
    let html = std::fs::read_to_string(run.report_path()).unwrap();
    assert!(html.contains("<figcaption>two words</figcaption>"));
    let (_, rest) = html.split_once("src=\"data:image/svg+xml,").unwrap();
    let (encoded, _) = rest.split_once('"').unwrap();
    assert!(!encoded.contains(['<', '>', '#', '&']), "{encoded}");
    assert!(encoded.ends_with("%3C!--100%25%23--%3E%3C/svg%3E"), "{encoded}");
}

#[test]
fn a_run_without_pictures_has_no_section_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let run = RunDir::create(dir.path().join("r"), "seed = 0\n", &RunInfo::default()).unwrap();
    report::write_report(&run.report_path(), &[run.path()]).unwrap();
    let html = std::fs::read_to_string(run.report_path()).unwrap();
    assert!(!html.contains("What was learned"));
}
