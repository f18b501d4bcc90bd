//! Run directories, checkpoints and logs on a real file system, damaged ones too.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use skinner_core::Metrics;
use skinner_run::checkpoint::load;
use skinner_run::{Checkpoint, LogOffsets, Logger, RunDir, RunInfo, Status, Tensor};
use tempfile::{TempDir, tempdir};

const RECIPE: &str = "gamma = 0.98\nseed = 1\n[env]\nid = \"CartPole-v1\"\n";

fn info() -> RunInfo {
    RunInfo {
        version: "0.1.0".to_owned(),
        command: "skinner train ppo-cartpole".to_owned(),
        started: "2026-01-01T00:00:00Z".to_owned(),
        ..RunInfo::default()
    }
}

fn new_run() -> (TempDir, RunDir) {
    let home = tempdir().unwrap();
    let run_dir = RunDir::create(home.path().join("run"), RECIPE, &info()).unwrap();
    (home, run_dir)
}

fn checkpoint(step: u64) -> Checkpoint<'static> {
    Checkpoint {
        step,
        tensors: vec![
            Tensor { name: "policy".to_owned(), shape: vec![2, 3], data: vec![1.5; 6].into() },
            Tensor { name: "step".to_owned(), shape: vec![], data: vec![step as f32].into() },
        ],
        state: vec![7; 100],
        metadata: BTreeMap::from([("algorithm".to_owned(), "ppo".to_owned())]),
        logs: LogOffsets { metrics_bytes: step, timing_lines: 2, events_bytes: 3 },
    }
}

