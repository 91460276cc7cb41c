//! This machine: what is measured is what its own tools and files say.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use hypermesh_assets::{
    MeasureError, NVML, System, calibrate, measure_cpu, measure_gpus, measure_storage,
    memory_reading, room,
};

use crate::fake::Fake;

fn said(program: &str, args: &[&str]) -> String {
    let mut command = Command::new(program);
    // Only what the kernel says counts, not what a build asks for.
    command
        .env_remove("OMP_NUM_THREADS")
        .env_remove("OMP_THREAD_LIMIT");
    let output = command.args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn cores_are_at_most_what_nproc_says() {
    let facts = measure_cpu(&System::host()).unwrap();
    let nproc: u64 = said("nproc", &[]).trim().parse().unwrap();
    assert!(
        facts.cores_milli >= 1 && facts.cores_milli <= nproc * 1_000,
        "{facts:?}"
    );
    assert_eq!(facts.architecture.as_str(), said("uname", &["-m"]).trim());
    // Without groups nothing but the affinity bounds it.
    let fake = Fake::new(&[]);
    let cores = u32::try_from(nproc).unwrap();
    let free = measure_cpu(&System::at(fake.root(), cores)).unwrap();
    assert_eq!(free.cores_milli, nproc * 1_000);
}

#[test]
fn fewer_cores_are_let_in_by_a_narrower_affinity() {
    let before = rustix::thread::sched_getaffinity(None).unwrap();
    let first = (0..rustix::thread::CpuSet::MAX_CPU).find(|cpu| before.is_set(*cpu));
    // A thread of its own, whose affinity ends with it.
    let measured = std::thread::spawn(move || {
        let mut one = rustix::thread::CpuSet::new();
        one.set(first.unwrap());
        rustix::thread::sched_setaffinity(None, &one).unwrap();
        measure_cpu(&System::host()).unwrap().cores_milli
    });
    assert!(measured.join().unwrap() <= 1_000);
}

#[test]
fn calibration_says_something() {
    assert!(calibrate() > 0);
}

#[test]
fn memory_is_within_what_free_says() {
    let reading = memory_reading(&System::host()).unwrap();
    let free = said("free", &["-b"]);
    let line = free.lines().find(|line| line.starts_with("Mem:")).unwrap();
    let total: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(reading.ceiling_bytes <= total, "{reading:?} {free}");
    assert!(
        reading.available_bytes <= reading.ceiling_bytes,
        "{reading:?}"
    );
    assert!(reading.available_bytes > 0, "{reading:?}");
    // The same without groups is the machine's own total, to the byte.
    let fake = Fake::new(&[]);
    fake.write("proc/meminfo", &fs::read("/proc/meminfo").unwrap());
    assert_eq!(memory_reading(&fake.system()).unwrap().ceiling_bytes, total);
}

#[test]
fn a_disk_is_as_large_as_df_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let df = said("df", &["--block-size=1", "--output=size", path]);
    let size: u64 = df.lines().last().unwrap().trim().parse().unwrap();
    let room = room(folder.path()).unwrap();
    assert_eq!(room.total_bytes, size);
    assert!(room.free_bytes <= size);
    let facts = measure_storage(folder.path()).unwrap();
    assert!(facts.bytes <= size);
    assert!(
        facts.write_bytes_per_s > 0 && facts.read_bytes_per_s > 0,
        "{facts:?}"
    );
    let left = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 0, "the test leaves nothing");
}

#[test]
fn a_directory_that_is_missing_is_named() {
    let refused = measure_storage(Path::new("/nowhere/at/all")).unwrap_err();
    assert!(refused.to_string().contains("/nowhere/at/all"), "{refused}");
}

#[test]
fn a_gpu_is_measured_or_typed_absent() {
    let device = Path::new("/dev/nvidiactl").exists();
    match measure_gpus(OsStr::new(NVML)) {
        Ok(found) => assert!(device && !found.is_empty()),
        Err(MeasureError::Absent { why }) => assert!(!why.is_empty()),
        Err(other) => panic!("{other}"),
    }
}

/// A group that this test made; it ends with it.
struct Group(PathBuf);

impl Group {
    fn make(mount: &str) -> Option<Self> {
        let name = format!("hypermesh-test-{}", std::process::id());
        let path = Path::new(mount).join(name);
        fs::create_dir(&path).ok()?;
        Some(Self(path))
    }

    fn set(&self, file: &str, value: &str) -> bool {
        fs::write(self.0.join(file), value).is_ok()
    }

    /// A system whose own group is this one.
    fn system(&self, line: &str) -> Fake {
        let name = self.0.file_name().unwrap().to_str().unwrap();
        let fake = Fake::new(&[("proc/self/cgroup", &format!("{line}/{name}\n"))]);
        fake.write("proc/meminfo", &fs::read("/proc/meminfo").unwrap());
        std::os::unix::fs::symlink("/sys", fake.root().join("sys")).unwrap();
        fake
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn a_quota_of_a_real_group_is_read() {
    let group = Group::make("/sys/fs/cgroup/cpu");
    let one = group.filter(|group| group.set("cpu.cfs_quota_us", "50000"));
    let (group, line) = if let Some(group) = one {
        assert!(group.set("cpu.cfs_period_us", "100000"));
        (group, "1:cpu:")
    } else {
        let group = Group::make("/sys/fs/cgroup");
        let Some(group) = group.filter(|group| group.set("cpu.max", "50000 100000")) else {
            println!("skipped: this user may not make a control group with a cpu quota");
            return;
        };
        (group, "0::")
    };
    let fake = group.system(line);
    let facts = measure_cpu(&System::at(fake.root(), 64)).unwrap();
    assert_eq!(facts.cores_milli, 500);
}

#[test]
fn a_limit_of_a_real_group_is_read() {
    let group = Group::make("/sys/fs/cgroup/memory");
    let limit = "33554432";
    let one = group.filter(|group| group.set("memory.limit_in_bytes", limit));
    let (group, line) = if let Some(group) = one {
        (group, "4:memory:")
    } else {
        let group = Group::make("/sys/fs/cgroup");
        let Some(group) = group.filter(|group| group.set("memory.max", limit)) else {
            println!("skipped: this user may not make a control group with a memory limit");
            return;
        };
        (group, "0::")
    };
    let fake = group.system(line);
    let reading = memory_reading(&fake.system()).unwrap();
    assert_eq!(reading.ceiling_bytes, 32 << 20);
    assert!(reading.available_bytes <= 32 << 20);
}
