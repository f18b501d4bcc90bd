//! What a program gets and gives in a sandbox.

mod sandbox_support;

use sandbox_support::{python, sandbox};
use skinner_tasks::sandbox::{Ended, Program, SandboxConfig};

#[test]
fn smoke() {
    let Some(sandbox) = sandbox(SandboxConfig::default()) else { return };
    let outcome = sandbox.run(&Program::new("/bin/sh", &["-c", "id; ls -la / /tmp /dev; pwd; env; cat; exit 3"])).unwrap();
    println!("{outcome:?}\n{}", String::from_utf8_lossy(&outcome.stdout));
    println!("{}", String::from_utf8_lossy(&outcome.stderr));
    assert_eq!(outcome.ended, Ended::Exited(3));
    let sandbox = self::sandbox(SandboxConfig { readable: python().1.clone(), ..SandboxConfig::default() }).unwrap();
    let started = std::time::Instant::now();
    for _ in 0..100 {
        let o = sandbox.run(&Program::new(&python().0, &["-I", "-S", "-c", "print(1)"])).unwrap();
        assert_eq!(o.ended, Ended::Exited(0), "{}", String::from_utf8_lossy(&o.stderr));
    }
    println!("{:?} per run", started.elapsed() / 100);
    let started = std::time::Instant::now();
    for _ in 0..100 {
        sandbox.run(&Program::new("/bin/true", &[])).unwrap();
    }
    println!("{:?} per true", started.elapsed() / 100);
}