fn metrics(values: &[(&'static str, f64)]) -> Metrics {
    let mut metrics = Metrics::new();
    for &(name, value) in values {
        metrics.set(name, value);
    }
    metrics
}

fn steps(run_dir: &RunDir) -> Vec<u64> {
    run_dir.checkpoints().unwrap().into_iter().map(|(step, _)| step).collect()
}

fn tree(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(tree(&path));
        } else {
            files.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    files
}

#[test]
fn a_new_run_holds_its_recipe_and_info() {
    let (_home, run_dir) = new_run();
    assert_eq!(run_dir.recipe_toml().unwrap(), RECIPE);
    assert_eq!(run_dir.info().unwrap(), info());
    let changed = run_dir.update_info(|info| info.status = Status::Failed("no memory".to_owned()));
    assert_eq!(changed.unwrap(), run_dir.info().unwrap());
    assert!(
        fs::read_to_string(run_dir.path().join("run.json")).unwrap().contains("failed: no memory")
    );
}

#[test]
fn a_directory_that_is_taken_is_refused() {
    let (home, run_dir) = new_run();
    let create = |path: &Path| RunDir::create(path, RECIPE, &info()).unwrap_err().to_string();
    let path = run_dir.path().to_owned();
    assert!(
        create(&path).ends_with(
            "is in use by another process: wait for it to end or choose another --run-dir"
        )
    );
    assert!(RunDir::resume(&path, RECIPE, &info()).unwrap_err().to_string().contains("in use"));
    assert!(RunDir::open(&path).unwrap().is_in_use());
    drop(run_dir);
    assert!(!RunDir::open(&path).unwrap().is_in_use());
    assert!(create(&path).contains("already holds a run: continue it with --resume"));
    fs::write(home.path().join("file"), "x").unwrap();
    assert!(create(&home.path().join("file")).contains("is not a directory"));
    assert!(create(&home.path().join("file/below")).starts_with("cannot create directory"));
    assert!(create(home.path()).contains("is not empty (it holds `file`) and is no run"));
    assert!(!home.path().join("lock").exists());
    fs::remove_file(path.join("recipe.toml")).unwrap();
    fs::create_dir(path.join("checkpoints")).unwrap();
    assert!(create(&path).contains("it holds `checkpoints`"), "a run that lost its recipe is kept");
    fs::remove_dir(path.join("checkpoints")).unwrap();
    fs::write(path.join(".recipe.toml.9.tmp"), "half").unwrap();
    RunDir::create(&path, RECIPE, &info()).unwrap();
    assert!(RunDir::open(home.path()).unwrap_err().to_string().contains("it has no recipe.toml"));
}

#[test]
fn a_recipe_that_is_no_toml_leaves_no_run() {
    let home = tempdir().unwrap();
    RunDir::create(home.path(), "gamma =", &info()).unwrap_err();
    assert!(!RunDir::is_run(home.path()));
    RunDir::create(home.path(), RECIPE, &info()).unwrap();
}

#[test]
fn reading_does_not_write() {
    let (_home, run_dir) = new_run();
    let reader = RunDir::open(run_dir.path()).unwrap();
    assert!(reader.update_info(|_| ()).unwrap_err().to_string().contains("for reading only"));
    assert!(reader.save_checkpoint(&checkpoint(1), 2).is_err());
    assert!(Logger::open(&reader, None).is_err());
}

#[test]
fn resuming_nothing_starts_from_the_beginning() {
    let home = tempdir().unwrap();
    let path = home.path().join("a/b");
    let resumed = RunDir::resume(&path, RECIPE, &info()).unwrap();
    assert!(resumed.checkpoint.is_none() && resumed.warnings.is_empty());
    drop(resumed);
    let mut later = info();
    later.command = "skinner train ppo-cartpole --resume".to_owned();
    later.threads = 3;
    let resumed = RunDir::resume(&path, RECIPE, &later).unwrap();
    assert!(resumed.checkpoint.is_none());
    let merged = resumed.run_dir.info().unwrap();
    assert_eq!((merged.command, merged.threads), (info().command, 3));
}

#[test]
fn resuming_with_another_recipe_is_refused() {
    let (_home, run_dir) = new_run();
    let path = run_dir.path().to_owned();
    drop(run_dir);
    let other = "gamma = 0.99\nseed = 1\nclip = 2\n[env]\nid = 'CartPole-v1' # the same\n";
    let error = RunDir::resume(&path, other, &info()).unwrap_err().to_string();
    assert!(
        error.contains(
            "recipe: clip: not set in the run, 2 now; gamma: 0.98 in the run, 0.99 now; resume"
        ),
        "{error}"
    );
    let reordered = "[env]\nid = 'CartPole-v1'\n";
    let same = format!("# a comment\nseed = 1\ngamma = 0.980\n{reordered}");
    RunDir::resume(&path, &same, &info()).unwrap();
}

#[test]
fn a_checkpoint_comes_back() {
    let (_home, run_dir) = new_run();
    run_dir.save_checkpoint(&checkpoint(12_800), 2).unwrap();
    let path = run_dir.checkpoints_path().join("step-000000012800");
    assert_eq!(load(&path).unwrap(), checkpoint(12_800));
    let loaded = load(&path).unwrap();
    assert_eq!(loaded.tensor("policy").unwrap().data[..], [1.5; 6]);
    let error = loaded.tensor("value").unwrap_err().to_string();
    assert_eq!(error, "the checkpoint of step 12800 has no tensor `value`; it has policy, step");
}

#[test]
fn tensors_keep_their_bits() {
    let (_home, run_dir) = new_run();
    let data = vec![f32::NAN, -0.0, f32::MIN_POSITIVE / 2.0, f32::NEG_INFINITY];
    let odd = Checkpoint {
        tensors: vec![
            Tensor { name: "z".to_owned(), shape: vec![4], data: data.clone().into() },
            Tensor { name: "a/empty".to_owned(), shape: vec![0, 3], data: vec![].into() },
        ],
        ..checkpoint(0)
    };
    run_dir.save_checkpoint(&odd, 2).unwrap();
    let loaded = run_dir.newest_checkpoint().unwrap().0.unwrap();
    assert_eq!(loaded.tensors[0].shape, [0, 3]);
    let bits = |data: &[f32]| data.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&loaded.tensors[1].data), bits(&data));
}

#[test]
fn tensors_that_make_no_sense_are_refused() {
    let (_home, run_dir) = new_run();
    let mut wrong = checkpoint(5);
    wrong.tensors[0].shape = vec![7];
    let error = run_dir.save_checkpoint(&wrong, 2).unwrap_err().to_string();
    assert!(
        error.contains("`policy` of shape [7] with 6 numbers: the numbers do not fill the shape"),
        "{error}"
    );
    assert!(error.ends_with("there is no complete checkpoint yet"), "{error}");
    wrong = checkpoint(5);
    wrong.tensors[1].name = "policy".to_owned();
    assert!(run_dir.save_checkpoint(&wrong, 2).unwrap_err().to_string().contains("given twice"));
    assert!(steps(&run_dir).is_empty());
}

#[test]
fn equal_contents_are_equal_bytes() {
    let (_a, first) = new_run();
    let (_b, second) = new_run();
    let hash = first.save_checkpoint(&checkpoint(10), 2).unwrap();
    assert_eq!(second.save_checkpoint(&checkpoint(10), 2).unwrap(), hash);
    let bytes =
        |run_dir: &RunDir| tree(&run_dir.checkpoints_path()).into_values().collect::<Vec<_>>();
    assert_eq!(bytes(&first), bytes(&second));
    let moved = Checkpoint { logs: LogOffsets::default(), ..checkpoint(10) };
    assert_eq!(second.save_checkpoint(&moved, 2).unwrap(), hash);
    let mut other = checkpoint(10);
    other.state[0] = 8;
    assert_ne!(second.save_checkpoint(&other, 2).unwrap(), hash);
}

#[test]
fn old_checkpoints_go_and_the_best_stays() {
    let (_home, run_dir) = new_run();
    run_dir.save_best(&checkpoint(1)).unwrap();
    for step in [10, 20, 30, 40] {
        run_dir.save_checkpoint(&checkpoint(step), 3).unwrap();
    }
    assert_eq!(steps(&run_dir), [20, 30, 40]);
    run_dir.save_checkpoint(&checkpoint(50), 0).unwrap();
    assert_eq!(steps(&run_dir), [40, 50]);
    assert_eq!(load(run_dir.best_checkpoint().unwrap()).unwrap(), checkpoint(1));
    run_dir.save_best(&checkpoint(45)).unwrap();
    assert_eq!(load(run_dir.best_checkpoint().unwrap()).unwrap(), checkpoint(45));
    run_dir.save_checkpoint(&checkpoint(45), 2).unwrap();
    assert_eq!(steps(&run_dir), [40, 45], "a later step belongs to a course that was cut off");
}

#[test]
fn what_a_kill_left_behind_is_put_in_order() {
    let (_home, run_dir) = new_run();
    run_dir.save_checkpoint(&checkpoint(10), 2).unwrap();
    run_dir.save_best(&checkpoint(10)).unwrap();
    let (path, checkpoints) = (run_dir.path().to_owned(), run_dir.checkpoints_path());
    drop(run_dir);
    fs::rename(checkpoints.join("best"), checkpoints.join(".best.old")).unwrap();
    fs::create_dir(checkpoints.join(".step-000000000020.tmp")).unwrap();
    fs::write(checkpoints.join(".step-000000000020.tmp/state.bin"), "half").unwrap();
    fs::write(path.join(".run.json.123.tmp"), "half").unwrap();
    let resumed = RunDir::resume(&path, RECIPE, &info()).unwrap();
    assert_eq!(resumed.checkpoint.unwrap().step, 10);
    let mut names: Vec<_> =
        fs::read_dir(&checkpoints).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["best", "step-000000000010"]);
    assert!(!path.join(".run.json.123.tmp").exists());
    assert_eq!(load(checkpoints.join("best")).unwrap().step, 10);
}

#[test]
fn damage_is_named_and_passed_over() {
    let (_home, run_dir) = new_run();
    for step in [10, 20, 30] {
        run_dir.save_checkpoint(&checkpoint(step), 5).unwrap();
    }
    let path = run_dir.path().to_owned();
    let file = |step: u64, name: &str| path.join(format!("checkpoints/step-{step:012}/{name}"));
    drop(run_dir);
    let cut = fs::read(file(30, "model.safetensors")).unwrap();
    fs::write(file(30, "model.safetensors"), &cut[..cut.len() - 1]).unwrap();
    fs::remove_file(file(20, "state.bin")).unwrap();
    let resumed = RunDir::resume(&path, RECIPE, &info()).unwrap();
    assert_eq!(resumed.checkpoint.unwrap().step, 10);
    let warnings: Vec<String> = resumed.warnings.iter().map(ToString::to_string).collect();
    assert!(
        warnings[0].contains("step-000000000030 is damaged: model.safetensors has"),
        "{warnings:?}"
    );
    assert!(
        warnings[1].contains("step-000000000020 is damaged: state.bin is missing"),
        "{warnings:?}"
    );
    drop(resumed.run_dir);

    let mut flipped = fs::read(file(10, "state.bin")).unwrap();
    flipped[50] ^= 1;
    fs::write(file(10, "state.bin"), flipped).unwrap();
    let error = RunDir::resume(&path, RECIPE, &info()).unwrap_err().to_string();
    assert!(error.starts_with("none of the 3 checkpoints in "), "{error}");
}

#[test]
fn another_format_is_named() {
    let (_home, run_dir) = new_run();
    run_dir.save_checkpoint(&checkpoint(10), 2).unwrap();
    let path = run_dir.checkpoints_path().join("step-000000000010");
    let json = fs::read_to_string(path.join("checkpoint.json")).unwrap();
    fs::write(path.join("checkpoint.json"), json.replace("\"format\": 1", "\"format\": 2"))
        .unwrap();
    let error = load(&path).unwrap_err().to_string();
    assert!(error.ends_with("has format 2, this version reads format 1"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_flipped_or_missing_byte_is_found(
        file in 0usize..3, position in any::<prop::sample::Index>(), bit in 0u32..9,
    ) {
        let (_home, run_dir) = new_run();
        run_dir.save_checkpoint(&checkpoint(10), 2).unwrap();
        let path = run_dir.checkpoints_path().join("step-000000000010");
        let name = path.join(["model.safetensors", "state.bin", "checkpoint.json"][file]);
        let mut bytes = fs::read(&name).unwrap();
        let index = position.index(bytes.len());
        if bit == 8 { bytes.truncate(index) } else { bytes[index] ^= 1 << bit }
        fs::write(&name, &bytes).unwrap();
        match load(&path) {
            Err(error) => prop_assert!(!error.to_string().contains('\n')),
            // White space around JSON may change without a change of what it says.
            Ok(loaded) => prop_assert!(file == 2 && loaded == checkpoint(10)),
        }
    }

    #[test]
    fn no_file_content_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let (home, run_dir) = new_run();
        run_dir.save_checkpoint(&checkpoint(10), 2).unwrap();
        let path = run_dir.checkpoints_path().join("step-000000000010");
        for name in ["model.safetensors", "checkpoint.json"] {
            fs::write(path.join(name), &bytes).unwrap();
            prop_assert!(load(&path).is_err());
        }
        fs::write(run_dir.path().join("run.json"), &bytes).unwrap();
        let _ = run_dir.info();
        fs::write(run_dir.metrics_path(), &bytes).unwrap();
        fs::write(run_dir.timing_path(), &bytes).unwrap();
        let _ = skinner_run::report::write_report(&home.path().join("r.html"), &[run_dir.path()]);
        fs::write(run_dir.recipe_path(), &bytes).unwrap();
        let _ = skinner_run::report::write_report(&home.path().join("r.html"), &[run_dir.path()]);
        drop(run_dir);
        let _ = RunDir::resume(home.path().join("run"), RECIPE, &info());
    }
}

#[test]
fn logs_are_cut_back_to_the_checkpoint() {
    let (_home, run_dir) = new_run();
    let log = |logger: &mut Logger, step: u64| {
        let values = metrics(&[("policy_loss", 0.5 / step as f64), ("value_loss", f64::NAN)]);
        logger.log(step, &values, &metrics(&[("seconds", step as f64 * 0.1)])).unwrap();
    };
    let mut whole = Logger::open(&run_dir, None).unwrap();
    (1..=10).for_each(|step| log(&mut whole, step));
    let end = whole.offsets().unwrap();
    let expected =
        [run_dir.metrics_path(), run_dir.timing_path()].map(|path| fs::read(path).unwrap());
    let events = fs::metadata(run_dir.events_path()).unwrap().len();
    assert_eq!((end.metrics_bytes, end.timing_lines), (expected[0].len() as u64, 10));
    assert!(expected[0].starts_with(b"{\"step\":1,\"policy_loss\":0.5,\"value_loss\":null}\n"));

    let mut killed = Logger::open(&run_dir, None).unwrap();
    (1..=4).for_each(|step| log(&mut killed, step));
    let offsets = killed.offsets().unwrap();
    (5..=7).for_each(|step| log(&mut killed, step));
    drop(killed);
    let mut half_line = fs::read(run_dir.metrics_path()).unwrap();
    half_line.extend(b"{\"step\":8,\"pol");
    fs::write(run_dir.metrics_path(), half_line).unwrap();

    let mut resumed = Logger::open(&run_dir, Some(offsets)).unwrap();
    (5..=10).for_each(|step| log(&mut resumed, step));
    assert_eq!(resumed.offsets().unwrap(), end);
    assert_eq!(fs::metadata(run_dir.events_path()).unwrap().len(), events);
    for (path, bytes) in [run_dir.metrics_path(), run_dir.timing_path()].iter().zip(&expected) {
        assert_eq!(&fs::read(path).unwrap(), bytes);
    }
}

#[test]
fn a_log_shorter_than_its_offset_is_an_error() {
    let (_home, run_dir) = new_run();
    let mut logger = Logger::open(&run_dir, None).unwrap();
    logger.log(1, &metrics(&[("a", 1.0)]), &metrics(&[("b", 1.0)])).unwrap();
    let offsets = logger.offsets().unwrap();
    for path in [run_dir.metrics_path(), run_dir.timing_path(), run_dir.events_path()] {
        let bytes = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let error = Logger::open(&run_dir, Some(offsets)).unwrap_err().to_string();
        assert!(error.contains("when the checkpoint was written: restore the file"), "{error}");
        fs::write(&path, bytes).unwrap();
    }
    Logger::open(&run_dir, Some(offsets)).unwrap();
}

#[cfg(target_os = "linux")]
mod full_disk {
    use super::*;
    use std::process::Command;

    #[test]
    fn the_logger_says_so() {
        let (_home, run_dir) = new_run();
        std::os::unix::fs::symlink("/dev/full", run_dir.metrics_path()).unwrap();
        let mut logger = Logger::open(&run_dir, None).unwrap();
        let error =
            logger.log(1, &metrics(&[("a", 1.0)]), &Metrics::new()).unwrap_err().to_string();
        assert!(
            error.starts_with("cannot write ")
                && error.ends_with("metrics.jsonl: the disk is full"),
            "{error}"
        );
    }

    /// This test runs itself in a child process whose files may have at most 8 KiB; the shell ignores
    /// the signal, so that the write fails as it does on a full disk.
    #[test]
    fn a_failed_save_leaves_the_earlier_ones() {
        const HOME: &str = "SKINNER_RUN_TEST_SMALL_FILES";
        let large = || Checkpoint { state: vec![1; 100_000], ..checkpoint(20) };
        if let Some(home) = std::env::var_os(HOME) {
            let resumed = RunDir::resume(PathBuf::from(home).join("run"), RECIPE, &info()).unwrap();
            let error = resumed.run_dir.save_checkpoint(&large(), 2).unwrap_err().to_string();
            assert!(
                error.starts_with("cannot save the checkpoint of step 20: cannot write "),
                "{error}"
            );
            assert!(
                error.contains("state.bin: the file would be larger than is allowed"),
                "{error}"
            );
            assert!(error.contains("; the last complete checkpoint is "), "{error}");
            assert!(error.ends_with("step-000000000010"), "{error}");
            return;
        }
        let (home, run_dir) = new_run();
        run_dir.save_checkpoint(&checkpoint(10), 2).unwrap();
        drop(run_dir);
        let child = Command::new("sh")
            .args(["-c", "trap '' XFSZ; ulimit -f 16; exec \"$0\" --exact full_disk::a_failed_save_leaves_the_earlier_ones"])
            .arg(std::env::current_exe().unwrap())
            .env(HOME, home.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success() && said.contains("1 passed"), "{said}");
        let resumed = RunDir::resume(home.path().join("run"), RECIPE, &info()).unwrap();
        assert_eq!(resumed.checkpoint.unwrap(), checkpoint(10));
        let names: Vec<_> = fs::read_dir(resumed.run_dir.checkpoints_path()).unwrap().collect();
        assert_eq!(names.len(), 1);
        resumed.run_dir.save_checkpoint(&large(), 2).unwrap();
    }
}

#[cfg(unix)]
#[test]
fn the_lock_dies_with_its_process() {
    use std::process::{Command, Stdio};
    const HOME: &str = "SKINNER_RUN_TEST_LOCK";
    if let Some(home) = std::env::var_os(HOME) {
        let _run_dir = RunDir::create(PathBuf::from(&home).join("run"), RECIPE, &info()).unwrap();
        fs::write(PathBuf::from(home).join("ready"), "").unwrap();
        std::thread::sleep(std::time::Duration::from_secs(60));
        return;
    }
    let home = tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_lock_dies_with_its_process"])
        .env(HOME, home.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let ready = || home.path().join("ready").exists();
    for _ in 0..4000 {
        if ready() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(ready(), "the other process never began");
    let resume = || RunDir::resume(home.path().join("run"), RECIPE, &info());
    let refused = resume().unwrap_err().to_string();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(refused.contains("is in use by another process"), "{refused}");
    resume().unwrap();
}

#[cfg(unix)]
#[test]
fn a_kill_at_any_moment_leaves_the_last_checkpoint() {
    use std::process::{Command, Stdio};
    const HOME: &str = "SKINNER_RUN_TEST_KILL";
    if let Some(home) = std::env::var_os(HOME).map(PathBuf::from) {
        let resumed = RunDir::resume(home.join("run"), RECIPE, &info()).unwrap();
        for step in resumed.checkpoint.map_or(1, |checkpoint| checkpoint.step + 1).. {
            resumed.run_dir.save_checkpoint(&checkpoint(step), 2).unwrap();
            resumed.run_dir.save_best(&checkpoint(step)).unwrap();
            fs::write(home.join("saved.tmp"), step.to_string()).unwrap();
            fs::rename(home.join("saved.tmp"), home.join("saved")).unwrap();
        }
    }
    let home = tempdir().unwrap();
    let saved =
        || fs::read_to_string(home.path().join("saved")).map_or(0, |text| text.parse().unwrap());
    for round in 0..12 {
        let before: u64 = saved();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_kill_at_any_moment_leaves_the_last_checkpoint"])
            .env(HOME, home.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        for _ in 0..4000 {
            if saved() > before {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        std::thread::sleep(std::time::Duration::from_micros(round * 1370));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(saved() > before, "the child saves");
        let resumed = RunDir::resume(home.path().join("run"), RECIPE, &info()).unwrap();
        assert!(resumed.warnings.is_empty());
        assert!(resumed.checkpoint.unwrap().step >= saved());
        assert!(load(resumed.run_dir.best_checkpoint().unwrap()).unwrap().step >= saved());
    }
}
